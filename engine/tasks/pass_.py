"""`pass`: does nothing and succeeds; what it is given is its output. A place for routes, joins and
`set`, where `collect` says that results are brought together."""

from __future__ import annotations

from typing import Any

from engine.context import Context
from engine.registry import Task

__all__ = ["TASK", "body"]


async def body(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return `inputs`."""
    return inputs


TASK = Task(
    id="pass",
    body=body,
    name="Pass",
    description="Do nothing and succeed, with its inputs as output.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "description": "Any table; it becomes the output as it is.",
    },
    output="inputs",
    output_schema={"type": "object", "description": "The table given as `with`."},
    may_ask=False,
    example="""\
[nodes.defaults]
task = "pass"
with = { language = "en", words = 800 }
""",
)
