"""`engine run --dry-run`: print what a run would do, without doing it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console

if TYPE_CHECKING:
    from engine.plan.plan import Plan

__all__ = ["rehearse"]


def rehearse(plan: Plan, given: Mapping[str, Any], as_json: bool, console: Console) -> int:
    """Print the dry run of a plan.

    Raises InputError where a run would, but no service is checked.
    """
    from engine.runtime.dry_run import outline
    from engine.runtime.options import options_of
    from engine.runtime.preparation import prepare

    options = {name: value for name, value in given.items() if name != "inputs"}
    found = outline(prepare(plan, given["inputs"], options_of(options)))
    if as_json:
        console.out(json.dumps(found, indent=2, ensure_ascii=False))
        return 0
    from engine.render.text import printable

    for line in _lines(found):
        console.out(printable(line))
    return 0


def _lines(found: Mapping[str, Any]) -> Iterator[str]:
    yield f"{found['pipeline']} would run; nothing has been run"
    for name, value in found["inputs"].items():
        yield f"  input {name} = {_short(value)}"
    yield from _parts(found, "  ")


def _parts(found: Mapping[str, Any], indent: str) -> Iterator[str]:
    heads = {
        "services": "first, check service: ",
        "resources": "opened when needed: ",
        "nodes": "",
        "finally": "at the end: ",
    }
    for part, head in heads.items():
        for node in found.get(part, ()):
            yield f"{indent}{head}{node['name']}{_about(node)}"
            for step in node["steps"]:
                yield from _step(node, step, f"{indent}  ")


def _about(node: Mapping[str, Any]) -> str:
    needs = [
        name if asked == "success" else f"{name} ({asked})"
        for name, asked in node.get("needs", {}).items()
    ]
    found = [f"after {', '.join(needs)}"] if needs else []
    found += [f"when {node['when']}"] if "when" in node else []
    found += [f"for each of {_short(node['for_each'])}"] if "for_each" in node else []
    found += [f"requires {', '.join(node['requires'])}"] if "requires" in node else []
    found += [f"uses {', '.join(node['uses'])}"] if "uses" in node else []
    return f", {', '.join(found)}" if found else ""


def _step(node: Mapping[str, Any], step: Mapping[str, Any], indent: str) -> Iterator[str]:
    name = "" if len(node["steps"]) == 1 else f"{step['name']}: "
    if "pipeline" in step:
        yield f"{indent}{name}pipeline {step['pipeline']}{_given(step['with'])}"
        yield from _parts(step["inside"], f"{indent}  ")
    elif step["task"] == "shell" and isinstance(step["with"].get("argv"), list):
        rest = {key: value for key, value in step["with"].items() if key != "argv"}
        yield f"{indent}{name}$ {_command(step['with']['argv'])}{_given(rest)}"
    else:
        yield f"{indent}{name}{step['task']}{_given(step['with'])}"


def _command(argv: list[Any]) -> str:
    return " ".join(each if str(each).startswith("${") else shlex.quote(str(each)) for each in argv)


def _given(values: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name} = {_short(value)}" for name, value in values.items())
    return f"  {told}" if told else ""


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:97]}…"
