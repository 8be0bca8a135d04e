"""Contents of requests of `http`: bodies, forms, files and credentials; and the file for a response."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.sdk.context import Context
from engine.tasks.files import read_bytes, write_bytes
from engine.tasks.schema_helpers import aside, place, table, written

if TYPE_CHECKING:
    import httpx

__all__ = ["CONTENT", "EXCLUDED", "FIELDS", "content_of", "kept"]


async def content_of(inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Build the content of a request as keyword arguments of httpx.

    JSON is encoded here, since the `json` argument of httpx sends nothing for null.
    """
    headers = _headers(inputs)
    found: dict[str, Any] = {"headers": headers}
    if "json" in inputs:
        headers.setdefault("Content-Type", "application/json")
        return found | {"content": json.dumps(inputs["json"], allow_nan=False)}
    if "file" in inputs:
        return found | {"content": await aside(partial(read_bytes, place(context, inputs["file"])))}
    if "files" in inputs:
        found["files"] = {
            name: await _file(given, context) for name, given in inputs["files"].items()
        }
    names = {"data": "data", "body": "content"}
    return found | {names[key]: inputs[key] for key in names if key in inputs}


def _headers(inputs: Mapping[str, Any]) -> httpx.Headers:
    import httpx

    headers = httpx.Headers(inputs.get("headers"), encoding="utf-8")
    if "bearer" in inputs:
        headers["Authorization"] = f"Bearer {inputs['bearer']}"
    if "basic" in inputs:
        pair = f"{inputs['basic']['user']}:{inputs['basic']['password']}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return headers


async def _file(given: Mapping[str, Any], context: Context) -> tuple[Any, ...]:
    path = place(context, given["path"])
    data = await aside(partial(read_bytes, path))
    return given.get("name", path.name), data, given.get("type", "application/octet-stream")


async def kept(path: str, data: bytes, context: Context) -> dict[str, Any]:
    """Write a response's body to a file, as a whole or not at all, and return its path and size."""
    target = place(context, path)
    size = await written(lambda stop: write_bytes(target, iter([data]), stop))
    return {"path": str(target), "size": size}


_SCALAR = ["string", "number", "boolean"]
FIELDS = {"type": [*_SCALAR, "array"], "items": {"type": _SCALAR}}
"""The schema of a value in a form or a query."""
_PATH = {"type": "string", "minLength": 1}


def _without(*others: str) -> dict[str, Any]:
    return {"not": {"anyOf": [{"required": [other]} for other in others]}}


EXCLUDED = {
    "json": _without("data", "body", "file", "files"),
    "data": _without("json", "body", "file"),
    "body": _without("json", "data", "file", "files"),
    "file": _without("json", "data", "body", "files"),
    "files": _without("json", "body", "file"),
    "bearer": _without("basic"),
    "basic": _without("bearer"),
}
"""The inputs that each of these inputs excludes, as `dependentSchemas`."""

CONTENT = {
    "json": {"description": "A value to send as JSON."},
    "data": {
        "type": "object",
        "additionalProperties": FIELDS,
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
        "additionalProperties": table(
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
    "basic": table(
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
