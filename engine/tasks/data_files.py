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
from engine.tasks.files import (
    EXITS_WITH_MISSING,
    MAX_FILE_SIZE,
    decode_text,
    read_limited_bytes,
    write_bytes,
)
from engine.tasks.schema_helpers import (
    FileMissing,
    object_schema,
    resolve_path,
    run_in_abandonable_thread,
    run_write_in_thread,
)

__all__ = ["READ_CSV", "READ_JSON", "READ_LINES", "WRITE_CSV", "WRITE_JSON", "WRITE_LINES"]

ParseText = Callable[[str, Mapping[str, Any], Path], Any]


def _build_reader(key: str, parse: ParseText, empty: Any) -> Any:
    """Build the body of a task that reads a file, and returns the parsed value under `key`."""

    def read(inputs: Mapping[str, Any], path: Path) -> Any:
        data = read_limited_bytes(path, inputs.get("max_size", MAX_FILE_SIZE))
        return parse(decode_text(data, path), inputs, path)

    async def body(inputs: dict[str, Any], context: Context) -> Exit:
        try:
            found = await run_in_abandonable_thread(
                partial(read, inputs, resolve_path(context, inputs["path"]))
            )
        except FileMissing:
            return Exit("missing", {key: empty})
        return Exit(0, {key: found})

    return body


def _build_writer(encode: Callable[[Mapping[str, Any]], Iterator[bytes]]) -> Any:
    async def body(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
        path, mode = resolve_path(context, inputs["path"]), inputs.get("mode", "replace")
        size = await run_write_in_thread(lambda stop: write_bytes(path, encode(inputs), stop, mode))
        count = {"count": len(inputs["rows"])} if "rows" in inputs else {}
        return {"path": str(path), "size": size, **count}

    return body


# -- CSV -------------------------------------------------------------------------------------------

_TRUE_WORDS, _FALSE_WORDS = ("true", "yes", "1"), ("false", "no", "0")


def _parse_csv(text: str, inputs: Mapping[str, Any], path: Path) -> list[dict[str, Any]]:
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=inputs.get("delimiter", ","), strict=True
    )
    try:
        head = inputs.get("columns") or next(reader, [])
        if len(set(head)) != len(head):
            raise Failure(f"`{path}`, line 1: duplicate column name")
        return [_parse_row(head, cells, inputs, path, reader.line_num) for cells in reader if cells]
    except csv.Error as error:
        raise Failure(f"`{path}`, line {reader.line_num}: {error}") from None


def _parse_row(
    columns: list[str], cells: list[str], inputs: Mapping[str, Any], path: Path, line: int
) -> dict[str, Any]:
    if len(cells) != len(columns):
        raise Failure(f"`{path}`, line {line}: {len(cells)} cells under {len(columns)} columns")
    types = inputs.get("types", {})
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        try:
            row[name] = _convert_cell(cell, types.get(name, "text"))
        except ValueError:
            raise Failure(
                f"`{path}`, line {line}: `{cell}` in column `{name}` is not a valid {types[name]}"
            ) from None
    return row


def _convert_cell(cell: str, kind: str) -> Any:
    if kind == "text":
        return cell
    if not cell.strip():
        return None
    if kind == "integer":
        return int(cell)
    if kind == "number":
        return float(cell)
    word = cell.strip().lower()
    if word not in (*_TRUE_WORDS, *_FALSE_WORDS):
        raise ValueError(cell)
    return word in _TRUE_WORDS


def _write_csv(inputs: Mapping[str, Any]) -> Iterator[bytes]:
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
        writer.writerow([_format_cell(row.get(name)) for name in head])
        if out.tell() > 1 << 20:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def _format_cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- JSON ------------------------------------------------------------------------------------------


def _parse_json_file(text: str, inputs: Mapping[str, Any], path: Path) -> Any:
    return _parse_json(text, str(path), 0)


def _parse_json_lines(text: str, inputs: Mapping[str, Any], path: Path) -> list[Any]:
    lines = enumerate(text.split("\n"), 1)
    return [_parse_json(line, str(path), at) for at, line in lines if line.strip()]


def _parse_json(text: str, path: str, line: int) -> Any:
    try:
        return json.loads(text, parse_constant=_reject_constant)
    except json.JSONDecodeError as error:
        place = f"line {line or error.lineno}, column {error.colno}"
        raise Failure(f"`{path}`, {place}: {error.msg.lower()}") from None
    except (ValueError, RecursionError) as error:
        why = "the value is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Failure(f"`{path}`{f', line {line}' if line else ''}: {why}") from None


def _reject_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


def _write_json(inputs: Mapping[str, Any]) -> Iterator[bytes]:
    indent = inputs.get("indent", 2) or None
    yield (json.dumps(inputs["value"], ensure_ascii=False, indent=indent) + "\n").encode()


def _write_json_lines(inputs: Mapping[str, Any]) -> Iterator[bytes]:
    return ((json.dumps(row, ensure_ascii=False) + "\n").encode() for row in inputs["rows"])


# -- the declarations ------------------------------------------------------------------------------

