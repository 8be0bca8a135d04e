"""`fail`: ends with an exit other than 0 and a message.

The check knows that it never succeeds, as long as `code` is written out. A retry cannot help: only one whose `on`
names the exit applies.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Exit
from engine.sdk.task import Task
from engine.tasks.schema_helpers import object_schema

__all__ = ["TASK", "fail_with_message"]


async def fail_with_message(inputs: dict[str, Any], context: Context) -> Exit:
    """End with `code`, and the message as output and as a line of progress."""
    context.note(inputs["message"])
    return Exit(inputs.get("code", 1), {"message": inputs["message"]}, permanent=True)


def find_fail_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return a literal code as `failure`; none for an expression, which may give any code."""
    code = with_.get("code", 1)
    return {"failure": code} if type(code) is int and 0 < code < 256 else {}


TASK = Task(
    id="fail",
    body=fail_with_message,
    name="Fail",
    description="Fail with a message.",
    input_schema=object_schema(
        {
            "message": {"type": "string", "description": "The message."},
            "code": {
                "type": "integer",
                "minimum": 1,
                "maximum": 255,
                "default": 1,
                "description": "The exit code.",
            },
        },
        ["message"],
    ),
    output_contract="exact",
    output_schema=object_schema(
        {"message": {"type": "string", "description": "The message in `with`."}}, ["message"]
    ),
    exits={"failure": 1},
    find_exits=find_fail_exits,
    may_request_delay=False,
    example="""\
[nodes.refuse]
task = "fail"
when = "${inputs.folder == ''}"
with = { message = "no folder is given" }
""",
)
