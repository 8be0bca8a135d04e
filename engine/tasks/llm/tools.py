"""The tools of `llm.agent`: their descriptions for the model, and the results of its calls.

A tool is a task of the project, a pipeline of the file, or a tool of an MCP server that the node uses. The failure of a
tool is reported to the model, which may correct itself.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, Literal

import attrs

from engine.sdk.context import Context, Failure, Permanent, Tool
from engine.sdk.task import InvalidInput, ToolReference
from engine.tasks import mcp_client
from engine.tasks.schema_helpers import object_schema

__all__ = [
    "TOOLS_SCHEMA",
    "OfferedTool",
    "call_tools",
    "find_tool_references",
    "resolve_tools",
    "validate_tools",
]

_KIND_BY_KEY: Mapping[str, Literal["task", "pipeline", "resource"]] = {
    "task": "task",
    "pipeline": "pipeline",
    "mcp": "resource",
}
"""Keys that select the kind of a tool, and the kind of thing each refers to."""
_SERVER_KEYS, _SINGLE_TOOL_KEYS = ("only", "prefix"), ("name", "description", "with")
_MAX_RESULT_LENGTH = 50_000
"""Characters of a tool's result that the model receives."""
_MAX_SHOWN_ARGUMENTS = 200
_match_tool_name = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


@attrs.frozen(eq=False)
class OfferedTool:
    """A tool as presented to a model; `call(arguments, name)` runs it and returns a text."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Mapping[str, Any], str], Awaitable[str]] = attrs.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the tool's declaration for the model."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}


# -- tools in a spec -------------------------------------------------------------------------------


def find_tool_references(with_: Mapping[str, Any]) -> Iterator[ToolReference]:
    """Yield the tasks, pipelines and resources that `tools` refers to, as far as they are written out."""
    for at, tool in _get_literal_tools(with_):
        for key, kind in _KIND_BY_KEY.items():
            id = tool.get(key)
            if isinstance(id, str) and "${" not in id:
                yield ToolReference(kind, id, ("tools", at, key))


def validate_tools(with_: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless the tools are written out, each with a unique name."""
    tools = with_.get("tools", [])
    if not isinstance(tools, list):
        raise InvalidInput(
            ("tools",), "the tools of an agent must be literal: the check reads them"
        )
    seen: set[str] = set()
    for at, tool in _get_literal_tools(with_):
        kind = _resolve_kind(at, tool)
        name = _choose_name(tool, str(tool[kind]))
        if kind != "mcp" and (name in seen or not _match_tool_name(name)):
            why = "is defined twice" if name in seen else "is not a name that a model can call"
            raise InvalidInput(("tools", at), f"tool `{name}` {why}", 'set another: `name = "…"`')
        seen.add(name)


def _resolve_kind(at: int, tool: Mapping[str, Any]) -> str:
    """Return the kind of a tool; raises InvalidInput if it is ambiguous or has keys of another kind."""
    kinds = [kind for kind in _KIND_BY_KEY if kind in tool]
    if len(kinds) != 1 or "${" in str(tool[kinds[0]]):
        path = ("tools", at, kinds[0]) if len(kinds) == 1 else ("tools", at)
        raise InvalidInput(path, "a tool must be one literal `task`, `pipeline` or `mcp` server")
    [kind] = kinds
    for key in _SINGLE_TOOL_KEYS if kind == "mcp" else _SERVER_KEYS:
        if key in tool:
            whose = "one task or pipeline" if kind == "mcp" else "an `mcp` server"
            raise InvalidInput(("tools", at, key), f"`{key}` belongs to {whose}", "remove it")
    return kind


