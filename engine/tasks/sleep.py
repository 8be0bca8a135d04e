"""`sleep`: waits for a given time."""

from __future__ import annotations

from typing import Any

from engine.base.durations import parse_duration
from engine.sdk.context import Context, Permanent
from engine.sdk.task import Task

__all__ = ["TASK", "sleep_for"]


async def sleep_for(inputs: dict[str, Any], context: Context) -> None:
    """Wait for `seconds`, or for `duration`."""
    import trio

    await trio.sleep(_parse_seconds(inputs))


def _parse_seconds(inputs: dict[str, Any]) -> float:
    if "seconds" in inputs:
        return float(inputs["seconds"])
    try:
        return parse_duration(inputs["duration"])
    except ValueError as error:
        raise Permanent(str(error)) from None


TASK = Task(
    id="sleep",
    body=sleep_for,
    name="Sleep",
    description="Wait for some time.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "oneOf": [{"required": ["seconds"]}, {"required": ["duration"]}],
        "properties": {
            "seconds": {"type": "number", "minimum": 0, "description": "The time in seconds."},
            "duration": {
                "type": "string",
                "pattern": r"^([0-9]+(\.[0-9]+)?(ms|[dhms]))+$",
                "x-expected": 'a duration such as "1m30s"',
                "description": 'The time as a duration, such as "1m30s".',
            },
        },
    },
    output_contract="exact",
    output_schema={"type": "null", "description": "Always null."},
    may_request_delay=False,
    example="""\
[nodes.pause]
task = "sleep"
with = { duration = "1m30s" }
""",
)
