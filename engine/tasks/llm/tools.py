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
from engine.sdk.task import Misfit, Named
from engine.tasks import mcp_client
from engine.tasks.schema_helpers import table

__all__ = ["TOOLS", "Offer", "called", "check", "named", "offers"]

_KINDS: Mapping[str, Literal["task", "pipeline", "resource"]] = {
    "task": "task",
    "pipeline": "pipeline",
    "mcp": "resource",
}
"""Keys that select the kind of a tool, and the kind of thing each refers to."""
_OF_SERVERS, _OF_ONE = ("only", "prefix"), ("name", "description", "with")
_LONGEST = 50_000
"""Characters of a tool's result that the model receives."""
_SHOWN = 200
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch


@attrs.frozen(eq=False)
class Offer:
    """A tool as presented to a model; `call(arguments, name)` runs it and returns a text."""

    name: str
    description: str
    parameters: Mapping[str, Any]
    call: Callable[[Mapping[str, Any], str], Awaitable[str]] = attrs.field(repr=False)

    def shown(self) -> dict[str, Any]:
        """Return the tool's declaration for the model."""
        return {"name": self.name, "description": self.description, "parameters": self.parameters}


# -- what is written -------------------------------------------------------------------------------


def named(with_: Mapping[str, Any]) -> Iterator[Named]:
    """Yield the tasks, pipelines and resources that `tools` refers to, as far as they are written out."""
    for at, tool in _written(with_):
        for key, kind in _KINDS.items():
            id = tool.get(key)
            if isinstance(id, str) and "${" not in id:
                yield Named(kind, id, ("tools", at, key))


def check(with_: Mapping[str, Any]) -> None:
    """Raise InvalidInput unless the tools are written out, each with a unique name."""
    tools = with_.get("tools", [])
    if not isinstance(tools, list):
        raise Misfit(("tools",), "the tools of an agent must be literal: the check reads them")
    seen: set[str] = set()
    for at, tool in _written(with_):
        kind = _kind(at, tool)
        name = _name(tool, str(tool[kind]))
        if kind != "mcp" and (name in seen or not _NAME(name)):
            why = "is defined twice" if name in seen else "is not a name that a model can call"
            raise Misfit(("tools", at), f"tool `{name}` {why}", 'set another: `name = "…"`')
        seen.add(name)


def _kind(at: int, tool: Mapping[str, Any]) -> str:
    """Return the kind of a tool; raises InvalidInput if it is ambiguous or has keys of another kind."""
    kinds = [kind for kind in _KINDS if kind in tool]
    if len(kinds) != 1 or "${" in str(tool[kinds[0]]):
        path = ("tools", at, kinds[0]) if len(kinds) == 1 else ("tools", at)
        raise Misfit(path, "a tool must be one literal `task`, `pipeline` or `mcp` server")
    [kind] = kinds
    for key in _OF_ONE if kind == "mcp" else _OF_SERVERS:
        if key in tool:
            whose = "one task or pipeline" if kind == "mcp" else "an `mcp` server"
            raise Misfit(("tools", at, key), f"`{key}` belongs to {whose}", "remove it")
    return kind


def _written(with_: Mapping[str, Any]) -> list[tuple[int, Mapping[str, Any]]]:
    tools = with_.get("tools", [])
    numbered = enumerate(tools) if isinstance(tools, list) else ()
    return [(at, each) for at, each in numbered if isinstance(each, Mapping)]


def _name(tool: Mapping[str, Any], id: str) -> str:
    """Return the model's name for a tool; for a Python function the function's own name."""
    own = id.rpartition(":")[2] if id.startswith("python:") else id
    name: str = tool.get("name") or own.replace(".", "_")
    return name


# -- what is offered -------------------------------------------------------------------------------


async def offers(inputs: Mapping[str, Any], context: Context) -> dict[str, Offer]:
    """Return all tools by name; raises Permanent if two have the same name."""
    found: dict[str, Offer] = {}
    for tool in inputs.get("tools", ()):
        for offer in await _offered(tool, context):
            if offer.name in found:
                raise Permanent(f"two tools are called `{offer.name}`: give one a `prefix`")
            found[offer.name] = offer
    return found


async def _offered(tool: Mapping[str, Any], context: Context) -> list[Offer]:
    if "mcp" in tool:
        return await _of_server(tool, context)
    kind = "task" if "task" in tool else "pipeline"
    known, fixed = context.tools[kind, tool[kind]], tool.get("with", {})
    description = tool.get("description") or known.description
    parameters = _without(known.inputs, fixed)
    return [Offer(_name(tool, known.name), description, parameters, partial(_run, known, fixed))]


def _without(schema: Mapping[str, Any], fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of the inputs that the model chooses."""
    found = {key: value for key, value in schema.items() if key != "$schema"}
    if fixed:
        properties = schema.get("properties", {})
        found["properties"] = {key: properties[key] for key in properties if key not in fixed}
        found["required"] = [key for key in schema.get("required", ()) if key not in fixed]
    return found


async def _run(
    known: Tool, fixed: Mapping[str, Any], arguments: Mapping[str, Any], name: str
) -> str:
    end = await known.call({**arguments, **fixed}, name)
    if end.code == 0:
        return _text(end.output)
    return f"it ended with exit {end.code}" + (f": {_text(end.output)}" if end.output else "")


async def _of_server(tool: Mapping[str, Any], context: Context) -> list[Offer]:
    server, prefix = mcp_client.server_of(context, tool["mcp"]), tool.get("prefix", "")

    async def call(name: str, arguments: Mapping[str, Any], _: str) -> str:
        done, given = await mcp_client.ask(server, name, arguments, context)
        text = given["text"] or _text(given["value"] or given["content"])
        return text if done else f"error: {text}"

    return [
        Offer(prefix + each.name, each.description or "", each.input_schema, partial(call, each.name))
        for each in await mcp_client.listed(server)
        if any(fnmatch.fnmatchcase(each.name, pattern) for pattern in tool.get("only", ["*"]))
    ]  # fmt: skip


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# -- what is called --------------------------------------------------------------------------------


async def called(
    calls: list[dict[str, Any]], known: Mapping[str, Offer], context: Context
) -> list[dict[str, Any]]:
    """Run all tool calls of an answer at the same time, and return their results as messages in order."""
    import trio

    found: list[str] = [""] * len(calls)

    async def one(at: int, call: Mapping[str, Any]) -> None:
        found[at] = await _called(at, call, known, context)

    async with trio.open_nursery() as nursery:
        for at, call in enumerate(calls):
            nursery.start_soon(one, at, call)
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": text}
        for call, text in zip(calls, found, strict=True)
    ]


async def _called(
    at: int, call: Mapping[str, Any], known: Mapping[str, Offer], context: Context
) -> str:
    name, arguments = call["name"], call["arguments"]
    if name not in known:
        return f"error: there is no tool `{name}`"
    if not isinstance(arguments, Mapping):
        return "error: the arguments are not a JSON object"
    context.note(f"{name} {_text(arguments)[:_SHOWN]}")
    try:
        text = await known[name].call(arguments, f"{name}-{at}")
    except (Failure, Permanent) as error:
        return f"error: {error}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}\n… (cut off)"


_TEXT = {"type": "string"}
_TOOL: dict[str, Any] = table(
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
TOOLS = {"type": "array", "items": _TOOL, "description": "The tools that the model can call."}
"""The schema of the input `tools`."""
