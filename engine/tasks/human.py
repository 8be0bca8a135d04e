"""`human`: asks a person; the chosen option is the exit.

The body never runs: the run itself asks, on a terminal, through a function of its caller, or by suspending until the
answer comes.

Source: docs/language.md, "Outcomes", "Details".
"""

from __future__ import annotations

from typing import Any

from engine.sdk.context import Context
from engine.sdk.task import Task

__all__ = ["TASK", "refuse_human_body"]


async def refuse_human_body(inputs: dict[str, Any], context: Context) -> None:
    """Raise AssertionError: the run asks the person itself."""
    raise AssertionError("a person is asked, no code runs")


TASK = Task(
    id="human",
    body=refuse_human_body,
    name="Human",
    description="Ask a person. The option that the person chooses is the exit; the first option is exit 0.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["prompt", "options"],
        "properties": {
            "prompt": {"type": "string", "description": "The question."},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "uniqueItems": True,
                "description": "The options, without expressions. Each is an exit: the first has the code 0, the second 1, and so on.",
            },
            "show": {"description": "A value to show with the question."},
            "feedback": {
                "type": "boolean",
                "default": False,
                "description": "Whether to ask for a text as well.",
            },
        },
    },
    output_contract="exact",
    output_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["option", "feedback"],
        "properties": {
            "option": {"type": "string", "description": "The option that was chosen."},
            "feedback": {
                "type": ["string", "null"],
                "description": "The text, or null if none was entered.",
            },
        },
    },
    needs_person=True,
    may_request_delay=False,
    example="""\
[nodes.publish]
task = "human"
with = { prompt = "Publish this?", options = ["approve", "reject"], show = "${draft.text}" }
timeout = "2d"
""",
)
