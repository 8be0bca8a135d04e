"""Build one JSON Schema of the language and of the inputs of tasks, for editors.

`language.schema.json` leaves the contents of `with` open; here each known task constrains them, by `if` and `then`
on `task`. An input that is not a plain string also accepts a string with an expression, whose value is known only
at run time.

Source: docs/language.md, "A document", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from engine.language.json_schema import load_language_schema
from engine.sdk.task import Task

__all__ = ["build_editor_schema"]

EXPRESSION_SCHEMA = {"type": "string", "pattern": r"\$\{", "description": "An expression, `${…}`."}

_ANNOTATIONS = ("title", "description", "default", "examples", "deprecated")
_OBJECT_KEYWORDS = {"properties", "required", "propertyNames", "if", "allOf"}
_SCHEMA_KEYWORDS = ("if", "then", "else", "not", "items", "additionalProperties", "propertyNames")
_SCHEMA_LIST_KEYWORDS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SCHEMA_TABLE_KEYWORDS = ("properties", "patternProperties", "$defs")


def build_editor_schema(tasks: Iterable[Task]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a spec that uses these tasks, and maybe others."""
    known = list(tasks)
    made = load_language_schema()
    defs = made["$defs"]
    for task in known:
        if task.input_schema is not None:
            defs[_build_definition_name(task)] = _build_input_schema(task)
    defs["taskInputs"] = {"allOf": [_build_task_rule(task) for task in known]}
    for kind in ("node", "step"):
        task_key = defs[kind]["properties"]["task"]
        defs[kind]["properties"]["task"] = {
            "description": task_key["description"],
            "anyOf": [{"enum": [task.id for task in known]}, {"$ref": task_key["$ref"]}],
        }
        defs[kind]["allOf"] = [{"$ref": "#/$defs/taskInputs"}]
    _write_additional_properties(made)
    return made


def _write_additional_properties(said: Any) -> None:
    """Write out `additionalProperties` where it is the default; tombi takes objects for closed otherwise."""
    if not isinstance(said, dict):
        return
    if said.keys() & _OBJECT_KEYWORDS or said.get("type") == "object":
        said.setdefault("additionalProperties", True)
    for key, value in said.items():
        if key in _SCHEMA_TABLE_KEYWORDS:
            inner = list(value.values())
        elif key in _SCHEMA_LIST_KEYWORDS:
            inner = value
        else:
            inner = [value] if key in _SCHEMA_KEYWORDS else []
        for each in inner:
            _write_additional_properties(each)


def _build_definition_name(task: Task) -> str:
    return f"inputs of {task.id}"


def _build_task_rule(task: Task) -> dict[str, Any]:
    """Return the constraint on a step with this task."""
    description = task.description or task.name
    then: dict[str, Any] = (
        {"properties": {"with": {"description": description}}} if description else {}
    )
    if task.input_schema is not None:
        then = {
            "properties": {
                "with": {"$ref": f"#/$defs/{_escape_pointer(_build_definition_name(task))}"}
            }
        }
        then |= {"required": ["with"]} if task.input_schema.get("required") else {}
    named = {"properties": {"task": {"const": task.id}}, "required": ["task"]}
    return {"if": named, "then": then}


def _build_input_schema(task: Task) -> dict[str, Any]:
    """Return the schema of a task's `with`; the table itself is never an expression."""
    found: dict[str, Any] = _allow_expressions_inside(
        task.input_schema, f"#/$defs/{_escape_pointer(_build_definition_name(task))}"
    )
    return found


def _escape_pointer(name: str) -> str:
    """Return a name escaped for use in a `$ref`."""
    from urllib.parse import quote

    return quote(name.replace("~", "~0").replace("/", "~1"))


def _allow_expressions(said: Any, root: str) -> Any:
    """Return a schema that accepts expressions too, at its top and inside."""
    inside = _allow_expressions_inside(said, root)
    if not isinstance(inside, dict) or _accepts_any_text(inside):
        return inside
    kept = {key: inside[key] for key in _ANNOTATIONS if key in inside}
    rest = {key: value for key, value in inside.items() if key not in kept}
    return {**kept, "anyOf": [rest, EXPRESSION_SCHEMA]}


def _accepts_any_text(said: Mapping[str, Any]) -> bool:
    return not set(said) - {*_ANNOTATIONS, "type"} and said.get("type", "string") == "string"


def _allow_expressions_inside(said: Any, root: str) -> Any:
    """Return a schema that accepts expressions below its top, with references rebased to `root`."""
    if not isinstance(said, Mapping):
        return said
    found = dict(said)
    for key, value in said.items():
        if key in _SCHEMA_TABLE_KEYWORDS:
            found[key] = {name: _allow_expressions(inner, root) for name, inner in value.items()}
        elif key in ("items", "additionalProperties"):
            found[key] = _allow_expressions(value, root)
        elif key in _SCHEMA_LIST_KEYWORDS:
            found[key] = [_allow_expressions_inside(inner, root) for inner in value]
        elif key == "$ref" and str(value).startswith("#"):
            found[key] = root + value[1:]
    if found.get("oneOf") != said.get("oneOf"):  # an expression may now fit several
        found["anyOf"] = found.pop("oneOf")
    return found
