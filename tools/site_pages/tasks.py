"""The declarations of the built-in tasks -> `docs/tasks.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine import tasks
from engine.sdk.task import Task

__all__ = ["page"]

_HEAD = """\
# The built-in tasks

This page is generated from the declarations of the tasks. `engine tasks` lists them on the command line, and
`engine tasks NAME` shows one.

Any Python function can be a task too, as `task = "python:package.module:function"`: see
[Write tasks in Python](how-to/python-tasks.md).
"""


def page() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *(_section(tasks.load_builtin(name)) for name in tasks.builtin_ids())])


def _section(task: Task) -> str:
    parts = [
        f"## `{task.id}`\n\n{task.description}\n",
        f"```toml example\n{task.example}```\n",
        _fields("Inputs", task.input_schema or {}),
        _fields("Output", task.output_schema or {}),
        "**Exits:** " + ", ".join(f"{code} `{name}`" for name, code in _exits(task)) + _rest(task),
    ]
    return "\n".join(parts) + "\n"


def _exits(task: Task) -> list[tuple[str, int]]:
    return sorted(task.exits.items(), key=lambda item: item[1])


def _rest(task: Task) -> str:
    return "; any other code may come.\n" if task.open_exits else ".\n"


def _fields(title: str, schema: Mapping[str, Any]) -> str:
    properties = schema.get("properties")
    if not properties:
        return f"**{title}:** {schema.get('description', 'anything.')}\n"
    required = schema.get("required", ())
    rows = list(_rows(properties, required))
    return "\n".join([f"| {title.lower()} | | |", "|---|---|---|", *rows, ""])


def _rows(properties: Mapping[str, Any], required: Any) -> Iterator[str]:
    for name, schema in properties.items():
        kind = _kind(schema)
        need = " required" if name in required else ""
        default = f" Default {json.dumps(schema['default'])}." if "default" in schema else ""
        yield f"| `{name}` | {kind}{need} | {schema.get('description', '')}{default} |"


def _kind(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    kind = schema.get("type", "anything")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)