_PATH = {
    "type": "string",
    "minLength": 1,
    "description": "The path of the file, relative to the spec's folder.",
}
_MAX_SIZE_SCHEMA = {
    "type": "integer",
    "minimum": 1,
    "default": MAX_FILE_SIZE,
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
_MODE_SCHEMA = {
    "enum": ["replace", "new"],
    "default": "replace",
    "description": "What happens if the file exists: it is replaced, or the attempt fails.",
}
_APPENDABLE_MODE_SCHEMA = {
    "enum": ["replace", "new", "append"],
    "default": "replace",
    "description": "What happens if the file exists: it is replaced, the attempt fails, or the content is appended.",
}
_OUTPUT_PROPERTIES = {
    "path": {"type": "string", "description": "The path of the file."},
    "size": {"type": "integer", "description": "The size of the file in bytes."},
    "count": {
        "type": "integer",
        "description": "The number of rows written.",
    },
}
_OBJECT_ROWS_SCHEMA = {
    "type": "array",
    "description": "The rows, each an object.",
    "items": {"type": "object"},
}
_ROWS_SCHEMA = {"type": "array", "description": "The values, one for each line."}

READ_CSV = Task(
    id="csv.read",
    body=_build_reader("rows", _parse_csv, []),
    name="Read CSV",
    description="Read a CSV file. Each row becomes an object.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "delimiter": _DELIMITER,
            "columns": {**_COLUMNS, "description": "The names of the columns, if the file has no header row."},
            "types": {
                "type": "object",
                "description": "The types of columns, by name; text by default. An empty cell is null, except in a column of text.",
                "additionalProperties": {"enum": ["text", "integer", "number", "boolean"]},
            },
            "max_size": _MAX_SIZE_SCHEMA,
        },
        ["path"],
    ),
    output_schema=object_schema({"rows": _OBJECT_ROWS_SCHEMA}, ["rows"]),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.orders]\ntask = "csv.read"\nwith = { path = "orders.csv", types = { amount = "number" } }\n',
)  # fmt: skip

WRITE_CSV = Task(
    id="csv.write",
    body=_build_writer(_write_csv),
    name="Write CSV",
    description="Write rows to a CSV file, completely or not at all.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "rows": {
                **_OBJECT_ROWS_SCHEMA,
                "description": "The rows, each an object. Null becomes an empty cell; a value that is not text is written as JSON.",
            },
            "columns": {
                **_COLUMNS,
                "description": "The columns to write, in this order; by default all columns, in the order in which they first occur.",
            },
            "head": {"type": "boolean", "default": True, "description": "Whether the first line has the names of the columns."},
            "delimiter": _DELIMITER,
            "mode": _MODE_SCHEMA,
        },
        ["path", "rows"],
    ),
    output_schema=object_schema(_OUTPUT_PROPERTIES, ["path", "size", "count"]),
    output_contract="exact",
    may_request_delay=False,
    example='[nodes.keep]\ntask = "csv.write"\nwith = { path = "out/orders.csv", rows = [{ id = 1, city = "${inputs.city}" }] }\n',
)  # fmt: skip

READ_JSON = Task(
    id="json.read",
    body=_build_reader("value", _parse_json_file, None),
    name="Read JSON",
    description="Read a JSON file.",
    input_schema=object_schema({"path": _PATH, "max_size": _MAX_SIZE_SCHEMA}, ["path"]),
    output_schema=object_schema({"value": {"description": "The value in the file."}}, ["value"]),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.settings]\ntask = "json.read"\nwith = { path = "settings.json" }\n',
)  # fmt: skip

WRITE_JSON = Task(
    id="json.write",
    body=_build_writer(_write_json),
    name="Write JSON",
    description="Write a value to a JSON file, completely or not at all.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "value": {"description": "The value to write."},
            "indent": {
                "type": "integer", "minimum": 0, "maximum": 8, "default": 2,
                "description": "The number of spaces for each level; 0 writes everything on one line.",
            },
            "mode": _MODE_SCHEMA,
        },
        ["path", "value"],
    ),
    output_schema=object_schema({k: _OUTPUT_PROPERTIES[k] for k in ("path", "size")}, ["path", "size"]),
    output_contract="exact",
    may_request_delay=False,
    example='[nodes.keep]\ntask = "json.write"\nwith = { path = "out/result.json", value = "${total}" }\n',
)  # fmt: skip

READ_LINES = Task(
    id="jsonl.read",
    body=_build_reader("rows", _parse_json_lines, []),
    name="Read JSON lines",
    description="Read a file that has one JSON value on each line.",
    input_schema=object_schema({"path": _PATH, "max_size": _MAX_SIZE_SCHEMA}, ["path"]),
    output_schema=object_schema({"rows": _ROWS_SCHEMA}, ["rows"]),
    output_contract="exact",
    exits=EXITS_WITH_MISSING,
    may_request_delay=False,
    example='[nodes.events]\ntask = "jsonl.read"\nwith = { path = "events.jsonl" }\n',
)  # fmt: skip

WRITE_LINES = Task(
    id="jsonl.write",
    body=_build_writer(_write_json_lines),
    name="Write JSON lines",
    description="Write values to a file, one JSON value on each line, completely or not at all.",
    input_schema=object_schema(
        {
            "path": _PATH,
            "rows": _ROWS_SCHEMA,
            "mode": _APPENDABLE_MODE_SCHEMA,
        },
        ["path", "rows"],
    ),
    output_schema=object_schema(_OUTPUT_PROPERTIES, ["path", "size", "count"]),
    output_contract="exact",
    may_request_delay=False,
    example='[nodes.log]\ntask = "jsonl.write"\nwith = { path = "out/runs.jsonl", rows = ["${summary}"], mode = "append" }\n',
)  # fmt: skip
