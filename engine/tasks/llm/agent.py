"""`llm.agent`: a language model that may use tools, at most so many times, for at most so many tokens.

A node with it is a machine of two steps: `ask` asks the model, `act` runs the tools that it asks for, and the way back
has a bound. So each turn is an attempt of its own, that is kept, tried again, and not done again after a crash, and
the check knows the most there can be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.language.spec import Count, RouteSpec
from engine.sdk.context import Context, Exit
from engine.sdk.task import Machinery, Misfit, Routes, Task
from engine.tasks.llm import chat, tools
from engine.tasks.llm.client import ask, cost_of
from engine.tasks.schema_helpers import table

__all__ = ["TASK", "act", "exits_of", "routes_of", "think"]

_EXITS = {**chat.EXITS, "budget": 6}
_NOTHING = {"input_tokens": 0, "output_tokens": 0}
_CHARACTERS = 3
"""Of what an endpoint does not count, so many are a token."""


async def think(inputs: dict[str, Any], context: Context) -> Exit:
    """One turn: the model answers, or asks for tools."""
    before = context.steps.get("ask")
    used = before["usage"] if before else _NOTHING
    left = inputs["max_total_tokens"] - sum(used.values())
    if before and left <= 0:
        return Exit("budget", before)
    messages = _so_far(inputs, before, context.steps.get("act"))
    known = await tools.offers(inputs, context)
    asked = {key: value for key, value in inputs.items() if key in chat.WITH}
    asked["tools"] = [offer.shown() for offer in known.values()]
    asked["max_tokens"] = min(inputs.get("max_tokens", left), left)
    end = await ask(asked, messages, context)
    return _counted(end, used, inputs, messages)


def _so_far(inputs: Mapping[str, Any], before: Any, acted: Any) -> list[dict[str, Any]]:
    """All that was said; where a route leads back from an answer that was no good, that it was not."""
    if before is None:
        return chat.messages_of(inputs)
    if before["calls"]:
        said: list[dict[str, Any]] = acted["messages"]
        return said
    why = "; ".join(before["problems"]) or "it is incomplete"
    return [*before["messages"], {"role": "user", "content": f"This answer is not valid: {why}"}]


def _counted(
    end: Exit, used: Mapping[str, int], inputs: Mapping[str, Any], messages: list[dict[str, Any]]
) -> Exit:
    """The answer with all that the turns took so far; no tool is run for a model that cannot be told of it."""
    took = end.output["usage"]
    if not any(took.values()):
        sent, came = (len(json.dumps(each)) for each in (messages, end.output["messages"][-1]))
        took = {"input_tokens": sent // _CHARACTERS, "output_tokens": came // _CHARACTERS}
    usage = {name: used[name] + took[name] for name in used}
    over = sum(usage.values()) >= inputs["max_total_tokens"]
    code = "budget" if over and end.code == "tool_calls" else end.code
    return Exit(code, {**end.output, "usage": usage, "cost": cost_of(usage, inputs.get("prices"))})


async def act(inputs: dict[str, Any], context: Context) -> Exit:
    """Run the tools that the model asks for, and tell it."""
    asked = context.steps["ask"]
    known = await tools.offers(inputs, context)
    told = await tools.called(asked["calls"], known, context)
    return Exit("acted", {"messages": [*asked["messages"], *told]})


def exits_of(with_: Mapping[str, Any]) -> dict[str, int]:
    """The exits there are, if the limit and the tools are written out."""
    turns = with_.get("max_turns", 1)
    if type(turns) is str:
        raise Misfit(("max_turns",), "`max_turns` must be literal: the check counts with it")
    tools.check(with_)
    chat.exits_of(with_)
    return _EXITS


def routes_of(with_: Mapping[str, Any]) -> Routes:
    """Its routes: back from the tools one time less than there are turns."""
    turns = with_.get("max_turns")
    back = turns - 1 if type(turns) is int else 0
    ends = {name: RouteSpec(f"fail:{name}") for name in ("invalid", "length", "refused", "budget")}
    asked = {"success": RouteSpec("done"), "tool_calls": RouteSpec("fail:turns"), **ends}
    if back < 1:
        return {"ask": (asked, ())}
    asked["tool_calls"] = RouteSpec("act", max=Count(back), then="fail:turns")
    return {"ask": (asked, ()), "act": ({"acted": RouteSpec("ask")}, ())}


_LIMITS = {
    "max_turns": {
        "type": "integer", "minimum": 1, "maximum": 1000,
        "description": "The maximum number of turns, each one answer of the model.",
    },
    "max_total_tokens": {
        "type": "integer",
        "minimum": 1,
        "description": "The maximum number of input and output tokens of all turns. The input of the last turn can exceed it.",
    },
}  # fmt: skip
_WITH = {**chat.WITH, "tools": tools.TOOLS, **_LIMITS}
_SCHEMA = table(
    _WITH,
    ["model", *_LIMITS],
    anyOf=[{"required": ["prompt"]}, {"required": ["messages"]}],
)
_MESSAGES = {"messages": chat.OUTPUT["messages"]}
_STEPS = {
    "ask": Task(
        id="llm.agent/ask",
        body=think,
        exits_of=exits_of,
        names=tools.named,
        description="One turn of the model.",
        input_schema=_SCHEMA,
        output_schema=table(chat.OUTPUT, [*chat.OUTPUT]),
        output="exact",
        exits=_EXITS,
        remembers=True,
    ),
    "act": Task(
        id="llm.agent/act",
        body=act,
        names=tools.named,
        description="The tool calls of one turn.",
        input_schema=_SCHEMA,
        output_schema=table(_MESSAGES, [*_MESSAGES]),
        output="exact",
        exits={"acted": 0},
        remembers=True,
    ),
}


async def _never(inputs: dict[str, Any], context: Context) -> None:
    """Never run: a node with it is its steps."""
    raise AssertionError


TASK = Task(
    id="llm.agent",
    body=_never,
    machine=Machinery("ask", _STEPS, routes_of({}), routes_of),
    name="Ask a language model that may use tools",
    description="Let a language model answer with the help of tools: tasks, pipelines and MCP servers. Turns and tokens are limited.",
    input_schema=_SCHEMA,
    output_schema=table(chat.OUTPUT, [*chat.OUTPUT]),
    output="exact",
    exits=_EXITS,
    example="""\
[resources.files]
task = "mcp.server"
with = { command = ["uvx", "mcp-server-filesystem", "docs"] }

[nodes.answer]
task = "llm.agent"
uses = ["files"]
timeout = "2m"
retry = { attempts = 4, delay = "1s", factor = 2.0, on = ["error", "timeout"] }
with.model = "gpt-4o-mini"
with.api_key = "${secrets.OPENAI_API_KEY}"
with.prompt = "{{question}}"
with.variables = { question = "${inputs.question}" }
with.max_turns = 8
with.max_total_tokens = 50_000
with.tools = [
  { mcp = "files", only = ["read_*", "list_*"] },
  { task = "http", name = "weather", description = "The weather of a city", with = { url = "https://wttr.in/?format=j1" } },
]
""",
)
