"""`engine run --dry-run`: print what a run would do, without doing it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console

if TYPE_CHECKING:
    from engine.plan.plan import Plan

__all__ = ["print_dry_run"]


def print_dry_run(plan: Plan, arguments: Mapping[str, Any], as_json: bool, console: Console) -> int:
    """Print the dry run of a plan.

    Raises InputError where a run would, but no service is checked.
    """
    from engine.runtime.dry_run import describe_dry_run
    from engine.runtime.options import parse_options
    from engine.runtime.preparation import prepare

    options = {name: value for name, value in arguments.items() if name != "inputs"}
    found = describe_dry_run(prepare(plan, arguments["inputs"], parse_options(options)))
    if as_json:
        console.print_output(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    from engine.render.text import escape_unprintable

    for line in _format_dry_run(found):
        console.print_output(escape_unprintable(line))
    return 0


def _format_dry_run(dry_run: Mapping[str, Any]) -> Iterator[str]:
    yield f"{dry_run['pipeline']} would run; nothing has been run"
    for name, value in dry_run["inputs"].items():
        yield f"  input {name} = {_shorten(value)}"
    yield from _format_parts(dry_run, "  ")


def _format_parts(dry_run: Mapping[str, Any], indent: str) -> Iterator[str]:
    heads = {
        "services": "first, check service: ",
        "resources": "opened when needed: ",
        "nodes": "",
        "finally": "at the end: ",
    }
    for part, head in heads.items():
        for node in dry_run.get(part, ()):
            yield f"{indent}{head}{node['name']}{_describe_conditions(node)}"
            for step in node["steps"]:
                yield from _format_step(node, step, f"{indent}  ")


def _describe_conditions(node: Mapping[str, Any]) -> str:
    needs = [
        name if asked == "success" else f"{name} ({asked})"
        for name, asked in node.get("needs", {}).items()
    ]
    found = [f"after {', '.join(needs)}"] if needs else []
    found += [f"when {node['when']}"] if "when" in node else []
    found += [f"for each of {_shorten(node['for_each'])}"] if "for_each" in node else []
    found += [f"requires {', '.join(node['requires'])}"] if "requires" in node else []
    found += [f"uses {', '.join(node['uses'])}"] if "uses" in node else []
    return f", {', '.join(found)}" if found else ""


def _format_step(node: Mapping[str, Any], step: Mapping[str, Any], indent: str) -> Iterator[str]:
    name = "" if len(node["steps"]) == 1 else f"{step['name']}: "
    if "pipeline" in step:
        yield f"{indent}{name}pipeline {step['pipeline']}{_format_inputs(step['with'])}"
        yield from _format_parts(step["inside"], f"{indent}  ")
    elif step["task"] == "shell" and isinstance(step["with"].get("argv"), list):
        rest = {key: value for key, value in step["with"].items() if key != "argv"}
        yield f"{indent}{name}$ {_quote_command(step['with']['argv'])}{_format_inputs(rest)}"
    else:
        yield f"{indent}{name}{step['task']}{_format_inputs(step['with'])}"


def _quote_command(argv: list[Any]) -> str:
    return " ".join(each if str(each).startswith("${") else shlex.quote(str(each)) for each in argv)


def _format_inputs(values: Mapping[str, Any]) -> str:
    listed = ", ".join(f"{name} = {_shorten(value)}" for name, value in values.items())
    return f"  {listed}" if listed else ""


def _shorten(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}…"
