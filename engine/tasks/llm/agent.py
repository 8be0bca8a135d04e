"""`llm.agent`: a language model that may call tools, within limits of turns and tokens.

A node with it is a state machine of two steps: `ask` queries the model, `act` runs the tools that it requests, and the
route back is bounded. So each turn is an attempt of its own, which is recorded, retried, and not repeated after a
crash, and the check knows the worst case.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from engine.language.spec import Count, RouteSpec
from engine.sdk.context import Context, Exit
from engine.sdk.task import InvalidInput, StateMachineTask, StepRoutes, Task
from engine.tasks.llm import chat, tools
from engine.tasks.llm.client import complete_chat, compute_cost
from engine.tasks.schema_helpers import object_schema

__all__ = ["TASK", "ask_model", "find_agent_exits", "find_agent_routes", "run_tools"]

_AGENT_EXITS = {**chat.CHAT_EXITS, "budget": 6}
_NO_USAGE = {"input_tokens": 0, "output_tokens": 0}
_CHARACTERS_PER_TOKEN = 3
"""Estimated characters of a token, for an endpoint that does not count tokens."""


async def ask_model(inputs: dict[str, Any], context: Context) -> Exit:
    """Run one turn: the model answers, or requests tools."""
    before = context.steps.get("ask")
    used = before["usage"] if before else _NO_USAGE
    left = inputs["max_total_tokens"] - sum(used.values())
    if before and left <= 0:
        return Exit("budget", before)
    messages = _build_conversation(inputs, before, context.steps.get("act"))
    known = await tools.resolve_tools(inputs, context)
    asked = {key: value for key, value in inputs.items() if key in chat.CHAT_INPUTS}
    asked["tools"] = [offer.to_json() for offer in known.values()]
    asked["max_tokens"] = min(inputs.get("max_tokens", left), left)
    end = await complete_chat(asked, messages, context)
    return _add_usage(end, used, inputs, messages)


def _build_conversation(inputs: Mapping[str, Any], before: Any, acted: Any) -> list[dict[str, Any]]:
    """Return the messages so far; if a route leads back from an unusable answer, with a message that says so."""
    if before is None:
        return chat.build_messages(inputs)
    if before["calls"]:
        said: list[dict[str, Any]] = acted["messages"]
        return said
    why = "; ".join(before["problems"]) or "it is incomplete"
    return [*before["messages"], {"role": "user", "content": f"This answer is not valid: {why}"}]


def _add_usage(
    end: Exit, used: Mapping[str, int], inputs: Mapping[str, Any], messages: list[dict[str, Any]]
) -> Exit:
    """Return the answer with the usage of all turns so far.

    Tools are not run if no tokens are left to send their results to the model: the exit is then `budget`.
    """
    took = end.output["usage"]
    if not any(took.values()):
        sent, came = (len(json.dumps(each)) for each in (messages, end.output["messages"][-1]))
        took = {
            "input_tokens": sent // _CHARACTERS_PER_TOKEN,
            "output_tokens": came // _CHARACTERS_PER_TOKEN,
        }
    usage = {name: used[name] + took[name] for name in used}
    over = sum(usage.values()) >= inputs["max_total_tokens"]
    code = "budget" if over and end.code == "tool_calls" else end.code
    return Exit(
        code, {**end.output, "usage": usage, "cost": compute_cost(usage, inputs.get("prices"))}
    )


async def run_tools(inputs: dict[str, Any], context: Context) -> Exit:
    """Run the tools that the model requests, and add their results to the messages."""
    asked = context.steps["ask"]
    known = await tools.resolve_tools(inputs, context)
    results = await tools.call_tools(asked["calls"], known, context)
    return Exit("acted", {"messages": [*asked["messages"], *results]})


def find_agent_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the exits; raises InvalidInput unless the limit of turns and the tools are written out."""
    turns = with_.get("max_turns", 1)
    if type(turns) is str:
        raise InvalidInput(("max_turns",), "`max_turns` must be literal: the check counts with it")
    tools.validate_tools(with_)
    chat.find_chat_exits(with_)
    return _AGENT_EXITS


def find_agent_routes(with_: Mapping[str, Any]) -> StepRoutes:
    """Return the routes of the agent: back from the tools one time less than there are turns."""
    turns = with_.get("max_turns")
    back = turns - 1 if type(turns) is int else 0
    ends = {name: RouteSpec(f"fail:{name}") for name in ("invalid", "length", "refused", "budget")}
    asked = {"success": RouteSpec("done"), "tool_calls": RouteSpec("fail:turns"), **ends}
    if back < 1:
        return {"ask": (asked, ())}
    asked["tool_calls"] = RouteSpec("act", max=Count(back), then="fail:turns")
    return {"ask": (asked, ()), "act": ({"acted": RouteSpec("ask")}, ())}


_LIMIT_SCHEMAS = {
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
_AGENT_INPUTS = {**chat.CHAT_INPUTS, "tools": tools.TOOLS_SCHEMA, **_LIMIT_SCHEMAS}
_SCHEMA = object_schema(
    _AGENT_INPUTS,
    ["model", *_LIMIT_SCHEMAS],
    anyOf=[{"required": ["prompt"]}, {"required": ["messages"]}],
)
_MESSAGES = {"messages": chat.CHAT_OUTPUT["messages"]}
_STEPS = {
    "ask": Task(
        id="llm.agent/ask",
        body=ask_model,
        find_exits=find_agent_exits,
        find_references=tools.find_tool_references,
        description="One turn of the model.",
        input_schema=_SCHEMA,
        output_schema=object_schema(chat.CHAT_OUTPUT, [*chat.CHAT_OUTPUT]),
        output_contract="exact",
        exits=_AGENT_EXITS,
        reads_steps=True,
    ),
    "act": Task(
        id="llm.agent/act",
        body=run_tools,
        find_references=tools.find_tool_references,
        description="The tool calls of one turn.",
        input_schema=_SCHEMA,
        output_schema=object_schema(_MESSAGES, [*_MESSAGES]),
        output_contract="exact",
        exits={"acted": 0},
        reads_steps=True,
    ),
}


async def _refuse_to_run(inputs: dict[str, Any], context: Context) -> None:
    """Raise AssertionError: a node with this task runs its steps."""
    raise AssertionError


TASK = Task(
    id="llm.agent",
    body=_refuse_to_run,
    machine=StateMachineTask("ask", _STEPS, find_agent_routes({}), find_agent_routes),
    name="Ask a language model that may use tools",
    description="Let a language model answer with the help of tools: tasks, pipelines and MCP servers. Turns and tokens are limited.",
    input_schema=_SCHEMA,
    output_schema=object_schema(chat.CHAT_OUTPUT, [*chat.CHAT_OUTPUT]),
    output_contract="exact",
    exits=_AGENT_EXITS,
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
