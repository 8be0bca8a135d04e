"""The quick look at a value: it says yes only where jsonschema does, and to what plain schemas mean."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.quick import is_schema, sure
from engine.tasks import load

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, 1.0, 1.5, -0.5]),
    st.sampled_from(["", "a", "b", "ab", "1"]),
)
KEYS = st.sampled_from(["a", "b", "c"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3)
)
TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null", "array", "object"])
NUMBERS = st.sampled_from([-1, 0, 1, 1.5, 2])


def keywords(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.lists(KEYS, unique=True, max_size=2)
    some = st.lists(inner, min_size=1, max_size=2)
    required = st.lists(names.map(lambda n: {"required": n}), min_size=1, max_size=3)
    optional = {
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "required": names,
        "properties": st.dictionaries(KEYS, inner, max_size=2),
        "additionalProperties": inner,
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "b"]), inner, max_size=1),
        "items": inner,
        "prefixItems": some,
        "oneOf": required | some,
        "anyOf": some,
        "dependentRequired": st.dictionaries(KEYS, names, max_size=2),
        "pattern": st.sampled_from(["^a", "b$", "1"]),
        "not": inner,
        "format": st.just("date"),
        "title": st.just("a"),
    }
    optional |= dict.fromkeys(["minLength", "maxLength", "minItems"], st.integers(0, 2))
    optional |= dict.fromkeys(["maxItems", "minProperties", "maxProperties"], st.integers(0, 2))
    optional |= dict.fromkeys(["minimum", "maximum"], NUMBERS)
    optional |= dict.fromkeys(["exclusiveMinimum", "exclusiveMaximum"], NUMBERS)
    pairs = st.sampled_from(sorted(optional)).flatmap(lambda k: st.tuples(st.just(k), optional[k]))
    return st.lists(pairs, max_size=4).map(dict)


SCHEMAS = st.recursive(st.booleans() | keywords(st.booleans()), keywords, max_leaves=5)


@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=8))
@settings(max_examples=1500, deadline=None)
def test_what_is_sure_to_fit_fits(schema: Any, values: list[Any]) -> None:
    look = sure(schema)
    validator = Draft202012Validator(schema)
    for value in values:
        assert look is None or not look(value) or validator.is_valid(value)


BROKEN = {
    "type": ["", 3, [], ["string", "string"], "text"],
    "required": ["a", [1], ["a", "a"]],
    "properties": [{"a": 3}, []],
    "pattern": ["(", 1],
    "items": [[], 1, {"type": 1}],
    "minLength": [-1, 1.5, True, "1"],
    "minimum": [True, "1"],
    "enum": ["a"],
    "title": [1],
    "$ref": ["#/nowhere"],
}
PAIRS = [(key, value) for key, values in BROKEN.items() for value in values]


@given(SCHEMAS, st.none() | st.sampled_from(PAIRS))
@settings(max_examples=1000, deadline=None)
def test_what_is_surely_a_schema_is_one(schema: Any, wrong: tuple[str, Any] | None) -> None:
    if wrong is not None and isinstance(schema, dict):
        schema = {**schema, wrong[0]: wrong[1]}
    if is_schema(schema):
        Draft202012Validator.check_schema(schema)


def test_plain_inputs_are_surely_schemas() -> None:
    assert is_schema({"type": "string", "default": "x", "description": "what", "pattern": "^x"})
    assert is_schema({**PLAIN, "x-note": 3})
    assert not any(is_schema({key: value}) for key, value in PAIRS)


PLAIN = {
    "type": "object",
    "required": ["a"],
    "properties": {
        "a": {"type": "string", "minLength": 1},
        "b": {"type": "array", "items": {"type": ["integer", "null"]}},
        "c": {"enum": ["x", 1, True]},
    },
    "additionalProperties": False,
}


@pytest.mark.parametrize("value", [{"a": "x"}, {"a": "x", "b": [1, None]}, {"a": "x", "c": True}])
def test_what_a_plain_schema_means_is_sure(value: Any) -> None:
    look = sure(PLAIN)
    assert look is not None
    assert look(value)


@pytest.mark.parametrize("id", ["shell", "sleep", "collect"])
def test_plain_tasks_have_schemas_that_are_looked_at_quickly(id: str) -> None:
    assert sure(load(id).input_schema) is not None


def test_what_is_not_known_is_left_to_the_library() -> None:
    assert sure({"type": "object", "properties": {"a": {"not": {}}}}) is None
    assert sure(False) is None
