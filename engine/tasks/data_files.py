"""`csv.*`, `json.*`, `jsonl.*`: read and write tables and values.

A row of CSV is an object of texts by column name, unless `types` converts them. An error in a file is reported with
its line, and then nothing of the file is returned. Files are written as a whole or not at all (see `files`).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from engine.sdk.context import Context, Exit, Failure
from engine.sdk.task import Task
from engine.tasks.files import LIMIT, MISSING, decoded, read_bytes, write_bytes
from engine.tasks.schema_helpers import NotThere, aside, place, table, written

__all__ = ["READ_CSV", "READ_JSON", "READ_LINES", "WRITE_CSV", "WRITE_JSON", "WRITE_LINES"]

Parse = Callable[[str, Mapping[str, Any], Path], Any]


def _reader(key: str, parse: Parse, nothing: Any) -> Any:
    """Build the body of a task that reads a file, and returns the parsed value under `key`."""

    def read(inputs: Mapping[str, Any], path: Path) -> Any:
        data = read_bytes(path, inputs.get("max_size", LIMIT))
        return parse(decoded(data, path), inputs, path)

    async def body(inputs: dict[str, Any], context: Context) -> Exit:
        try:
            found = await aside(partial(read, inputs, place(context, inputs["path"])))
        except NotThere:
            return Exit("missing", {key: nothing})
        return Exit(0, {key: found})

    return body


def _writer(parts: Callable[[Mapping[str, Any]], Iterator[bytes]]) -> Any:
    async def body(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
        path, mode = place(context, inputs["path"]), inputs.get("mode", "replace")
        size = await written(lambda stop: write_bytes(path, parts(inputs), stop, mode))
        count = {"count": len(inputs["rows"])} if "rows" in inputs else {}
        return {"path": str(path), "size": size, **count}

    return body


# -- CSV -------------------------------------------------------------------------------------------

_TRUE, _FALSE = ("true", "yes", "1"), ("false", "no", "0")


def _rows(text: str, inputs: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=inputs.get("delimiter", ","), strict=True
    )
    try:
        head = inputs.get("columns") or next(reader, [])
        if len(set(head)) != len(head):
            raise Failure(f"`{path}`, line 1: duplicate column name")
        return [_row(head, cells, inputs, path, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise Failure(f"`{path}`, line {reader.line_num}: {error}") from None


def _row(
    head: list[str], cells: list[str], inputs: Mapping[str, Any], path: Path, line: int
) -> dict[str, Any]:
    if len(cells) != len(head):
        raise Failure(f"`{path}`, line {line}: {len(cells)} cells under {len(head)} columns")
    types = inputs.get("types", {})
    row: dict[str, Any] = {}
    for name, cell in zip(head, cells, strict=True):
        try:
            row[name] = _typed(cell, types.get(name, "text"))
        except ValueError:
            raise Failure(
                f"`{path}`, line {line}: `{cell}` in column `{name}` is not a valid {types[name]}"
            ) from None
    return row


def _typed(cell: str, kind: str) -> Any:
    if kind == "text":
        return cell
    if not cell.strip():
        return None
    if kind == "integer":
        return int(cell)
    if kind == "number":
        return float(cell)
    word = cell.strip().lower()
    if word not in (*_TRUE, *_FALSE):
        raise ValueError(cell)
    return word in _TRUE


def _csv(inputs: Mapping[str, Any]) -> Iterator[bytes]:
    rows = inputs["rows"]
    head = inputs.get("columns") or list(dict.fromkeys(name for row in rows for name in row))
    for row in rows:
        odd = next((name for name in row if name not in head), None)
        if odd is not None:
            raise Failure(f"a row has `{odd}`, which is not one of the columns")
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=inputs.get("delimiter", ","), lineterminator="\n")
    if inputs.get("head", True):
        writer.writerow(head)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in head])
        if out.tell() > 1 << 20:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- JSON ------------------------------------------------------------------------------------------


def _json(text: str, inputs: Mapping[str, Any], path: Path) -> Any:
    return _value(text, str(path), 0)


def _lines(text: str, inputs: Mapping[str, Any], path: Path) -> list[Any]:
    lines = enumerate(text.split("\n"), 1)
    return [_value(line, str(path), at) for at, line in lines if line.strip()]


def _value(text: str, path: str, line: int) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        raise Failure(f"`{path}`, {place}: {error.msg.lower()}") from None
    except (ValueError, RecursionError) as error:
        why = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Failure(f"`{path}`{f', line {line}' if line else ''}: {why}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


def _as_json(inputs: Mapping[str, Any]) -> Iterator[bytes]:
    indent = inputs.get("indent", 2) or None
    yield (json.dumps(inputs["value"], ensure_ascii=False, indent=indent) + "\n").encode()


def _as_lines(inputs: Mapping[str, Any]) -> Iterator[bytes]:
    return ((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in inputs["rows"])


# -- the declarations ------------------------------------------------------------------------------

_PATH = {
    "type": "string",
    "minLength": 1,
    "description": "The path of the file, relative to the spec's folder.",
}
_SIZE = {
    "type": "integer",
    "minimum": 1,
    "default": LIMIT,
    "description": "The maximum size of the file in bytes; a larger file is an error.",
}
_DELIMITER = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1,
    "default": ",",
    "description": "The character between two cells.",
}
_COLUMNS = {"type": "array", "items": {"type": "string"}, "minItems": 1}
_MODE = {
    "enum": ["replace", "new"],
    "default": "replace",
    "description": "What happens if the file exists: it is replaced, or the attempt fails.",
}
_ANY_MODE = {
    "enum": ["replace", "new", "append"],
    "default": "replace",
    "description": "What happens if the file exists: it is replaced, the attempt fails, or the content is appended.",
}
_WRITTEN = {
    "path": {"type": "string", "description": "The path of the file."},
    "size": {"type": "integer", "description": "The size of the file in bytes."},
    "count": {
        "type": "integer",
        "description": "The number of rows written.",
    },
}
_ROWS = {"type": "array", "description": "The rows, each an object.", "items": {"type": "object"}}
_ANY_ROWS = {"type": "array", "description": "The values, one for each line."}

READ_CSV = Task(
    id="csv.read",
    body=_reader("rows", _rows, []),
    name="Read CSV",
    description="Read a CSV file. Each row becomes an object.",
    input_schema=table(
        {
            "path": _PATH,
            "delimiter": _DELIMITER,
            "columns": {**_COLUMNS, "description": "The names of the columns, if the file has no header row."},
            "types": {
                "type": "object",
                "description": "The types of columns, by name; text by default. An empty cell is null, except in a column of text.",
                "additionalProperties": {"enum": ["text", "integer", "number", "boolean"]},
            },
            "max_size": _SIZE,
        },
        ["path"],
    ),
    output_schema=table({"rows": _ROWS}, ["rows"]),
    output="exact",
    exits=MISSING,
    may_ask=False,
    example='[nodes.orders]\ntask = "csv.read"\nwith = { path = "orders.csv", types = { amount = "number" } }\n',
)  # fmt: skip

WRITE_CSV = Task(
    id="csv.write",
    body=_writer(_csv),
    name="Write CSV",
    description="Write rows to a CSV file, completely or not at all.",
    input_schema=table(
        {
            "path": _PATH,
            "rows": {
                **_ROWS,
                "description": "The rows, each an object. Null becomes an empty cell; a value that is not text is written as JSON.",
            },
            "columns": {
                **_COLUMNS,
                "description": "The columns to write, in this order; by default all columns, in the order in which they first occur.",
            },
            "head": {"type": "boolean", "default": True, "description": "Whether the first line has the names of the columns."},
            "delimiter": _DELIMITER,
            "mode": _MODE,
        },
        ["path", "rows"],
    ),
    output_schema=table(_WRITTEN, ["path", "size", "count"]),
    output="exact",
    may_ask=False,
    example='[nodes.keep]\ntask = "csv.write"\nwith = { path = "out/orders.csv", rows = [{ id = 1, city = "${inputs.city}" }] }\n',
)  # fmt: skip

READ_JSON = Task(
    id="json.read",
    body=_reader("value", _json, None),
    name="Read JSON",
    description="Read a JSON file.",
    input_schema=table({"path": _PATH, "max_size": _SIZE}, ["path"]),
    output_schema=table({"value": {"description": "The value in the file."}}, ["value"]),
    output="exact",
    exits=MISSING,
    may_ask=False,
    example='[nodes.settings]\ntask = "json.read"\nwith = { path = "settings.json" }\n',
)  # fmt: skip

WRITE_JSON = Task(
    id="json.write",
    body=_writer(_as_json),
    name="Write JSON",
    description="Write a value to a JSON file, completely or not at all.",
    input_schema=table(
        {
            "path": _PATH,
            "value": {"description": "The value to write."},
            "indent": {
                "type": "integer", "minimum": 0, "maximum": 8, "default": 2,
                "description": "The number of spaces for each level; 0 writes everything on one line.",
            },
            "mode": _MODE,
        },
        ["path", "value"],
    ),
    output_schema=table({k: _WRITTEN[k] for k in ("path", "size")}, ["path", "size"]),
    output="exact",
    may_ask=False,
    example='[nodes.keep]\ntask = "json.write"\nwith = { path = "out/result.json", value = "${total}" }\n',
)  # fmt: skip

READ_LINES = Task(
    id="jsonl.read",
    body=_reader("rows", _lines, []),
    name="Read JSON lines",
    description="Read a file that has one JSON value on each line.",
    input_schema=table({"path": _PATH, "max_size": _SIZE}, ["path"]),
    output_schema=table({"rows": _ANY_ROWS}, ["rows"]),
    output="exact",
    exits=MISSING,
    may_ask=False,
    example='[nodes.events]\ntask = "jsonl.read"\nwith = { path = "events.jsonl" }\n',
)  # fmt: skip

WRITE_LINES = Task(
    id="jsonl.write",
    body=_writer(_as_lines),
    name="Write JSON lines",
    description="Write values to a file, one JSON value on each line, completely or not at all.",
    input_schema=table(
        {
            "path": _PATH,
            "rows": _ANY_ROWS,
            "mode": _ANY_MODE,
        },
        ["path", "rows"],
    ),
    output_schema=table(_WRITTEN, ["path", "size", "count"]),
    output="exact",
    may_ask=False,
    example='[nodes.log]\ntask = "jsonl.write"\nwith = { path = "out/runs.jsonl", rows = ["${summary}"], mode = "append" }\n',
)  # fmt: skip
