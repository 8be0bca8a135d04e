"""What people see of a task, letter for letter."""

from __future__ import annotations

import textwrap
import tomllib
from typing import Any

import pytest

from engine.api import check
from engine.render.tasks import describe_schema, render_task, render_task_list, task_to_json
from engine.sdk.registry import Registry
from engine.sdk.task import Task
from engine.toml.source import Source


async def body(inputs: Any, context: Any) -> None:
    """Never called."""


REVIEW = Task(
    id="acme.review",
    body=body,
    name="Review",
    description="Let somebody read a text.\nTwice.",
    input_schema={
        "type": "object",
        "required": ["text"],
        "additionalProperties": False,
        "properties": {
            "text": {"type": "string", "description": "What to read."},
            "tone": {"enum": ["mild", "harsh"], "default": "mild"},
            "tags": {"type": "array", "items": {"type": "string"}},
        },
    },
    output_schema={"type": "string", "description": "What they \x1b[1msay."},
    exits={"success": 0, "failure": 1, "needs_work": 12},
    example='[nodes.read]\ntask = "acme.review"\n',
)


def test_one_task() -> None:
    assert (
        render_task(REVIEW, "acme.tasks:review")
        == r"""
acme.review  Review (acme.tasks:review)
Let somebody read a text.
Twice.

inputs
  name  type              required  default  description
  text  string            yes                What to read.
  tone  "mild" | "harsh"            "mild"
  tags  array of string

output
  string: What they \x1b[1msay.

exits
   0  success
   1  failure
  12  needs_work

example
  [nodes.read]
  task = "acme.review"
""".strip()
    )


def test_a_task_that_says_little() -> None:
    assert (
        render_task(Task("bare", body, open_exits=True), "built-in")
        == """
bare  (built-in)

inputs
  anything

output
  anything

exits
  0  success
  any other code from 0 to 255 is possible

example
  [nodes.bare]
  task = "bare"
""".strip()
    )


VALUES: dict[str, Any] = {
    "text": {"type": "string"},
    "count": {"type": ["integer", "null"], "minimum": 3},
    "share": {"type": "number"},
    "on": {"type": "boolean"},
    "mode": {"enum": ["fast", "slow"]},
    "kind": {"const": {"a b": [1, "x"]}},
    "tags": {"type": "array", "items": {"type": "string"}},
    "point": {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}},
    "some": {"type": "object"},
    "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "any": {},
    "all": True,
    "odd name": {"type": "string"},
}


def test_an_example_is_made_of_what_is_required() -> None:
    schema = {
        "type": "object",
        "required": list(VALUES),
        "properties": {**VALUES, "spare": {"type": "string"}},
        "additionalProperties": False,
    }
    made = Task("acme.my-task", body, input_schema=schema)
    example = render_task(made, "x").partition("\nexample\n")[2]
    text = "engine = 1\n" + textwrap.dedent(example)
    registry = Registry({made.id: lambda: made}, entry_points=False)
    assert [str(each) for each in check(Source("x.toml", text), registry)] == []
    given = tomllib.loads(text)["nodes"]["my_task"]["with"]
    assert list(given) == list(VALUES)


def test_an_example_has_no_reserved_name() -> None:
    assert "[nodes.list_]\n" in render_task(Task("acme.list", body), "x")


def test_inputs_that_are_not_closed() -> None:
    schema = {"type": "object", "properties": {"a": {}}, "additionalProperties": {"type": "null"}}
    assert "  any other name: null\n" in render_task(Task("a", body, input_schema=schema), "x")


def test_a_task_without_inputs() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    assert "inputs\n  an empty table\n" in render_task(Task("a", body, input_schema=schema), "x")


def test_a_list() -> None:
    assert (
        render_task_list([REVIEW, Task("bare", body, name="Bare")])
        == """
task         description
acme.review  Let somebody read a text.
bare         Bare
""".strip()
    )


@pytest.mark.parametrize(
    "schema, shown",
    [
        ({}, "any"),
        (True, "any"),
        (False, "none"),
        ({"type": "integer"}, "integer"),
        ({"type": ["string", "null"]}, "string | null"),
        ({"const": True}, "true"),
        ({"enum": ["a", 1]}, '"a" | 1'),
        ({"type": "array"}, "array"),
        ({"type": "array", "items": {"type": ["string", "null"]}}, "array of (string | null)"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, "string | integer"),
    ],
)
def test_a_schema_in_a_few_words(schema: Any, shown: str) -> None:
    assert describe_schema(schema) == shown


def test_as_data() -> None:
    data = task_to_json(REVIEW, "acme.tasks:review")
    assert (data["id"], data["exits"]["needs_work"]) == ("acme.review", 12)
    assert data["inputs"] == REVIEW.input_schema
