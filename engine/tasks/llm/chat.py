"""`llm.chat`: one answer of a language model, at any endpoint with OpenAI's chat completions API.

The answer is streamed, and its lines become progress. Each reason why an answer cannot be used is an exit of its own:
it does not match the schema, was cut off, was refused, or requests tools. With tools and a bounded route back, an agent
is a state machine like any other, and the check bounds it. Rate limits and server errors are the outcome `error`, which
can be retried.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Exit, Permanent
from engine.sdk.task import InvalidInput, Task
from engine.tasks.llm.client import OPENAI_URL, complete_chat
from engine.tasks.schema_helpers import object_schema

__all__ = [
    "CHAT_EXITS",
    "CHAT_INPUTS",
    "CHAT_OUTPUT",
    "TASK",
    "ask_once",
    "build_messages",
    "fill_prompt",
    "find_chat_exits",
]

CHAT_EXITS = {"success": 0, "invalid": 2, "length": 3, "refused": 4, "tool_calls": 5}
_VARIABLE = re.compile(r"\{\{\s*([A-Za-z_]\w*)\s*\}\}")


async def ask_once(inputs: dict[str, Any], context: Context) -> Exit:
    """Send the messages to the model, and return its answer."""
    return await complete_chat(inputs, build_messages(inputs), context)


def fill_prompt(text: str, variables: Mapping[str, Any]) -> str:
    """Replace each `{{name}}` in a text by its variable; raises Permanent for an unknown variable."""

    def value(found: re.Match[str]) -> str:
        if found[1] not in variables:
            raise Permanent(f"the prompt names `{found[1]}`, which is not one of its variables")
        given = variables[found[1]]
        return given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)

    return _VARIABLE.sub(value, text)


def find_chat_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the exits; raises InvalidInput if literal variables and the names in the prompt differ."""
    texts = [with_.get("system", ""), with_.get("prompt", "")]
    variables = with_.get("variables", {})
    if isinstance(variables, dict) and all(isinstance(text, str) for text in texts):
        named = {found[1] for text in texts for found in _VARIABLE.finditer(text)}
        for name in variables.keys() - named if "prompt" in with_ else ():
            raise InvalidInput(("variables", name), f"the prompt does not name `{{{{{name}}}}}`")
        if missing := sorted(named - variables.keys()):
            raise InvalidInput(
                ("prompt",),
                f"`{missing[0]}` is not one of the prompt's variables",
                "add it to `variables`",
            )
    return CHAT_EXITS


def build_messages(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Build the first messages for the model."""
    variables = inputs.get("variables", {})
    found: list[dict[str, Any]] = []
    if "system" in inputs:
        found.append({"role": "system", "content": fill_prompt(inputs["system"], variables)})
    found += inputs.get("messages", ())
    if "prompt" in inputs:
        found.append({"role": "user", "content": fill_prompt(inputs["prompt"], variables)})
    return found


_TEXT = {"type": "string"}
CHAT_INPUTS = {
    "model": {**_TEXT, "minLength": 1, "description": "The name of the model."},
    "base_url": {
        **_TEXT,
        "default": OPENAI_URL,
        "description": "The URL of the endpoint, without `/chat/completions`.",
    },
    "api_key": {**_TEXT, "description": "The API key, sent as a bearer token: `${secrets.NAME}`."},
    "system": {**_TEXT, "description": "The system prompt."},
    "prompt": {
        **_TEXT,
        "description": "The prompt. `{{name}}` inserts a variable, in `system` as well.",
    },
    "variables": {
        "type": "object",
        "description": "The values of the variables. The prompts must use each of them.",
    },
    "messages": {
        "type": "array",
        "items": {"type": "object"},
        "description": "Earlier messages of the conversation. The prompt, if any, comes after them.",
    },
    "schema": {
        "type": "object",
        "description": "A JSON Schema for the answer, which is then a JSON value.",
    },
    "tools": {
        "type": "array",
        "description": "The tools that the model can call. If it calls any, the exit is `tool_calls`.",
        "items": {
            "type": "object",
            "required": ["name"],
            "properties": {"name": _TEXT, "description": _TEXT, "parameters": {"type": "object"}},
        },
    },
    "temperature": {
        "type": "number",
        "minimum": 0,
        "description": "The sampling temperature; a higher value gives more varied answers.",
    },
    "top_p": {
        "type": "number",
        "minimum": 0,
        "maximum": 1,
        "description": "The probability mass for nucleus sampling.",
    },
    "max_tokens": {
        "type": "integer",
        "minimum": 1,
        "description": "The maximum number of tokens of an answer. If the answer is cut off, the exit is `length`.",
    },
    "stop": {
        "type": ["string", "array"],
        "description": "The text, or texts, at which the model stops.",
    },
    "seed": {
        "type": "integer",
        "description": "A seed for repeatable answers, if the endpoint supports it.",
    },
    "prices": object_schema(
        {
            "input": {
                "type": "number",
                "minimum": 0,
                "description": "The price of a million input tokens.",
            },
            "output": {
                "type": "number",
                "minimum": 0,
                "description": "The price of a million output tokens.",
            },
        },
        ["input", "output"],
        description="The prices of tokens, used to compute `cost`.",
    ),
    "extra": {
        "type": "object",
        "description": "Further fields of the request, passed on unchanged.",
    },
}
_COUNT = {"type": "integer"}
CHAT_OUTPUT = {
    "text": {**_TEXT, "description": "The text of the answer."},
    "value": {
        "description": "With `schema`, the answer as a value; null if it does not fit the schema."
    },
    "problems": {
        "type": "array",
        "items": _TEXT,
        "description": "Why the answer does not fit the schema.",
    },
    "calls": {
        "type": "array",
        "description": "The tool calls of the answer. Arguments that are not valid JSON are null.",
        "items": object_schema(
            {"id": _TEXT, "name": _TEXT, "arguments": {}}, ["id", "name", "arguments"]
        ),
    },
    "messages": {
        "type": "array",
        "items": {"type": "object"},
        "description": "The whole conversation, which a later attempt can continue.",
    },
    "model": {**_TEXT, "description": "The name of the model that answered."},
    "usage": object_schema(
        {
            "input_tokens": {**_COUNT, "description": "The number of input tokens."},
            "output_tokens": {**_COUNT, "description": "The number of output tokens."},
        },
        ["input_tokens", "output_tokens"],
        description="The number of tokens used; 0 if the endpoint does not report it.",
    ),
    "cost": {
        "type": ["number", "null"],
        "description": "The cost according to `prices`; null without `prices`.",
    },
}


TASK = Task(
    id="llm.chat",
    body=ask_once,
    find_exits=find_chat_exits,
    name="Ask a language model",
    description="Get one answer from a language model, at any endpoint that supports OpenAI's chat completions.",
    input_schema=object_schema(
        CHAT_INPUTS, ["model"], anyOf=[{"required": ["prompt"]}, {"required": ["messages"]}]
    ),
    output_schema=object_schema(CHAT_OUTPUT, [*CHAT_OUTPUT]),
    output_contract="exact",
    exits=CHAT_EXITS,
    example="""\
[nodes.summary]
task = "llm.chat"
timeout = "2m"
retry = { attempts = 4, delay = "1s", factor = 2.0, on = ["error", "timeout"] }
with.model = "gpt-4o-mini"
with.api_key = "${secrets.OPENAI_API_KEY}"
with.prompt = "Summarise in {{words}} words: {{text}}"
with.variables = { words = 50, text = "${fetch.body}" }
""",
)
