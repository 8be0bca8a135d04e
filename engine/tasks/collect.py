"""`collect`: returns its own inputs as its output, to combine the results of several nodes."""

from __future__ import annotations

from typing import Any

from engine.sdk.context import Context
from engine.sdk.task import Task

__all__ = ["TASK", "return_inputs"]


async def return_inputs(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return `inputs` unchanged."""
    return inputs


TASK = Task(
    id="collect",
    body=return_inputs,
    name="Collect",
    description="Collect the results of several nodes in one table.",
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "description": "Any table. It becomes the output, unchanged.",
    },
    output_contract="inputs",
    output_schema={"type": "object", "description": "The table in `with`."},
    may_request_delay=False,
    example="""\
[nodes.summary]
task = "collect"
with = { rows = "${load.rows}", report = "${render.path ?? 'none'}" }
""",
)
