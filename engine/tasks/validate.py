"""`validate`: validates a value against a JSON Schema; the result is the exit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Exit, Permanent
from engine.sdk.task import Misfit, Task
from engine.tasks.schema_helpers import table

__all__ = ["TASK", "body"]

_EXITS = {"success": 0, "invalid": 1}


async def body(inputs: dict[str, Any], context: Context) -> Exit:
    """Validate the value, and return all problems."""
    from engine.schemas.validation import misfits, schema_error

    wrong = schema_error(inputs["schema"])
    if wrong is not None:
        raise Permanent(f"`schema` is not a valid JSON Schema: {wrong[1]}")
    problems = [
        {"path": list(problem.path), "message": problem.message}
        for problem in misfits(inputs["schema"], inputs["value"])
    ]
    return Exit("invalid" if problems else "success", {"problems": problems})


def exits_of(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared exits; raises InvalidInput if a literal schema is not a valid JSON Schema."""
    from engine.schemas.validation import schema_error

    schema = with_.get("schema")
    if isinstance(schema, dict) and "${" not in str(schema):
        wrong = schema_error(schema)
        if wrong is not None:
            raise Misfit(("schema", *wrong[0]), f"this is not a valid JSON Schema: {wrong[1]}")
    return _EXITS


TASK = Task(
    id="validate",
    body=body,
    exits_of=exits_of,
    name="Validate",
    description="Check whether a value fits a JSON Schema.",
    input_schema=table(
        {
            "value": {"description": "The value to check."},
            "schema": {"type": ["object", "boolean"], "description": "The JSON Schema (draft 2020-12)."},
        },
        ["value", "schema"],
    ),
    output_schema=table(
        {
            "problems": {
                "type": "array",
                "description": "All the problems that were found.",
                "items": table(
                    {
                        "path": {"type": "array", "description": "The keys and indexes that lead to the place."},
                        "message": {"type": "string", "description": "What is wrong there."},
                    },
                    ["path", "message"],
                ),
            }
        },
        ["problems"],
    ),
    output="exact",
    exits=_EXITS,
    may_ask=False,
    example="""\
[nodes.order]
task = "validate"
with.value = "${fetch.body}"
with.schema = { type = "object", required = ["id"], properties = { id = { type = "integer" } } }
""",
)  # fmt: skip
