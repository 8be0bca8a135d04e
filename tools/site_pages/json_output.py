"""What the commands print as JSON -> `docs/reference/json.md`, from what they print."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.cli.main import main

__all__ = ["page"]

_SPEC = """\
engine = 1

[inputs]
who = { type = "string", default = "you" }

[nodes.greet]
task = "shell"
with = { argv = ["echo", "hello ${inputs.who}"] }

[nodes.fails]
task = "shell"
with = { argv = ["false"] }

[outputs]
said = "${greet.stdout}"
"""
_WRONG = """\
engine = 1

[nodes.greet]
task = "shell"
with = { argv = ["true"] }
timout = "10m"
"""
_COMMANDS = (
    ("check --format json", "check wrong.toml --format json", "All findings of all files; `bounds` is present only with `--worst-case`."),
    ("run --json", "run spec.toml --json --store runs.db", "The result of the run. `resume`, `rerun` and `show` print the same with `--json`."),
    ("run --dry-run --json", "run spec.toml --json --dry-run", "The plan of the run, which is not started."),
    ("runs --json", "runs --json --store runs.db", "The stored runs, latest first."),
    ("simulate --json", "simulate spec.toml --json", "A result for each script, and what no script covers."),
    ("tasks --json", "tasks shell --json", "One task. Without a name, an array of all tasks."),
    ("explain --json", "explain E301 --json", "The rules that are named, or all rules."),
)  # fmt: skip
_NAMES = {"greet", "fails", "argv", "who", "said", "stdout", "stderr", "status", "spec.toml"}

_HEAD = """\
# JSON output

This page is generated from what the commands print. `[]` stands for every element of an array and `NAME` for any name.
Later versions may add fields, so ignore fields that you do not know. `schema` prints a JSON Schema. `show --events`
prints one event on each line, see [Events](events.md), and `logs` prints text. `check` also has the formats `sarif`, `github`, `junit` and `jsonl` (one finding on each line).

"""


def page() -> str:
    """The whole page."""
    before = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "spec.toml").write_text(_SPEC, encoding="utf-8")
        Path(folder, "wrong.toml").write_text(_WRONG, encoding="utf-8")
        os.chdir(folder)
        try:
            return _HEAD + "\n".join(_section(*each) for each in _COMMANDS)
        finally:
            os.chdir(before)


def _section(title: str, command: str, about: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main(command.split())
    fields: dict[str, list[str]] = {}
    for path, kind in _fields(json.loads(out.getvalue()), ""):
        kinds = fields.setdefault(path, [])
        if kind not in kinds:
            kinds.append(kind)
    rows = "".join(f"| `{path}` | {' or '.join(kinds)} |\n" for path, kinds in fields.items())
    return f"## `engine {title}`\n\n{about}\n\n| field | type |\n|---|---|\n{rows}"


def _fields(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if path:
        yield path, _kind(value)
    if isinstance(value, dict) and not path.endswith(("_schema", "inputs", "output")):
        for name, each in value.items():
            shown = "NAME" if name in _NAMES else name
            yield from _fields(each, f"{path}.{shown}" if path else shown)
    if isinstance(value, list):
        for each in value:
            yield from _fields(each, f"{path}[]")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "array", dict: "object", type(None): "null"}[type(value)]
