"""`mcp.server`, a resource, and `mcp.call`: tools of a Model Context Protocol server, through its official SDK.

A server is a command, used over its standard streams, or a URL. It is opened once for all nodes that use it, so that
it may keep state between calls.

Source: docs/language.md, "Resources".
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, TextIO, cast

from engine.processes import children
from engine.sdk.context import Context, Exit, Failure, Permanent
from engine.sdk.task import Task, ToolReference
from engine.tasks.schema_helpers import object_schema, resolve_path

if TYPE_CHECKING:
    import mcp
    import mcp.types

__all__ = [
    "CALL",
    "SERVER",
    "call_mcp_tool",
    "call_tool",
    "get_server",
    "list_tools",
    "open_server",
]

_MAX_STDERR_SHOWN = 2000
"""Characters of a server's standard error that are shown if it cannot be opened."""


@asynccontextmanager
async def open_server(inputs: dict[str, Any], context: Context) -> AsyncIterator[mcp.Client]:
    """Start or connect to the server, and negotiate a protocol version with it.

    Raises Failure if it cannot be opened. All processes of a command are killed at the end.
    """
    token = children.make_token()
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        said = cast("TextIO", file)
        try:
            async with AsyncExitStack() as stack:
                try:
                    client = await _open_client(inputs, context, token, said, stack)
                except Exception as error:  # of its command, of the server, or of the SDK
                    raise Failure(
                        f"the MCP server cannot be opened: {_describe_open_error(error, said)}"
                    ) from None
                yield client
        finally:
            if "command" in inputs:
                await children.kill_escaped(token)


async def _open_client(
    inputs: Mapping[str, Any], context: Context, token: str, stderr: TextIO, stack: AsyncExitStack
) -> mcp.Client:
    try:
        import httpx2
        from mcp import Client, StdioServerParameters, stdio_client
        from mcp.client.streamable_http import streamable_http_client
    except ImportError:
        raise Failure("`mcp` needs its SDK: pip install 'engine[mcp]'") from None
    if "url" in inputs:
        timeout = httpx2.Timeout(30, read=None)
        web = httpx2.AsyncClient(headers=inputs.get("headers"), timeout=timeout)
        await stack.enter_async_context(web)
        return await stack.enter_async_context(
            Client(streamable_http_client(inputs["url"], http_client=web))
        )
    command, *args = inputs["command"]
    env = children.with_token(inputs.get("env", {}), token)
    folder = resolve_path(context, inputs.get("cwd", "."))
    server = StdioServerParameters(command=command, args=args, env=env, cwd=folder)
    return await stack.enter_async_context(Client(stdio_client(server, errlog=stderr)))


def _describe_open_error(error: BaseException, stderr: TextIO) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    stderr.seek(0)
    tail = stderr.read()[-_MAX_STDERR_SHOWN:].strip()
    return f"{error or type(error).__name__}" + (f"; its output: {tail}" if tail else "")


# -- its tools -------------------------------------------------------------------------------------


def get_server(context: Context, name: str) -> mcp.Client:
    """Return the server that a node uses under this name; raises Permanent if there is none."""
    found: mcp.Client | None = context.resources.get(name)
    if found is None or not hasattr(found, "call_tool"):
        raise Permanent(f"resource `{name}` is not an MCP server of this node")
    return found


async def list_tools(server: mcp.Client) -> list[mcp.types.Tool]:
    """Return all tools of a server."""
    found: list[mcp.types.Tool] = []
    cursor: str | None = None
    while True:
        page = await _await_reply(server.list_tools(cursor=cursor))
        found += page.tools
        cursor = page.next_cursor
        if cursor is None:
            return found


async def call_tool(
    server: mcp.Client, tool: str, arguments: Mapping[str, Any], context: Context
) -> tuple[bool, dict[str, Any]]:
    """Call a tool, and return whether it succeeded, and its output."""

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        if total and 0 <= progress <= total:
            context.report(progress / total, message or tool)
        elif message:
            context.note(message)

    given = await _await_reply(
        server.call_tool(tool, dict(arguments), progress_callback=on_progress)
    )
    content = [each.model_dump(mode="json", by_alias=True, exclude_none=True) for each in given.content]  # fmt: skip
    text = "\n".join(each["text"] for each in content if each["type"] == "text")
    return not given.is_error, {"text": text, "value": given.structured_content, "content": content}