def _get_literal_tools(with_: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    tools = with_.get("tools", [])
    numbered = enumerate(tools) if isinstance(tools, list) else ()
    return [(at, each) for at, each in numbered if isinstance(each, Mapping)]


def _choose_name(tool: Mapping[str, Any], id: str) -> str:
    """Return the model's name for a tool; for a Python function the function's own name."""
    own = id.rpartition(":")[2] if id.startswith("python:") else id
    name: str = tool.get("name") or own.replace(".", "_")
    return name


# -- tools offered to a model ----------------------------------------------------------------------


async def resolve_tools(inputs: Mapping[str, Any], context: Context) -> dict[str, OfferedTool]:
    """Return all tools by name; raises Permanent if two have the same name."""
    found: dict[str, OfferedTool] = {}
    for tool in inputs.get("tools", ()):
        for offer in await _resolve_tool(tool, context):
            if offer.name in found:
                raise Permanent(f"two tools are called `{offer.name}`: give one a `prefix`")
            found[offer.name] = offer
    return found


async def _resolve_tool(tool: Mapping[str, Any], context: Context) -> list[OfferedTool]:
    if "mcp" in tool:
        return await _list_server_tools(tool, context)
    kind = "task" if "task" in tool else "pipeline"
    known, fixed = context.tools[kind, tool[kind]], tool.get("with", {})
    description = tool.get("description") or known.description
    parameters = _without_fixed_inputs(known.inputs, fixed)
    return [
        OfferedTool(
            _choose_name(tool, known.name),
            description,
            parameters,
            partial(_run_tool, known, fixed),
        )
    ]


def _without_fixed_inputs(schema: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the inputs that the model chooses."""
    found = {key: value for key, value in schema.items() if key != "$schema"}
    if fixed:
        properties = schema.get("properties", {})
        found["properties"] = {key: properties[key] for key in properties if key not in fixed}
        found["required"] = [key for key in schema.get("required", ()) if key not in fixed]
    return found


async def _run_tool(
    known: Tool, fixed: Mapping[str, Any], arguments: Mapping[str, Any], name: str
) -> str:
    end = await known.call({**arguments, **fixed}, name)
    if end.code == 0:
        return _to_text(end.output)
    return f"it ended with exit {end.code}" + (f": {_to_text(end.output)}" if end.output else "")


async def _list_server_tools(tool: Mapping[str, Any], context: Context) -> list[OfferedTool]:
    server, prefix = mcp_client.get_server(context, tool["mcp"]), tool.get("prefix", "")

    async def call(name: str, arguments: Mapping[str, Any], _: str) -> str:
        done, given = await mcp_client.call_tool(server, name, arguments, context)
        text = given["text"] or _to_text(given["value"] or given["content"])
        return text if done else f"error: {text}"

    return [
        OfferedTool(prefix + each.name, each.description or "", each.input_schema, partial(call, each.name))
        for each in await mcp_client.list_tools(server)
        if any(fnmatch.fnmatchcase(each.name, pattern) for pattern in tool.get("only", ["*"]))
    ]  # fmt: skip


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- calls -----------------------------------------------------------------------------------------


async def call_tools(
    calls: list[dict[str, Any]], known: Mapping[str, OfferedTool], context: Context
) -> list[dict[str, Any]]:
    """Run all tool calls of an answer at the same time, and return their results as messages in order."""
    import trio

    found: list[str] = [""] * len(calls)

    async def one(at: int, call: Mapping[str, Any]) -> None:
        found[at] = await _call_tool(at, call, known, context)

    async with trio.open_nursery() as nursery:
        for at, call in enumerate(calls):
            nursery.start_soon(one, at, call)
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(calls, found, strict=True)
    ]


async def _call_tool(
    at: int, call: Mapping[str, Any], known: Mapping[str, OfferedTool], context: Context
) -> str:
    name, arguments = call["name"], call["arguments"]
    if name not in known:
        return f"error: there is no tool `{name}`"
    if not isinstance(arguments, Mapping):
        return "error: the arguments are not a JSON object"
    context.note(f"{name} {_to_text(arguments)[:_MAX_SHOWN_ARGUMENTS]}")
    try:
        text = await known[name].call(arguments, f"{name}-{at}")
    except (Failure, Permanent) as error:
        return f"error: {error}"
    return text if len(text) <= _MAX_RESULT_LENGTH else f"{text[:_MAX_RESULT_LENGTH]}\n… (cut off)"


_TEXT = {"type": "string"}
_TOOL_SCHEMA: dict[str, Any] = object_schema(
    {
        "task": {**_TEXT, "description": "A task of the project."},
        "pipeline": {**_TEXT, "description": "A pipeline of this file."},
        "mcp": {**_TEXT, "description": "The name of a resource that is an `mcp.server`. It offers all its tools, or those of `only`."},
        "name": {**_TEXT, "description": "The name for the model; by default the id, with `_` for each dot."},
        "description": {**_TEXT, "description": "The description for the model; by default the tool's own."},
        "with": {"type": "object", "description": "Inputs with fixed values, which the model cannot choose."},
        "only": {"type": "array", "items": _TEXT, "description": "Patterns for the names of the server's tools, such as `read_*`."},
        "prefix": {**_TEXT, "description": "A prefix for the names of the server's tools."},
    },
)  # fmt: skip
TOOLS_SCHEMA = {
    "type": "array",
    "items": _TOOL_SCHEMA,
    "description": "The tools that the model can call.",
}
"""The schema of the input `tools`."""
