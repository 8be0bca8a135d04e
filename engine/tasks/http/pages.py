"""`http.pages`: fetches all pages of a paginated response, up to a required maximum.

Each page is requested as by `http`; the next one is at the `Link` header of the last, or at a field of its JSON. A page
that fails ends the task with the exit of `http` for that failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urljoin, urlsplit

from engine.sdk.context import Context, Exit, Failure
from engine.sdk.task import Task
from engine.tasks.http import request
from engine.tasks.http.content import CONTENT_SCHEMAS, EXCLUDED_INPUTS
from engine.tasks.schema_helpers import object_schema

__all__ = ["TASK", "fetch_pages"]

_LINK = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')
_EXITS = {**request.TASK.exits, "more": 7}


async def fetch_pages(inputs: dict[str, Any], context: Context) -> Exit:
    """Fetch the pages one after the other, and collect their items."""
    given = {
        key: value for key, value in inputs.items() if key not in ("max_pages", "items", "next")
    }
    found: list[Any] = []
    for number in range(1, inputs["max_pages"] + 1):
        end = await request.send_request(given, context)
        if end.code not in (0, "success"):
            output = {"items": found, "pages": number - 1}
            return Exit(end.code, output, end.permanent, end.retry_after)
        found += _extract_items(end.output["body"], inputs.get("items"))
        after = _find_next_url(end.output, inputs.get("next"))
        if after is None:
            return Exit(0, {"items": found, "pages": number})
        url = urljoin(end.output["url"], after)
        # Credentials are for the place that was asked first.
        keep = given if _get_origin(url) == _get_origin(inputs["url"]) else _drop_credentials(given)
        given = {**{key: value for key, value in keep.items() if key != "params"}, "url": url}
        context.note(f"page {number}: {len(found)} items")
    return Exit("more", {"items": found, "pages": inputs["max_pages"]})


def _extract_items(page: Any, path: str | None) -> list[Any]:
    value = page if path is None else _get_field(page, path)
    if not isinstance(value, list):
        raise Failure(f"a page has no list{f' at `{path}`' if path else ''}")
    return value


def _find_next_url(output: Mapping[str, Any], path: str | None) -> str | None:
    if path is None:
        link = _LINK.search(output["headers"].get("link", ""))
        return link[1] if link else None
    value = _get_field(output["body"], path)
    return value if isinstance(value, str) and value else None


def _get_field(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _get_origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.rpartition("@")[2]


def _drop_credentials(given: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in given.items() if key not in ("bearer", "basic", "headers")}


_HTTP_SCHEMA = request.TASK.input_schema or {}
_SHARED_INPUTS = ("url", "headers", "params", "verify", "max_bytes")

TASK = Task(
    id="http.pages",
    body=fetch_pages,
    name="All pages of an answer",
    description="Get all pages of a paginated response, up to a maximum. The exit is `more` if there are more pages.",
    input_schema=object_schema(
        {
            **{name: _HTTP_SCHEMA["properties"][name] for name in _SHARED_INPUTS},
            **{name: CONTENT_SCHEMAS[name] for name in ("bearer", "basic")},
            "max_pages": {"type": "integer", "minimum": 1, "maximum": 10_000, "description": "The maximum number of pages to request."},
            "items": {
                "type": "string", "minLength": 1,
                "description": "The path of the list in each page, such as `data.items`; by default the page itself is the list.",
            },
            "next": {
                "type": "string", "minLength": 1,
                "description": "The path of the URL of the next page; by default the URL in the `Link` header is used.",
            },
        },
        ["url", "max_pages"],
        dependentSchemas={name: EXCLUDED_INPUTS[name] for name in ("bearer", "basic")},
    ),
    output_schema=object_schema(
        {
            "items": {"type": "array", "description": "The items of all pages, in order."},
            "pages": {"type": "integer", "description": "The number of pages that were read."},
        },
        ["items", "pages"],
    ),
    output_contract="exact",
    exits=_EXITS,
    example="""\
[nodes.issues]
task = "http.pages"
timeout = "2m"
with = { url = "https://api.example.org/issues", max_pages = 20, bearer = "${secrets.TOKEN}" }
""",
)  # fmt: skip