async def _await_reply(request: Any) -> Any:
    """Await the reply to a request; raises Failure for an error reply or a closed connection."""
    import anyio
    from mcp import MCPError

    try:
        return await request
    except MCPError as error:
        raise Failure(f"the MCP server returned an error: {error.message}") from None
    except (anyio.ClosedResourceError, anyio.BrokenResourceError):
        raise Failure("the MCP server has ended") from None


async def call_mcp_tool(inputs: dict[str, Any], context: Context) -> Exit:
    """Call one tool of a server."""
    server = get_server(context, inputs["server"])
    done, given = await call_tool(server, inputs["tool"], inputs.get("arguments", {}), context)
    if not done:
        context.note(given["text"])
    return Exit("success" if done else "tool_error", given)


def find_server_reference(with_: Mapping[str, Any]) -> Iterator[ToolReference]:
    """Yield the reference to the server, which is a resource that the node uses."""
    server = with_.get("server")
    if isinstance(server, str) and "${" not in server:
        yield ToolReference("resource", server, ("server",))


async def _refuse_as_step(inputs: dict[str, Any], context: Context) -> None:
    """Raise Permanent: a resource cannot run as a step."""
    raise Permanent("`mcp.server` provides a resource and cannot be a step")


_TEXT = {"type": "string"}
_STRING_TABLE = {"type": "object", "additionalProperties": _TEXT}

SERVER = Task(
    id="mcp.server",
    body=_refuse_as_step,
    open_resource=open_server,
    name="MCP server",
    description="A resource: a session with a server of the Model Context Protocol, open for the nodes that use it.",
    input_schema=object_schema(
        {
            "command": {
                "type": "array", "items": _TEXT, "minItems": 1,
                "description": "The program to start as the server, and its arguments.",
            },
            "env": {
                **_STRING_TABLE,
                "description": "Environment variables for the server, in addition to the basic ones. Use `${secrets.NAME}` for a key.",
            },
            "cwd": {**_TEXT, "description": "The working directory of the server, relative to the spec's folder, which is the default."},
            "url": {**_TEXT, "pattern": "^https?://", "description": "The URL of a server that runs already (streamable HTTP)."},
            "headers": {**_STRING_TABLE, "description": "The headers to send with each request."},
        },
        oneOf=[
            {"required": ["command"], "properties": {"headers": False}},
            {"required": ["url"], "properties": {"env": False, "cwd": False}},
        ],
    ),
    output_schema=object_schema({}, description="An open session for the tasks that use it. Expressions cannot read it."),
    example="""\
[resources.notes]
task = "mcp.server"
with = { command = ["uvx", "mcp-server-sqlite", "--db-path", "notes.db"] }

[nodes.tables]
task = "mcp.call"
uses = ["notes"]
with = { server = "notes", tool = "list_tables" }
""",
)  # fmt: skip

CALL = Task(
    id="mcp.call",
    body=call_mcp_tool,
    find_references=find_server_reference,
    name="Call an MCP tool",
    description="Call a tool of an MCP server. The node must have the server in `uses`.",
    input_schema=object_schema(
        {
            "server": {**_TEXT, "description": "The name of the server's resource."},
            "tool": {**_TEXT, "minLength": 1, "description": "The name of the tool."},
            "arguments": {"type": "object", "default": {}, "description": "The arguments for the tool."},
        },
        ["server", "tool"],
    ),
    output_schema=object_schema(
        {
            "text": {**_TEXT, "description": "The texts in the result, each on a line of its own."},
            "value": {"type": ["object", "null"], "description": "The structured content of the result; null if it has none."},
            "content": {
                "type": "array", "items": {"type": "object"},
                "description": "The whole content of the result, including images and links.",
            },
        },
        ["text", "value", "content"],
    ),
    output_contract="exact",
    exits={"success": 0, "tool_error": 2},
    may_request_delay=False,
    example="""\
[resources.notes]
task = "mcp.server"
with = { url = "http://localhost:8000/mcp", headers = { Authorization = "Bearer ${secrets.NOTES_KEY}" } }

[nodes.find]
task = "mcp.call"
uses = ["notes"]
with = { server = "notes", tool = "search", arguments = { query = "bees" } }
""",
)  # fmt: skip
