"""`fail`: ends with an exit other than 0 and says why.

The task is closed, so that the check knows that no success comes of it: a `code` other than 1 has to
be named in the step's `exits`. Trying again cannot help: only a retry that names the exit serves it.
"""

from __future__ import annotations

from typing import Any

from engine.registry import Context, Exit, Task

__all__ = ["TASK", "body"]


async def body(inputs: dict[str, Any], context: Context) -> Exit:
    """End with `code`, and the message as output and as a line of progress."""
    context.note(inputs["message"])
    return Exit(inputs.get("code", 1), {"message": inputs["message"]}, permanent=True)


TASK = Task(
    id="fail",
    body=body,
    name="Fail",
    description="Fail with a message; never succeeds.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["message"],
        "properties": {
            "message": {"type": "string", "description": "Why it fails."},
            "code": {
                "type": "integer",
                "minimum": 1,
                "maximum": 255,
                "default": 1,
                "description": "The exit; one other than 1 has to be named in the step's `exits`.",
            },
        },
    },
    output="exact",
    output_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["message"],
        "properties": {"message": {"type": "string", "description": "The message given."}},
    },
    exits={"failure": 1},
    may_ask=False,
    example="""\
[nodes.refuse]
task = "fail"
when = "${inputs.folder == ''}"
with = { message = "no folder is given" }
""",
)
