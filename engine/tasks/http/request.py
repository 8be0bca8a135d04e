"""`http`: sends one request; the class of the response's status is the exit.

It has no timeout of its own; the step's applies. Its messages name method, host and path only: headers, query and the
user part of a URL may hold secrets, and so may the libraries' own error messages.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.sdk.task import Task
from engine.tasks.http.content import (
    CONTENT_SCHEMAS,
    EXCLUDED_INPUTS,
    FIELD_SCHEMA,
    build_content,
    save_body,
)
from engine.tasks.http.errors import describe_http_error
from engine.tasks.transfer_progress import TransferProgress

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["TASK", "send_request"]

_MAX_BODY_SIZE = 16 * 1024 * 1024
_RETRYABLE_CLIENT_ERRORS = frozenset({408, 425})
"""Client errors that are temporary."""
_SAFE_HEADERS = frozenset({"accept", "accept-language", "content-type", "user-agent"})
"""Headers of `with` that are sent again on a redirect to another origin."""


async def send_request(inputs: dict[str, Any], context: Context) -> Exit:
    """Send the request and read the response.

    Raises if there is no response, or if its body does not match its headers.
    """
    import httpx

    method = inputs.get("method", "GET").upper()
    url = _parse_url(inputs, method)
    what = f"{method} {_redact_url(url)}"
    trail = _RedirectTracker(url, {**inputs.get("headers", {}), "Authorization": ""})
    client = httpx.AsyncClient(
        timeout=None,
        verify=_load_tls_context() if inputs.get("verify", True) else False,
        follow_redirects=inputs.get("follow_redirects", True),
        event_hooks={"request": [trail.strip_private_headers]},
    )
    try:
        content = await build_content(inputs, context)
        async with client, client.stream(method, url, **content) as response:
            length = response.headers.get("Content-Length", "")
            progress = TransferProgress(context, int(length) if length.isdecimal() else None)
            limit = inputs.get("max_bytes", _MAX_BODY_SIZE)
            data = await _read_body(response, limit, what + trail.description, progress)
    except httpx.LocalProtocolError:
        raise Permanent(f"{what}: HTTP does not allow this request, check its headers") from None
    except httpx.RequestError as error:
        raise Failure(f"{what}{trail.description}: {describe_http_error(error)}") from None
    what += trail.description
    end = _resolve_exit(response, data, inputs.get("expect"), what)
    if "to" in inputs and end.code == 0:
        end = attrs.evolve(
            end, output=end.output | {"body": await save_body(inputs["to"], data, context)}
        )
    if end.code != 0:
        context.note(f"{what}: {response.status_code} {response.reason_phrase}".rstrip())
    return end


class _RedirectTracker:
    """The redirects of a request: headers for one origin are not sent to another."""

    def __init__(self, url: httpx.URL, headers: Mapping[str, str]) -> None:
        self._first_url = self._last_url = url
        self._private_headers = {name.lower() for name in headers} - _SAFE_HEADERS

    async def strip_private_headers(self, request: httpx.Request) -> None:
        """Remove private headers from a request to another origin before it is sent."""
        self._last_url = request.url
        if not _is_same_origin(self._first_url, request.url):
            for name in self._private_headers:
                request.headers.pop(name, None)

    @property
    def description(self) -> str:
        """The final URL for messages, if the request was redirected; else empty."""
        return (
            ""
            if self._last_url == self._first_url
            else f", redirected to {_redact_url(self._last_url)}"
        )


def _is_same_origin(first: httpx.URL, other: httpx.URL) -> bool:
    """Return whether both URLs are of one server; an upgrade from http to https stays there."""
    safer = (first.scheme, other.scheme) == ("http", "https") and first.port is None
    same = (first.host, first.port) == (other.host, other.port)
    return same and (safer or first.scheme == other.scheme)


def _parse_url(inputs: Mapping[str, Any], method: str) -> httpx.URL:
    """Return the URL with its parameters; raises Permanent with messages that repeat no part of it."""
    import httpx

    try:
        url = httpx.URL(inputs["url"])
    except httpx.InvalidURL:
        raise Permanent(f"{method}: `url` is not a valid URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise Permanent(f"{method}: `url` does not begin with http:// or https:// and a host")
    if url.port is not None and not 0 < url.port < 65_536:
        raise Permanent(f"{method} {_redact_url(url)}: {url.port} is not a valid port")
    return url.copy_merge_params(inputs["params"]) if "params" in inputs else url


async def _read_body(
    response: httpx.Response, limit: int, what: str, progress: TransferProgress
) -> bytes:
    """Return the decompressed body of a response.

    Nested async generators are closed only by whatever ends the innermost: so it is read to its end or cancelled first,
    and decompression, which may fail, comes after.
    """
    import trio

    chunks, room = [], limit + limit // 64 + 1024  # for what packing may add
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            chunks.append(chunk)
            progress.add(len(chunk))
            room -= len(chunk)
            if room < 0:
                scope.cancel()
    data = bytearray()
    for chunk in _decompress(response, chunks):
        data += chunk
        if len(data) > limit:
            room = -1
            break
    if room < 0:
        raise Failure(f"{what}: the body is longer than {limit} bytes")
    return bytes(data)


def _decompress(response: httpx.Response, chunks: list[bytes]) -> Iterator[bytes]:
    import httpx

    packed = httpx.Response(response.status_code, headers=response.headers, content=iter(chunks))
    return packed.iter_bytes()


def _resolve_exit(
    response: httpx.Response, data: bytes, expect: list[int] | None, what: str
) -> Exit:
    """Return the exit for the status of a response."""
    status = response.status_code
    good = response.is_success if expect is None else status in expect
    output = {
        "status": status,
        "headers": dict(response.headers),
        "body": decode_body(response, data, what if good else None),
        "url": _redact_url(response.url, query=True),
    }
    if good:
        return Exit(0, output)
    match status // 100:
        case 3:
            return Exit("redirect", output, permanent=True)
        case 4 if status == 429:
            return Exit("rate_limited", output, retry_after=_parse_retry_after(response.headers))
        case 4 if status not in _RETRYABLE_CLIENT_ERRORS:
            return Exit("client_error", output, permanent=True)
        case 4:
            return Exit("client_error", output, retry_after=_parse_retry_after(response.headers))
        case 5:
            return Exit("server_error", output, retry_after=_parse_retry_after(response.headers))
    raise Failure(f"{what}: the status {status} is not listed in `expect`")


def decode_body(response: httpx.Response, data: bytes, what: str | None) -> Any:
    """Decode a body as JSON if its content type says so, else as text.

    Invalid JSON raises Failure; without `what`, for a failed response, it is decoded as text.
    """
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(data, parse_constant=_reject_constant) if data.strip() else None
        except (ValueError, RecursionError) as error:
            why = "the value is nested too deeply" if isinstance(error, RecursionError) else error
            if what is not None:
                raise Failure(
                    f"{what}: the body is not valid JSON, although its content type says so: {why}"
                ) from None
    try:
        return data.decode(response.charset_encoding or "utf-8", errors="replace")
    except LookupError:
        return data.decode(errors="replace")


def _reject_constant(name: str) -> None:
    raise ValueError(f"`{name}` is not a JSON number")


def _parse_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the delay in seconds that a server requests, or None.

    A date is relative to the server's own clock if the response states it.
    """
    value = headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value)
    until, now = _parse_date(value), _parse_date(headers.get("date", "")) or datetime.now(UTC)
    return None if until is None else max(0.0, (until - now).total_seconds())


