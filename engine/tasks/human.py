"""`human`: asks a person; which option they choose is the exit.

The body never runs: the run itself asks, on a terminal, by a function of its caller, or by being
stored until the answer comes. Source: LANGUAGE.md section 13.
"""

from __future__ import annotations

from typing import Any

from engine.sdk.context import Context
from engine.sdk.task import Task

__all__ = ["TASK", "body"]


async def body(inputs: dict[str, Any], context: Context) -> None:
    """Never called."""
    raise AssertionError("a person is asked, no code runs")


TASK = Task(
    id="human",
    body=body,
    name="Human",
    description="Ask a person; the option they choose is the exit, the first option is exit 0.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt", "options"],
        "properties": {
            "prompt": {"type": "string", "description": "What is asked."},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "uniqueItems": True,
                "description": "The exits to choose from, written out; the first is 0, the next 1.",
            },
            "show": {"description": "What is shown with it."},
            "feedback": {
                "type": "boolean",
                "default": False,
                "description": "Whether to ask for a text too.",
            },
        },
    },
    output="exact",
    output_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["option", "feedback"],
        "properties": {
            "option": {"type": "string", "description": "The option chosen."},
            "feedback": {"type": ["string", "null"], "description": "The text, if one was given."},
        },
    },
    asks=True,
    may_ask=False,
    example="""\
[nodes.publish]
task = "human"
with = { prompt = "Publish this?", options = ["approve", "reject"], show = "${draft.text}" }
timeout = "2d"
""",
)
