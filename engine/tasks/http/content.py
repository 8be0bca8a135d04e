"""Contents of requests of `http`: bodies, forms, files and credentials; and the file for a response."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.sdk.context import Context
from engine.tasks.files import read_limited_bytes, write_bytes
from engine.tasks.schema_helpers import (
    object_schema,
    resolve_path,
    run_in_abandonable_thread,
    run_write_in_thread,
)

if TYPE_CHECKING:
    import httpx

__all__ = ["CONTENT_SCHEMAS", "EXCLUDED_INPUTS", "FIELD_SCHEMA", "build_content", "save_body"]


async def build_content(inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build the content of a request as keyword arguments of httpx.

    JSON is encoded here, since the `json` argument of httpx sends nothing for null.
    """
    headers = _build_headers(inputs)
    found: dict[str, Any] = {"headers": headers}
    if "json" in inputs:
        headers.setdefault("Content-Type", "application/json")
        return found | {"content": json.dumps(inputs["json"], allow_nan=False)}
    if "file" in inputs:
        return found | {
            "content": await run_in_abandonable_thread(
                partial(read_limited_bytes, resolve_path(context, inputs["file"]))
            )
        }
    if "files" in inputs:
        found["files"] = {
            name: await _read_form_file(given, context) for name, given in inputs["files"].items()
        }
    names = {"data": "data", "body": "content"}
    return found | {names[key]: inputs[key] for key in names if key in inputs}


def _build_headers(inputs: Mapping[str, Any]) -> httpx.Headers:
    import httpx

    headers = httpx.Headers(inputs.get("headers"), encoding="utf-8")
    if "bearer" in inputs:
        headers["Authorization"] = f"Bearer {inputs['bearer']}"
    if "basic" in inputs:
        pair = f"{inputs['basic']['user']}:{inputs['basic']['password']}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers


async def _read_form_file(given: Mapping[str, Any], context: Context) -> tuple[Any, ...]:
    path = resolve_path(context, given["path"])
    data = await run_in_abandonable_thread(partial(read_limited_bytes, path))
    return given.get("name", path.name), data, given.get("type", "application/octet-stream")


async def save_body(path: str, data: bytes, context: Context) -> dict[str, Any]:
    """Write a response's body to a file, as a whole or not at all, and return its path and size."""
    target = resolve_path(context, path)
    size = await run_write_in_thread(lambda stop: write_bytes(target, iter([data]), stop))
    return {"path": str(target), "size": size}


_SCALAR = ["string", "number", "boolean"]
FIELD_SCHEMA = {"type": [*_SCALAR, "array"], "items": {"type": _SCALAR}}
"""The schema of a value in a form or a query."""
_PATH = {"type": "string", "minLength": 1}


def _forbid_inputs(*others: str) -> dict[str, Any]:
    return {"not": {"anyOf": [{"required": [other]} for other in others]}}


EXCLUDED_INPUTS = {
    "json": _forbid_inputs("data", "body", "file", "files"),
    "data": _forbid_inputs("json", "body", "file"),
    "body": _forbid_inputs("json", "data", "file", "files"),
    "file": _forbid_inputs("json", "data", "body", "files"),
    "files": _forbid_inputs("json", "body", "file"),
    "bearer": _forbid_inputs("basic"),
    "basic": _forbid_inputs("bearer"),
}
"""The inputs that each of these inputs excludes, as `dependentSchemas`."""

CONTENT_SCHEMAS = {
    "json": {"description": "A value to send as JSON."},
    "data": {
        "type": "object",
        "additionalProperties": FIELD_SCHEMA,
        "description": "The fields of a form to send; a list repeats its key.",
    },
    "body": {"type": "string", "description": "Text to send unchanged."},
    "file": {
        **_PATH,
        "description": "The path of a file to send unchanged, relative to the spec's folder.",
    },
    "files": {
        "type": "object",
        "description": "The files of a form to send, by field, in addition to `data`.",
        "additionalProperties": object_schema(
            {
                "path": {
                    **_PATH,
                    "description": "The path of the file, relative to the spec's folder.",
                },
                "name": {
                    "type": "string",
                    "description": "The file name to send; by default the name of the file.",
                },
                "type": {"type": "string", "description": "The content type of the file."},
            },
            ["path"],
        ),
    },
    "bearer": {
        "type": "string",
        "description": "A bearer token for authentication: `${secrets.NAME}`.",
    },
    "basic": object_schema(
        {
            "user": {"type": "string", "description": "The user."},
            "password": {"type": "string", "description": "The password: `${secrets.NAME}`."},
        },
        ["user", "password"],
        description="User and password for basic authentication.",
    ),
    "to": {
        **_PATH,
        "description": "The path of a file for the response body, relative to the spec's folder. It is written completely or not at all.",
    },
}
"""The schemas of the inputs for content, credentials and the target file."""
