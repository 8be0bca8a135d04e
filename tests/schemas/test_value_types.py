"""Forms against jsonschema: what a form rules out, no value of its schema has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.schemas.validation import is_endless_recursion
from engine.schemas.value_types import (
    ANY,
    are_disjoint,
    item_type,
    list_of,
    literal_type,
    look_up_field,
    max_items,
    object_of,
    tuple_of,
    type_names,
    type_of_schema,
    type_union,
)

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
NAMES = ("a", "b")
VALUES: list[Any] = [None, True, 0, 1, 1.0, 2.5, "", "x", [], [1], ["x", 1], {}]
VALUES += [{"a": 1}, {"a": "x"}, {"b": None}, {"a": 1, "b": 2}, {"a": {"a": 1}}, {"c": 1}]
VALUES += [{"a": {}, "b": [1]}, [{"a": 1}], [None, None], {"a": {"b": 2.5}}, {"a": None}]

TYPES = st.sampled_from(["null", "boolean", "object", "array", "string", "integer", "number"])


def table_schema(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = {
        "type": st.just("object"),
        "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
        "required": st.lists(st.sampled_from(NAMES), unique=True),
        "additionalProperties": inner | st.booleans(),
        "patternProperties": st.dictionaries(st.sampled_from(["^a", "c"]), inner, max_size=1),
        "minProperties": st.integers(0, 2),
        "dependentRequired": st.just({"a": ["b"]}),
    }
    return st.fixed_dictionaries({}, optional=keys)


def schema_of(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    lists = {"prefixItems": several, "items": inner, "maxItems": st.integers(0, 2)}
    arrays = st.fixed_dictionaries({}, optional=lists)
    combined = {"anyOf": several, "oneOf": several, "allOf": several, "not": inner}
    return st.one_of(
        table_schema(inner),
        table_schema(inner),
        arrays,
        st.fixed_dictionaries({}, optional=combined),
        st.just({"$ref": "#/$defs/d"}),
        st.just({"$ref": "#"}),
    )


LEAVES = st.one_of(
    st.booleans(),
    TYPES.map(lambda kind: {"type": kind}),
    st.lists(TYPES, min_size=1, max_size=3, unique=True).map(lambda some: {"type": some}),
    st.sampled_from(VALUES).map(lambda value: {"const": value}),
    st.lists(st.sampled_from(VALUES), min_size=1, max_size=3).map(lambda some: {"enum": some}),
)
SCHEMAS = st.builds(
    lambda schema, inner: {**schema, "$defs": {"d": inner}} if isinstance(schema, dict) else schema,
    st.recursive(LEAVES, schema_of, max_leaves=6),
    st.recursive(LEAVES, schema_of, max_leaves=3),
)


def fitting(schema: Any) -> list[Any]:
    """The values that a schema allows; none if it refers to itself without end."""
    validator = Draft202012Validator(schema)
    try:
        return [value for value in VALUES if validator.is_valid(value)]
    except BaseException as error:
        if not is_endless_recursion(error):
            raise
        return []


def has(value: Any, part: str | int) -> bool:
    if isinstance(part, int):
        return isinstance(value, list) and part < len(value)
    return isinstance(value, dict) and part in value


@given(SCHEMAS, st.sampled_from(["a", "b", "c", 0, 1]))
@settings(RELAXED, max_examples=1000)
def test_a_field_that_is_ruled_out_is_in_no_value(schema: Any, part: str | int) -> None:
    found = look_up_field(type_of_schema(schema), part)
    values = fitting(schema)
    if found.kind in ("unknown", "none"):
        assert not any(has(value, part) for value in values)
    inner = [value[part] for value in values if has(value, part)]
    names = set(type_names(found.value_type))
    assert all(type_names(literal_type(each))[0] in names or "number" in names for each in inner)


@given(SCHEMAS)
@settings(RELAXED, max_examples=500)
def test_an_item_that_is_ruled_out_is_in_no_list_and_no_list_is_longer(schema: Any) -> None:
    form = type_of_schema(schema)
    lists = [value for value in fitting(schema) if isinstance(value, list)]
    names, most = set(type_names(item_type(form))), max_items(form)
    for item in (item for value in lists for item in value):
        assert type_names(literal_type(item))[0] in names or "number" in names
    assert most is None or all(len(value) <= most for value in lists)


@pytest.mark.parametrize(
    ("schema", "most"),
    [
        ({"type": "array"}, None),
        ({"type": "array", "maxItems": 3}, 3),
        ({"maxItems": 3}, 3),
        ({}, None),
        ({"type": "string"}, 0),
        ({"type": "array", "prefixItems": [{}, {}], "items": False}, 2),
        ({"anyOf": [{"maxItems": 3, "type": "array"}, {"type": "string"}]}, 3),
        ({"anyOf": [{"maxItems": 3, "type": "array"}, {"type": "array"}]}, None),
        ({"allOf": [{"maxItems": 3}, {"maxItems": 5}]}, 3),
    ],
)
def test_how_long_a_list_is_at_most(schema: Any, most: int | None) -> None:
    assert max_items(type_of_schema(schema)) == most


@given(SCHEMAS, SCHEMAS)
@settings(RELAXED, max_examples=1000)
def test_forms_that_are_apart_have_no_value_in_common(one: Any, other: Any) -> None:
    if are_disjoint(type_of_schema(one), type_of_schema(other)):
        assert not {id(value) for value in fitting(one)} & {id(value) for value in fitting(other)}


@given(st.sampled_from(VALUES), SCHEMAS)
@settings(RELAXED, max_examples=500)
def test_a_literal_is_apart_only_from_what_refuses_it(value: Any, schema: Any) -> None:
    if are_disjoint(literal_type(value), type_of_schema(schema)):
        assert id(value) not in {id(each) for each in fitting(schema)}


OBJECT = {
    "type": "object",
    "properties": {"must": {"type": "string"}, "may": {"type": "integer"}},
    "required": ["must"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "part", "kind"),
    [
        (OBJECT, "must", "there"),
        (OBJECT, "may", "optional"),
        (OBJECT, "other", "unknown"),
        ({**OBJECT, "additionalProperties": True}, "other", "there"),
        ({"type": "string"}, "x", "none"),
        ({"anyOf": [OBJECT, {"type": "null"}]}, "must", "there"),
        ({"anyOf": [OBJECT, {"type": "null"}]}, "may", "optional"),
        ({"anyOf": [OBJECT, {"type": "null"}]}, "other", "unknown"),
        ({"allOf": [OBJECT, {"required": ["may"]}]}, "may", "there"),
        ({**OBJECT, "dependentRequired": {"must": ["may"]}}, "may", "there"),
        ({"$ref": "#/$defs/o", "$defs": {"o": OBJECT}}, "may", "optional"),
        ({"$ref": "elsewhere"}, "x", "there"),
        ({"type": "array", "items": OBJECT}, 3, "there"),
        ({"type": "array", "prefixItems": [True], "items": False}, 1, "unknown"),
        ({"type": "array"}, "x", "none"),
    ],
)
def test_what_a_schema_says_of_a_field(schema: Any, part: str | int, kind: str) -> None:
    assert look_up_field(type_of_schema(schema), part).kind == kind


def test_tables_and_arrays_have_exactly_their_parts() -> None:
    form = object_of({"rows": tuple_of([literal_type(1), literal_type("x")]), "any": ANY})
    assert look_up_field(form, "any").value_type == ANY
    assert type_names(look_up_field(look_up_field(form, "rows").value_type, 1).value_type) == (
        "string",
    )
    assert look_up_field(look_up_field(form, "rows").value_type, 2).kind == "unknown"
    assert look_up_field(form, "row").known_names == ("any", "rows")


def test_fields_of_many_schemas_that_all_hold_are_let_go() -> None:
    sort = [{"type": "string"}, {"type": "null"}]
    parts = [{"properties": {"a": {"anyOf": [*sort, {"const": at}]}}} for at in range(24)]
    found = look_up_field(type_of_schema({"type": "object", "allOf": parts}), "a").value_type
    assert 0 < len(found) <= 16
    assert are_disjoint(found, type_of_schema({"type": "object"}))


def test_many_alternatives_are_let_go() -> None:
    many = [type_of_schema({"const": number}) for number in range(40)]
    assert type_union(*many) == ANY
    assert not are_disjoint(
        type_of_schema({"enum": list(range(40))}), type_of_schema({"type": "number"})
    )


@pytest.mark.parametrize(
    ("one", "other", "excluded"),
    [
        ({"type": "integer"}, {"type": "number"}, False),
        ({"type": "integer"}, {"const": 2.0}, False),
        ({"type": "integer"}, {"const": 2.5}, True),
        ({"const": True}, {"const": 1}, True),
        ({"enum": ["a", "b"]}, {"enum": ["b", "c"]}, False),
        ({"enum": ["a"]}, {"enum": ["b", "c"]}, True),
        (OBJECT, {"type": "object", "required": ["other"]}, True),
        (OBJECT, {"properties": {"must": {"type": "null"}}}, True),
        (OBJECT, {"properties": {"may": {"type": "null"}}}, False),
    ],
)
def test_what_excludes_each_other(one: Any, other: Any, excluded: bool) -> None:
    assert are_disjoint(type_of_schema(one), type_of_schema(other)) is excluded


def test_a_list_of_one_form() -> None:
    form = list_of(type_of_schema(OBJECT), 3)
    assert look_up_field(form, 2).kind == "there"
    assert look_up_field(look_up_field(form, 2).value_type, "must").kind == "there"
    assert look_up_field(form, 3).kind == "unknown"
    assert max_items(form) == 3
    assert item_type(form) == type_of_schema(OBJECT)