def _parse_date(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _redact_url(url: httpx.URL, *, query: bool = False) -> str:
    """Return a URL for display: without its user part and fragment, and without its query unless asked for."""
    plain = url.copy_with(userinfo=b"", fragment=None)
    return str(plain if query else plain.copy_with(query=None))


@lru_cache(maxsize=1)
def _load_tls_context() -> ssl.SSLContext:
    """Create the TLS context once: reading the certificates takes longer than most requests."""
    import httpx

    return httpx.create_ssl_context()


TASK = Task(
    id="http",
    body=send_request,
    name="HTTP request",
    description="""\
Send one HTTP request. The class of the response status decides the exit.

A status in `expect`, by default 200 to 299, is `success`. Otherwise 300 to 399 is `redirect`, 429 is `rate_limited`, any other \
400 to 499 is `client_error`, and 500 to 599 is `server_error`. If there is no response, the outcome is `error`. `redirect` and \
`client_error` are permanent, except for the statuses 408 and 425: a retry applies to them only if its `on` names them. A \
`Retry-After` header in the response lengthens the wait before a retry.

On a redirect to another server (another host or port, or from https to http), only these of the given headers are sent: Accept, \
Accept-Language, Content-Type and User-Agent. The body is sent again only with 307 and 308. Proxies are taken from the environment: \
HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY.""",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["url"],
        "dependentSchemas": EXCLUDED_INPUTS,
        "properties": {
            "url": {
                "type": "string",
                "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://",
                "x-expected": "a URL that begins with http:// or https://",
                "description": "The URL; it begins with http:// or https://.",
            },
            "method": {
                "type": "string",
                "pattern": "^[A-Za-z]+$",
                "default": "GET",
                "description": "The HTTP method.",
            },
            "headers": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "The headers of the request.",
            },
            "params": {
                "type": "object",
                "additionalProperties": FIELD_SCHEMA,
                "description": "Parameters to add to the query of `url`; a list repeats its key.",
            },
            **CONTENT_SCHEMAS,
            "follow_redirects": {
                "type": "boolean",
                "default": True,
                "description": "Whether to follow redirects, at most 20 of them.",
            },
            "verify": {
                "type": "boolean",
                "default": True,
                "description": "Whether the server's certificate must be valid.",
            },
            "max_bytes": {
                "type": "integer",
                "minimum": 0,
                "default": _MAX_BODY_SIZE,
                "description": "The maximum size of the response body, in bytes after decompression.",
            },
            "expect": {
                "type": "array",
                "items": {"type": "integer", "minimum": 100, "maximum": 599},
                "minItems": 1,
                "description": "The statuses that count as a success; 200 to 299 by default.",
            },
        },
    },
    output_contract="exact",
    output_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["status", "headers", "body", "url"],
        "properties": {
            "status": {"type": "integer", "description": "The status of the response."},
            "headers": {
                "type": "object",
                "additionalProperties": {"type": "string"},
                "description": "The headers of the response, with names in lower case.",
            },
            "body": {
                "description": "The body of the response: a value if the content type is JSON, else text; with `to`, the `path` and "
                "`size` of the file."
            },
            "url": {
                "type": "string",
                "description": "The URL of the response, after redirects, without user and password.",
            },
        },
    },
    exits={
        "success": 0,
        "redirect": 3,
        "client_error": 4,
        "server_error": 5,
        "rate_limited": 6,
    },
    example="""\
[nodes.search]
task = "http"
with = { url = "https://api.example.org/search", params = { q = "${inputs.topic}" } }
timeout = "20s"
retry = { attempts = 4, delay = "1s", factor = 2.0 }
""",
)
