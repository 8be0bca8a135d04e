"""`validate`: validates a value against a JSON Schema; the result is the exit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.sdk.context import Context, Exit, Permanent
from engine.sdk.task import InvalidInput, Task
from engine.tasks.schema_helpers import object_schema

__all__ = ["TASK", "validate_against_schema"]

_EXITS = {"success": 0, "invalid": 1}


async def validate_against_schema(inputs: dict[str, Any], context: Context) -> Exit:
    """Validate the value, and return all problems."""
    from engine.schemas.validation import find_schema_error, validate_value

    wrong = find_schema_error(inputs["schema"])
    if wrong is not None:
        raise Permanent(f"`schema` is not a valid JSON Schema: {wrong[1]}")
    problems = [
        {"path": list(problem.path), "message": problem.message}
        for problem in validate_value(inputs["schema"], inputs["value"])
    ]
    return Exit("invalid" if problems else "success", {"problems": problems})


def find_validate_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the declared exits; raises InvalidInput if a literal schema is not a valid JSON Schema."""
    from engine.schemas.validation import find_schema_error

    schema = with_.get("schema")
    if isinstance(schema, dict) and "${" not in str(schema):
        wrong = find_schema_error(schema)
        if wrong is not None:
            raise InvalidInput(
                ("schema", *wrong[0]), f"this is not a valid JSON Schema: {wrong[1]}"
            )
    return _EXITS


TASK = Task(
    id="validate",
    body=validate_against_schema,
    find_exits=find_validate_exits,
    name="Validate",
    description="Check whether a value fits a JSON Schema.",
    input_schema=object_schema(
        {
            "value": {"description": "The value to check."},
            "schema": {"type": ["object", "boolean"], "description": "The JSON Schema (draft 2020-12)."},
        },
        ["value", "schema"],
    ),
    output_schema=object_schema(
        {
            "problems": {
                "type": "array",
                "description": "All the problems that were found.",
                "items": object_schema(
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
    output_contract="exact",
    exits=_EXITS,
    may_request_delay=False,
    example="""\
[nodes.order]
task = "validate"
with.value = "${fetch.body}"
with.schema = { type = "object", required = ["id"], properties = { id = { type = "integer" } } }
""",
)  # fmt: skip
