"""Render tasks as text: a list of all, or one with its inputs, output, exits and an example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.language.value_hooks import RESERVED_NAMES
from engine.render.text import (
    Painter,
    Styled,
    escape_unprintable,
    format_table,
    make_painter,
    wrap_text,
)
from engine.sdk.task import Task

__all__ = ["describe_schema", "render_task", "render_task_list", "task_to_json"]


def render_task_list(
    tasks: Iterable[Task], *, width: int | None = None, color: bool = False
) -> str:
    """Render a table of task ids and descriptions."""
    rows = [(task.id, _first_line(task.description or task.name)) for task in tasks]
    return "\n".join(format_table(("task", "description"), rows, make_painter(color), width=width))


def render_task(task: Task, origin: str, *, width: int | None = None, color: bool = False) -> str:
    """Render the full description of a task."""
    paint = make_painter(color)
    title = f"{task.name} ({origin})" if task.name and task.name != task.id else f"({origin})"
    top = [
        f"{paint(Styled('head', task.id))}  {escape_unprintable(title)}",
        *_format_description(task, width),
    ]
    blocks = [
        top,
        _format_block("inputs", _format_schema(task.input_schema, paint, width), paint),
        _format_block("output", _format_schema(task.output_schema, paint, width), paint),
        _format_block("exits", _format_exits(task), paint),
    ]
    example = task.example.strip() or _build_example(task)
    blocks.append(
        _format_block("example", [escape_unprintable(line) for line in example.split("\n")], paint)
    )
    return "\n\n".join("\n".join(block) for block in blocks)


def task_to_json(task: Task, origin: str) -> dict[str, Any]:
    """Return a task as JSON data."""
    return {
        "id": task.id,
        "name": task.name,
        "description": task.description,
        "origin": origin,
        "inputs": task.input_schema,
        "output": task.output_schema,
        "exits": dict(task.exits),
        "open": task.open_exits,
        "executor": task.executor,
        "example": task.example,
    }


def describe_schema(schema: Any) -> str:
    """Describe a JSON Schema in a few words, such as `array of string`, `"a" | "b"`, `any`."""
    if not isinstance(schema, Mapping):
        return "none" if schema is False else "any"
    if "const" in schema:
        return _to_json(schema["const"])
    if "enum" in schema:
        return " | ".join(map(_to_json, schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(map(describe_schema, schema[key])))
    kinds = schema.get("type", "any")
    return " | ".join(
        _describe_type(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    )


def _describe_type(type_name: str, schema: Mapping[str, Any]) -> str:
    items = describe_schema(schema.get("items", True)) if type_name == "array" else "any"
    if items == "any":
        return type_name
    return f"array of ({items})" if " | " in items else f"array of {items}"


def _build_example(task: Task) -> str:
    """Build a node with the required inputs, for a task without an example."""
    schema = task.input_schema or {}
    properties = schema.get("properties", {})
    node = re.sub(r"\W", "_", task.id.rpartition(".")[2].rpartition(":")[2], flags=re.ASCII)
    node += "_" * (node in RESERVED_NAMES)
    lines = [f"[nodes.{node}]", f"task = {_to_json(task.id)}"]
    given = [
        f"{_format_key(name)} = {_sample_value(properties.get(name, {}))}"
        for name in schema.get("required", ())
    ]
    return "\n".join([*lines, f"with = {{ {', '.join(given)} }}"] if given else lines)


def _format_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _to_json(name)


def _sample_value(schema: Any) -> str:
    """Return a TOML value that matches a schema: one that the schema names, else the simplest of its type."""
    if not isinstance(schema, Mapping):
        return '"…"'
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return _format_toml_value(schema[key])
    for key in ("enum", "examples"):
        if schema.get(key):
            return _format_toml_value(schema[key][0])
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _sample_value(schema[key][0])
    kinds = schema.get("type", "string")
    return _sample_of_type(kinds if isinstance(kinds, str) else kinds[0], schema)


def _sample_of_type(type_name: str, schema: Mapping[str, Any]) -> str:
    match type_name:
        case "integer" | "number":
            return _format_toml_value(schema.get("minimum", 1))
        case "boolean":
            return "true"
        case "array":
            return f"[{_sample_value(schema.get('items', {}))}]"
        case "object":
            inside = schema.get("properties", {})
            pairs = [
                f"{_format_key(name)} = {_sample_value(inside.get(name, {}))}"
                for name in schema.get("required", ())
            ]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            return '"…"'


def _format_toml_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return (
            "{ "
            + ", ".join(f"{_format_key(k)} = {_format_toml_value(v)}" for k, v in value.items())
            + " }"
        )
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_format_toml_value, value)) + "]"
    return _to_json(value)


def _format_description(task: Task, width: int | None) -> Iterator[str]:
    if task.description:
        for line in task.description.strip().split("\n"):
            yield from (
                [escape_unprintable(line)]
                if width is None
                else wrap_text(escape_unprintable(line), width)
            )


def _format_block(title: str, lines: Iterable[str], paint: Painter) -> list[str]:
    return [paint(Styled("head", title)), *(f"  {line}".rstrip() for line in lines)]


def _format_schema(
    schema: Mapping[str, Any] | None, paint: Painter, width: int | None
) -> list[str]:
    """Format an object's properties as a table, and any other schema as one line."""
    if schema is None:
        return ["anything"]
    properties = schema.get("properties")
    if schema.get("type") != "object" or not properties:
        text = ": ".join(
            filter(None, [_describe_value(schema), str(schema.get("description", ""))])
        )
        return (
            [escape_unprintable(text)]
            if width is None
            else wrap_text(escape_unprintable(text), width - 2)
        )
    rows = [_build_row(name, each, schema.get("required", ())) for name, each in properties.items()]
    head = ["name", "type", "required", "default", "description"]
    used = [at for at, name in enumerate(head) if at in (0, 1, 4) or any(row[at] for row in rows)]
    picked = [[row[at] for at in used] for row in rows]
    inner = None if width is None else width - 2
    lines = format_table([head[at] for at in used], picked, paint, width=inner)
    if schema.get("additionalProperties", True) is not False:
        lines.append(f"any other name: {describe_schema(schema.get('additionalProperties', True))}")
    return lines


def _describe_value(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "object" and schema.get("additionalProperties") is False:
        return "an empty table"
    return describe_schema(schema)


def _build_row(name: str, schema: Any, required: Iterable[str]) -> list[str]:
    given = schema if isinstance(schema, Mapping) else {}
    default = _to_json(given["default"]) if "default" in given else ""
    return [
        escape_unprintable(name),
        escape_unprintable(describe_schema(schema)),
        "yes" if name in required else "",
        escape_unprintable(default),
        escape_unprintable(str(given.get("description", ""))),
    ]


def _format_exits(task: Task) -> Iterator[str]:
    codes = sorted((code, name) for name, code in task.exits.items())
    most = max((len(str(code)) for code, _ in codes), default=1)
    for code, name in codes:
        yield f"{code:>{most}}  {name}"
    if task.open_exits:
        yield "any other code from 0 to 255 is possible"


def _first_line(text: str) -> str:
    return escape_unprintable(text.strip().split("\n")[0])


def _to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
