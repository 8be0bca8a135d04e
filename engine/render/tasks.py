"""Render tasks as text: a list of all, or one with its inputs, output, exits and an example."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.language.value_hooks import RESERVED
from engine.render.text import Paint, Styled, painter, printable, table, wrap
from engine.sdk.task import Task

__all__ = ["as_json", "detail", "listing", "type_of"]


def listing(tasks: Iterable[Task], *, width: int | None = None, color: bool = False) -> str:
    """Render a table of task ids and descriptions."""
    rows = [(task.id, _first(task.description or task.name)) for task in tasks]
    return "\n".join(table(("task", "description"), rows, painter(color), width=width))


def detail(task: Task, origin: str, *, width: int | None = None, color: bool = False) -> str:
    """Render the full description of a task."""
    paint = painter(color)
    title = f"{task.name} ({origin})" if task.name and task.name != task.id else f"({origin})"
    top = [f"{paint(Styled('head', task.id))}  {printable(title)}", *_described(task, width)]
    blocks = [
        top,
        _block("inputs", _schema(task.input_schema, paint, width), paint),
        _block("output", _schema(task.output_schema, paint, width), paint),
        _block("exits", _exits(task), paint),
    ]
    example = task.example.strip() or _example(task)
    blocks.append(_block("example", [printable(line) for line in example.split("\n")], paint))
    return "\n\n".join("\n".join(block) for block in blocks)


def as_json(task: Task, origin: str) -> dict[str, Any]:
    """Return a task as JSON data."""
    return {
        "id": task.id,
        "name": task.name,
        "description": task.description,
        "origin": origin,
        "inputs": task.input_schema,
        "output": task.output_schema,
        "exits": dict(task.exits),
        "open": task.open,
        "executor": task.executor,
        "example": task.example,
    }


def type_of(schema: Any) -> str:
    """Describe a JSON Schema in a few words, such as `array of string`, `"a" | "b"`, `any`."""
    if not isinstance(schema, Mapping):
        return "none" if schema is False else "any"
    if "const" in schema:
        return _json(schema["const"])
    if "enum" in schema:
        return " | ".join(map(_json, schema["enum"]))
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(map(type_of, schema[key])))
    kinds = schema.get("type", "any")
    return " | ".join(
        _kind(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds)
    )


def _kind(kind: str, schema: Mapping[str, Any]) -> str:
    items = type_of(schema.get("items", True)) if kind == "array" else "any"
    if items == "any":
        return kind
    return f"array of ({items})" if " | " in items else f"array of {items}"


def _example(task: Task) -> str:
    """Build a node with the required inputs, for a task without an example."""
    schema = task.input_schema or {}
    properties = schema.get("properties", {})
    node = re.sub(r"\W", "_", task.id.rpartition(".")[2].rpartition(":")[2], flags=re.ASCII)
    node += "_" * (node in RESERVED)
    lines = [f"[nodes.{node}]", f"task = {_json(task.id)}"]
    given = [
        f"{_key(name)} = {_sample(properties.get(name, {}))}" for name in schema.get("required", ())
    ]
    return "\n".join([*lines, f"with = {{ {', '.join(given)} }}"] if given else lines)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _json(name)


def _sample(schema: Any) -> str:
    """Return a TOML value that matches a schema: one that the schema names, else the simplest of its type."""
    if not isinstance(schema, Mapping):
        return '"…"'
    for key in ("const", "default"):
        if schema.get(key) is not None:
            return _toml(schema[key])
    for key in ("enum", "examples"):
        if schema.get(key):
            return _toml(schema[key][0])
    for key in ("anyOf", "oneOf"):
        if schema.get(key):
            return _sample(schema[key][0])
    kinds = schema.get("type", "string")
    return _sample_of(kinds if isinstance(kinds, str) else kinds[0], schema)


def _sample_of(kind: str, schema: Mapping[str, Any]) -> str:
    match kind:
        case "integer" | "number":
            return _toml(schema.get("minimum", 1))
        case "boolean":
            return "true"
        case "array":
            return f"[{_sample(schema.get('items', {}))}]"
        case "object":
            inside = schema.get("properties", {})
            pairs = [
                f"{_key(name)} = {_sample(inside.get(name, {}))}"
                for name in schema.get("required", ())
            ]
            return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
        case _:
            return '"…"'


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return _json(value)


def _described(task: Task, width: int | None) -> Iterator[str]:
    if task.description:
        for line in task.description.strip().split("\n"):
            yield from [printable(line)] if width is None else wrap(printable(line), width)


def _block(title: str, lines: Iterable[str], paint: Paint) -> list[str]:
    return [paint(Styled("head", title)), *(f"  {line}".rstrip() for line in lines)]


def _schema(schema: Mapping[str, Any] | None, paint: Paint, width: int | None) -> list[str]:
    """Format an object's properties as a table, and any other schema as one line."""
    if schema is None:
        return ["anything"]
    properties = schema.get("properties")
    if schema.get("type") != "object" or not properties:
        text = ": ".join(filter(None, [_outer(schema), str(schema.get("description", ""))]))
        return [printable(text)] if width is None else wrap(printable(text), width - 2)
    rows = [_row(name, each, schema.get("required", ())) for name, each in properties.items()]
    head = ["name", "type", "required", "default", "description"]
    used = [at for at, name in enumerate(head) if at in (0, 1, 4) or any(row[at] for row in rows)]
    picked = [[row[at] for at in used] for row in rows]
    inner = None if width is None else width - 2
    lines = table([head[at] for at in used], picked, paint, width=inner)
    if schema.get("additionalProperties", True) is not False:
        lines.append(f"any other name: {type_of(schema.get('additionalProperties', True))}")
    return lines


def _outer(schema: Mapping[str, Any]) -> str:
    if schema.get("type") == "object" and schema.get("additionalProperties") is False:
        return "an empty table"
    return type_of(schema)


def _row(name: str, schema: Any, required: Iterable[str]) -> list[str]:
    given = schema if isinstance(schema, Mapping) else {}
    default = _json(given["default"]) if "default" in given else ""
    return [
        printable(name),
        printable(type_of(schema)),
        "yes" if name in required else "",
        printable(default),
        printable(str(given.get("description", ""))),
    ]


def _exits(task: Task) -> Iterator[str]:
    codes = sorted((code, name) for name, code in task.exits.items())
    most = max((len(str(code)) for code, _ in codes), default=1)
    for code, name in codes:
        yield f"{code:>{most}}  {name}"
    if task.open:
        yield "any other code from 0 to 255 is possible"


def _first(text: str) -> str:
    return printable(text.strip().split("\n")[0])


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
