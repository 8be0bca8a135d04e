"""The quick look at a value says yes only where jsonschema does, and to what plain schemas mean."""

from __future__ import annotations

import subprocess
import sys
from collections import OrderedDict
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from benchmarks.startup import SMALL
from engine.schemas.fast_validation import compile_fast_check, is_known_valid_schema
from engine.schemas.validation import find_schema_error, validate_value
from engine.tasks import load_builtin
from tests.schemas import test_any_schema

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.0, 1.0, 1.5, -0.5]),
    st.sampled_from(["", "a", "b", "ab", "1"]),
)
KEYS = st.sampled_from(["a", "b", "c"])
ODD = [float("nan"), float("inf"), 2**70, 2.0**70, 2**53 + 1, 2.0**53, -0.0, 1e308, "a\n", "٣", "é"]
ANY_VALUES = st.recursive(
    SCALARS | test_any_schema.SCALARS | st.sampled_from([*ODD, (), (1, "a"), Decimal(1)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
)
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
        "pattern": st.sampled_from(["^a", "b$", "1", r"^\D$", r"\w", "^$"]),
        "multipleOf": st.sampled_from([1, 2, 0.5, 0.1]),
        "uniqueItems": st.booleans(),
        "contains": inner,
        "allOf": some,
        "if": inner,
        "then": inner,
        "else": inner,
        "propertyNames": inner,
        "dependentSchemas": st.dictionaries(KEYS, inner, max_size=2),
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


@given(SCHEMAS, st.lists(VALUES | ANY_VALUES, min_size=1, max_size=8))
@settings(max_examples=1500, deadline=None)
def test_what_is_sure_to_fit_fits(schema: Any, values: list[Any]) -> None:
    look = compile_fast_check(schema)
    validator = Draft202012Validator(schema)
    for value in values:
        assert look is None or not look(value, None) or validator.is_valid(value)


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
    if is_known_valid_schema(schema):
        Draft202012Validator.check_schema(schema)


@given(test_any_schema.SCHEMAS | test_any_schema.LIKELY, st.lists(ANY_VALUES, max_size=8))
@settings(max_examples=1500, deadline=None)
def test_any_schema_has_the_verdict_of_jsonschema(schema: Any, values: list[Any]) -> None:
    """All keywords, those of other drafts too, and values that are no JSON."""
    checker = Draft202012Validator.FORMAT_CHECKER
    valid = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=checker)
    assert not is_known_valid_schema(schema) or valid.is_valid(schema)
    look = compile_fast_check(schema) if valid.is_valid(schema) else None
    for value in values:
        assert look is None or not look(value, None) or Draft202012Validator(schema).is_valid(value)


def test_plain_inputs_are_surely_schemas() -> None:
    assert is_known_valid_schema(
        {"type": "string", "default": "x", "description": "what", "pattern": "^x"}
    )
    assert is_known_valid_schema({**PLAIN, "x-note": 3})
    assert not any(is_known_valid_schema({key: value}) for key, value in PAIRS)


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
    look = compile_fast_check(PLAIN)
    assert look is not None
    assert look(value, None)


@pytest.mark.parametrize("id", ["shell", "sleep", "collect"])
def test_plain_tasks_have_schemas_that_are_looked_at_quickly(id: str) -> None:
    assert compile_fast_check(load_builtin(id).input_schema) is not None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {}}},
        {"$ref": "http://localhost:1/never-fetched"},
        {"$schema": "http://localhost:1/never-fetched"},
        {"properties": {"a": {"$id": "http://localhost:1/x"}}},
        {"items": {"patternProperties": {"^a": {}}}},
        {"multipleOf": 0.1},
        {"enum": [float("nan")]},
        {"default": (1, 2)},
        {"default": date(2026, 1, 1)},
        {"pattern": "("},
    ],
)
def test_what_is_not_known_is_left_to_the_library(schema: Any) -> None:
    assert compile_fast_check(schema) is None
    assert not is_known_valid_schema(schema)


NO_JSON = [
    *(float("nan"), float("inf"), (), (1, "a"), Decimal(1), date(2026, 1, 1), b"a", {1}, {1: 2}),
    *(MappingProxyType({}), OrderedDict(), object()),
]


@pytest.mark.parametrize("value", NO_JSON)
def test_what_is_no_json_is_never_sure(value: Any) -> None:
    look, inner = (
        compile_fast_check({}),
        compile_fast_check({"type": "object", "properties": {"a": {}}}),
    )
    assert look is not None
    assert inner is not None
    assert not look(value, None)
    assert not inner({"a": value}, None)
    assert not inner({"b": [value]}, None)


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        ({"type": "integer"}, True, False),
        ({"type": "number"}, False, False),
        ({"type": "integer"}, 1.0, True),
        ({"type": "integer"}, 2**70, True),
        ({"maximum": 2**53}, 2**53 + 1, False),
        ({"maximum": 2.0**53}, 2**53 + 1, False),
        ({"const": 2.0**53}, 2**53 + 1, False),
        ({"const": [1]}, [True], False),
        ({"enum": [0]}, False, False),
        ({"const": 1}, 1.0, True),
        ({"format": "date"}, "no date", True),
        ({"pattern": "a$"}, "a\n", True),
        ({"pattern": "^\\d$"}, "٣", True),
        ({"pattern": "^\\D$"}, "٣", False),
        ({"pattern": "^(?P<a>a)(?P=a)$"}, "aa", True),
        ({"initial": 3, "x-a": [1]}, 1, True),
        ({"minLength": 1.0}, "é", True),
    ],
)
def test_json_schema_is_that_of_python(schema: Any, value: Any, fits: bool) -> None:
    assert Draft202012Validator(schema).is_valid(value) is fits
    look = compile_fast_check(schema)
    assert look is not None
    assert look(value, None) is fits
    assert (validate_value(schema, value) == []) is fits


TYPED = """\
engine = 1
inputs.count = { type = "integer", minimum = 1 }
nodes.wait = { task = "sleep", with = { seconds = "${inputs.count}" } }
"""


@pytest.mark.parametrize("text", [SMALL, TYPED], ids=["small", "typed input"])
def test_a_check_of_a_small_spec_does_without_the_library(tmp_path: Path, text: str) -> None:
    spec = tmp_path / "small.toml"
    spec.write_text(text, encoding="utf-8")
    code = (
        "import sys; from engine.__main__ import main; status = main();"
        "sys.exit(status or ('jsonschema' in sys.modules))"
    )
    command = [sys.executable, "-c", code, "check", str(spec)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


@given(test_any_schema.SCHEMAS | test_any_schema.LIKELY, ANY_VALUES, st.booleans())
def test_what_is_known_later_does_not_fail_now(schema: Any, value: Any, first: bool) -> None:
    try:
        plain = validate_value(schema, value) if find_schema_error(schema) is None else None
    except RecursionError:
        return
    if plain is None:
        return
    later = {problem.path for problem in (plain[:1] if first else plain)}
    found = validate_value(schema, value, later.__contains__)
    assert found == plain if {problem.path for problem in plain} - later else found in ([], plain)
