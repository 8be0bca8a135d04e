"""Parse the arguments that `run` and `simulate` share: inputs as text and files, secrets, scripts.

The text of `-i name=text` is the value if it matches the input's schema, else the JSON in it is: `3` is
text for a string and a number for an integer, and `3.7` is not a valid integer. All mistakes in inputs are
reported at once.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.errors import EngineError, InputError
from engine.toml.source import read_bytes

if TYPE_CHECKING:
    from engine.diagnostics import Diagnostics
    from engine.plan.plan import Plan

__all__ = [
    "add_input_arguments",
    "load_plan_or_report",
    "parse_inputs",
    "parse_seconds",
    "read_json",
    "read_secrets",
    "report_diagnostics",
]


def add_input_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a spec and give its inputs."""
    parser.add_argument("spec", metavar="SPEC", help="the spec")
    parser.add_argument(
        "-i",
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="one input; takes precedence over --inputs. VALUE is taken as text if the schema of the input accepts text, else as "
        "JSON: 3 is text for a string and a number for an integer",
    )
    parser.add_argument("--inputs", metavar="FILE.json", help="inputs as a JSON object")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--seed", help="the seed of the jitter: the same seed gives the same waits")


def load_plan_or_report(path: str, console: Console) -> Plan | None:
    """Return the plan of a spec, or None if it has errors, which are printed on standard error.

    Of warnings only the number is printed.
    """
    from engine import api
    from engine.render.text import escape_unprintable, format_count

    plan, found = api.analyse(path)
    if plan is None:
        report_diagnostics(found, console)
    elif found:
        console.print_note(
            f"{format_count(len(found), 'warning')}: see `engine check {escape_unprintable(path)}`"
        )
    return plan


def report_diagnostics(diagnostics: Diagnostics, console: Console) -> None:
    """Print the findings of a spec on standard error."""
    import sys

    from engine.render.diagnostics import render_human, summarise

    encoding = getattr(sys.stderr, "encoding", None)
    console.print_note(
        render_human(diagnostics, color=console.can_use_color(sys.stderr), encoding=encoding) + "\n"
    )
    console.print_note(summarise(diagnostics, 1))


def parse_inputs(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the inputs that the arguments give; raise InputError with all mistakes in them."""
    from engine.scheduling.values import resolve_inputs

    texts, problems = _split_pairs(arguments.input)
    given: dict[str, Any] = {}
    if arguments.inputs is not None:
        try:
            given = read_json_object(arguments.inputs)
        except EngineError as error:  # what else is missing cannot be known
            raise InputError((str(error), *problems)) from None
    given |= {name: _parse_value(plan.inputs.get(name), text) for name, text in texts.items()}
    if problems:
        raise InputError((*problems, *resolve_inputs(plan, given)[1]))
    return given


def read_json_object(path: str) -> dict[str, Any]:
    """Return the JSON object in a file; raise EngineError if there is none."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise EngineError(f"`{path}` is not a JSON object")
    return data


def read_json(path: str) -> Any:
    """Return the JSON value in a file; raise EngineError if it is not valid JSON."""
    try:
        return _parse_json(_read_text(path))
    except (ValueError, RecursionError) as error:
        raise EngineError(f"`{path}` is not JSON: {error}") from None


def read_secrets(path: str) -> dict[str, str]:
    """Return the `NAME=VALUE` pairs of a file; empty lines and those that begin with `#` are skipped."""
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(_read_text(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():  # not shown: it may be the secret
            problems.append(f"`{path}`, line {number}: expected NAME=VALUE")
        found[name.strip()] = value
    if problems:
        raise InputError(tuple(problems))
    return found


def parse_seconds(text: str) -> float:
    """Return a number of seconds, 0 or more; raise InputError if the text is not one."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise InputError((f"`--grace {text}`: expected a number of seconds",))
    return found


def _split_pairs(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    texts: dict[str, str] = {}
    problems = []
    for text in arguments:
        name, equals, value = text.partition("=")
        if not equals or not name:
            problems.append(f"`-i {text}`: expected NAME=VALUE")
        elif name in texts:
            problems.append(f"input `{name}` is given twice")
        texts |= {name: value} if equals and name else {}
    return texts, problems


def _parse_value(schema: Mapping[str, Any] | None, text: str) -> Any:
    """Return the text if it matches the schema, else the JSON value in it if that matches.

    If neither matches, return the one with the more helpful error.
    """
    from engine.schemas.validation import validate_value

    if schema is None or not validate_value(schema, text):
        return text
    try:
        value = _parse_json(text)
    except (ValueError, RecursionError):
        return text
    takes_text = not any(
        problem.message.startswith("expected") for problem in validate_value(schema, text)
    )
    return text if takes_text and validate_value(schema, value) else value


def _parse_json(text: str) -> Any:
    return json.loads(text, parse_constant=_reject_constant, object_pairs_hook=_build_object)


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"`{name}` is given twice in one object")
        found[name] = value
    return found


def _reject_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


def _read_text(path: str) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except IsADirectoryError:
        raise EngineError(f"`{path}` is a folder, not a file") from None
    except OSError as error:
        raise EngineError(f"`{path}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EngineError(f"`{path}` is not UTF-8 text") from None
