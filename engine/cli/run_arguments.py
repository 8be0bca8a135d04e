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

__all__ = ["add_inputs", "inputs_of", "load_plan", "read_json", "read_secrets", "seconds", "tell"]


def add_inputs(parser: argparse.ArgumentParser) -> None:
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


def load_plan(path: str, console: Console) -> Plan | None:
    """Return the plan of a spec, or None if it has errors, which are printed on standard error.

    Of warnings only the number is printed.
    """
    from engine import api
    from engine.render.text import plural, printable

    plan, found = api.analyse(path)
    if plan is None:
        tell(found, console)
    elif found:
        console.note(f"{plural(len(found), 'warning')}: see `engine check {printable(path)}`")
    return plan


def tell(found: Diagnostics, console: Console) -> None:
    """Print the findings of a spec on standard error."""
    import sys

    from engine.render.diagnostics import human, summary

    encoding = getattr(sys.stderr, "encoding", None)
    console.note(human(found, color=console.colored(sys.stderr), encoding=encoding) + "\n")
    console.note(summary(found, 1))


def inputs_of(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the inputs that the arguments give; raise InputError with all mistakes in them."""
    from engine.scheduling.values import child_inputs

    texts, problems = _pairs(arguments.input)
    given: dict[str, Any] = {}
    if arguments.inputs is not None:
        try:
            given = read_object(arguments.inputs)
        except EngineError as error:  # what else is missing cannot be known
            raise InputError((str(error), *problems)) from None
    given |= {name: _value(plan.inputs.get(name), text) for name, text in texts.items()}
    if problems:
        raise InputError((*problems, *child_inputs(plan, given)[1]))
    return given


def read_object(path: str) -> dict[str, Any]:
    """Return the JSON object in a file; raise EngineError if there is none."""
    data = read_json(path)
    if not isinstance(data, dict):
        raise EngineError(f"`{path}` is not a JSON object")
    return data


def read_json(path: str) -> Any:
    """Return the JSON value in a file; raise EngineError if it is not valid JSON."""
    try:
        return _parse(_read(path))
    except (ValueError, RecursionError) as error:
        raise EngineError(f"`{path}` is not JSON: {error}") from None


def read_secrets(path: str) -> dict[str, str]:
    """Return the `NAME=VALUE` pairs of a file; empty lines and those that begin with `#` are skipped."""
    found: dict[str, str] = {}
    problems = []
    for number, line in enumerate(_read(path).splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, equals, value = line.partition("=")
        if not equals or not name.strip().isidentifier():  # not shown: it may be the secret
            problems.append(f"`{path}`, line {number}: expected NAME=VALUE")
        found[name.strip()] = value
    if problems:
        raise InputError(tuple(problems))
    return found


def seconds(text: str) -> float:
    """Return a number of seconds, 0 or more; raise InputError if the text is not one."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 <= found < math.inf:
        raise InputError((f"`--grace {text}`: expected a number of seconds",))
    return found


def _pairs(given: list[str]) -> tuple[dict[str, str], list[str]]:
    texts: dict[str, str] = {}
    problems = []
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            problems.append(f"`-i {text}`: expected NAME=VALUE")
        elif name in texts:
            problems.append(f"input `{name}` is given twice")
        texts |= {name: value} if equals else {}
    return texts, problems


def _value(schema: Mapping[str, Any] | None, text: str) -> Any:
    """Return the text if it matches the schema, else the JSON value in it if that matches.

    If neither matches, return the one with the more helpful error.
    """
    from engine.schemas.validation import misfits

    if schema is None or not misfits(schema, text):
        return text
    try:
        value = _parse(text)
    except (ValueError, RecursionError):
        return text
    takes_text = not any(
        problem.message.startswith("expected") for problem in misfits(schema, text)
    )
    return text if takes_text and misfits(schema, value) else value


def _parse(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"`{name}` is given twice in one object")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


def _read(path: str) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except IsADirectoryError:
        raise EngineError(f"`{path}` is a folder, not a file") from None
    except OSError as error:
        raise EngineError(f"`{path}` cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise EngineError(f"`{path}` is not UTF-8 text") from None
