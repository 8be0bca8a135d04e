"""Whether a value fits, where it does not, and in whose words; and what is no schema at all."""

from __future__ import annotations

from typing import Any, NoReturn

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.schemas.validation import SchemaViolation, find_schema_error, validate_value

CLOSED = {
    "type": "object",
    "properties": {"url": {"type": "string"}, "count": {"type": "integer"}},
    "patternProperties": {"^x-": {}},
    "required": ["url"],
    "additionalProperties": False,
}
EITHER = {"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"type": "integer"}, "3", 'expected integer, found "3"'),
        ({"type": "integer"}, True, "expected integer, found true"),
        ({"type": "integer"}, 3.7, "expected integer, found 3.7"),
        ({"type": "number"}, False, "expected number, found false"),
        ({"type": ["string", "null"]}, 1, "expected string or null, found 1"),
        ({"enum": ["a", 1, None]}, "b", 'expected one of "a", 1, null, found "b"'),
        ({"const": "a"}, "b", 'expected "a", found "b"'),
        ({"minimum": 2}, 1, "1 is below the minimum 2"),
        ({"exclusiveMinimum": 2}, 2, "2 is below the minimum 2"),
        ({"maximum": 2}, 3, "3 is above the maximum 2"),
        ({"minLength": 2}, "é", '"é" is too short: at least 2'),
        ({"maxItems": 1}, [1, 2], "[1, 2] is too long: at most 1"),
        ({"pattern": "^a"}, "b", '"b" does not match ^a'),
        ({"pattern": "^a", "x-expected": "an a"}, "b", '"b" is not an a'),
        (EITHER, {"a": 1, "b": 2}, "`a` and `b` exclude each other"),
        (
            {"dependentSchemas": {"a": {"not": {"anyOf": [{"required": ["b"]}]}}}},
            {"a": 1, "b": 2},
            "`a` and `b` exclude each other",
        ),
        (
            {
                "dependentSchemas": {
                    "a": {"not": {"anyOf": [{"required": ["b"]}]}},
                    "b": {"not": {"anyOf": [{"required": ["a"]}]}},
                }
            },
            {"a": 1, "b": 2},
            "`a` and `b` exclude each other",
        ),
        (False, 1, "1 is not allowed here"),
        ({"multipleOf": 3}, 4, "4 is not a multiple of 3"),
        ({"uniqueItems": True}, [1, 1], "[1, 1] has duplicate items"),
        ({"not": {}}, 1, "1 does not fit `not`"),
        ({"anyOf": [{"type": "string"}, {"minimum": 5}]}, 1, "expected string, found 1"),
        (
            {"oneOf": [{"type": "string"}, {"minLength": 1}]},
            "a",
            '"a" matches more than one of the alternatives, which exclude each other',
        ),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "`a` needs `b`"),
        (
            {"type": "string"},
            list(range(99)),
            f"expected string, found {str(list(range(99)))[:57]}…",
        ),
    ],
)
def test_a_misfit_is_told_in_a_line(schema: dict[str, Any], value: Any, message: str) -> None:
    assert validate_value(schema, value) == [SchemaViolation("misfit", (), message)]


def test_each_problem_has_its_place() -> None:
    schema = {"properties": {"a": {"items": CLOSED}}}
    found = validate_value(schema, {"a": [{"url": 1}, {"cuont": 1, "x-y": 2}]})
    assert found == [
        SchemaViolation("misfit", ("a", 0, "url"), "expected string, found 1"),
        SchemaViolation("missing", ("a", 1), "`url` is missing", "url"),
        SchemaViolation(
            "unknown",
            ("a", 1, "cuont"),
            "`cuont` is not known here",
            "cuont",
            "did you mean `count`?",
            ("url", "count"),
        ),
    ]


def test_what_is_known_is_listed_where_nothing_is_near() -> None:
    (found,) = validate_value(CLOSED, {"url": "", "zzz": 1})
    assert found.help == "known here: `count`, `url`"


def test_every_missing_and_unknown_key_is_told() -> None:
    schema = {"required": ["a", "b"], "additionalProperties": False}
    assert [(p.kind, p.name) for p in validate_value(schema, {"c": 1, "d": 1})] == [
        ("missing", "a"),
        ("missing", "b"),
        ("unknown", "c"),
        ("unknown", "d"),
    ]


def test_one_of_several_keys_is_missing() -> None:
    assert validate_value(EITHER, {}) == [
        SchemaViolation("missing", (), "one of `a` or `b` is missing", "a` or `b")
    ]


def test_one_of_several_keys_is_enough() -> None:
    assert not validate_value(EITHER, {"b": 1})


def test_a_problem_reads_as_a_line() -> None:
    (found,) = validate_value({"properties": {"a": {"items": {"type": "null"}}}}, {"a": [1]})
    assert str(found) == "`a[0]`: expected null, found 1"
    (found,) = validate_value({"items": {"type": "null"}}, [1])
    assert str(found) == "`[0]`: expected null, found 1"


def test_a_schema_that_never_ends_is_a_misfit() -> None:
    (found,) = validate_value({"$ref": "#"}, 1)
    assert found.message == "its schema refers to itself endlessly"


def test_references_are_followed() -> None:
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    assert [p.path for p in validate_value(schema, {"a": "1"})] == [("a",)]


# ---------------------------------------------------------------------------------- schemas


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"minLength": -1}, ("minLength",), "-1 is below the minimum 0"),
        ({"required": "a"}, ("required",), 'expected array, found "a"'),
        ({"properties": {"a": 3}}, ("properties", "a"), "expected object or boolean, found 3"),
        ({"items": {"pattern": "("}}, ("items", "pattern"), '"(" is not a valid regex'),
        ({"patternProperties": {"(": {}}}, ("patternProperties",), '"(" is not a valid regex'),
        ({"$ref": "#/x"}, ("$ref",), "`#/x` does not exist in it"),
        ({"allOf": [{"$ref": "#x"}]}, ("allOf", 0, "$ref"), "`#x` does not exist in it"),
        (
            {"$ref": "http://example.org/s.json"},
            ("$ref",),
            "`http://example.org/s.json` does not exist in it",
        ),
    ],
)
def test_what_is_no_schema(schema: Any, path: tuple[Any, ...], message: str) -> None:
    assert find_schema_error(schema) == (path, message)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string", "default": 1},
        {"default": {"$ref": "#/nope"}, "enum": [{"$ref": "x"}]},
        {"properties": {"$ref": {"type": "string"}}},
        {"$defs": {"a": {"$anchor": "here"}}, "$ref": "#here"},
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"unknown keyword": 1},
    ],
)
def test_what_is_a_schema(schema: Any) -> None:
    assert find_schema_error(schema) is None


KEYWORDS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["string", "integer", "object", "array", ["null", "number"], "x"]),
        "minimum": st.integers(-2, 2) | st.just("1"),
        "minLength": st.integers(-1, 2),
        "enum": st.lists(st.integers(0, 2), max_size=2),
        "required": st.lists(st.sampled_from("ab"), max_size=2),
        "pattern": st.sampled_from(["a", "^b?$", "("]),
        "additionalProperties": st.booleans(),
        "$ref": st.sampled_from(["#", "#/nope", "#/properties/a"]),
        "const": st.none() | st.integers(0, 1),
    },
)
SCHEMAS = st.recursive(
    KEYWORDS,
    lambda inner: st.builds(
        lambda own, **more: own | more,
        KEYWORDS,
        properties=st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        anyOf=st.lists(inner, min_size=1, max_size=2),
    ),
    max_leaves=4,
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from(["", "a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=4,
)


@settings(deadline=None)
@given(SCHEMAS, VALUES)
@example({"properties": {"a": {"$ref": "#"}}}, {"a": {"a": 1}})
def test_any_schema_is_refused_or_can_be_used(schema: dict[str, Any], value: Any) -> None:
    if find_schema_error(schema) is not None:
        return
    found = validate_value(schema, value)
    if not any("endlessly" in problem.message for problem in found):
        assert bool(found) == (not Draft202012Validator(schema).is_valid(value))


@settings(deadline=None)
@given(SCHEMAS, VALUES)
def test_every_problem_is_at_a_place_of_the_value(schema: dict[str, Any], value: Any) -> None:
    if find_schema_error(schema) is not None:
        return
    for problem in validate_value(schema, value):
        inner = value
        for part in problem.path:
            inner = inner[part]
        assert problem.message


class PanicException(BaseException):
    """As pyo3 raises where Python's recursion ends in Rust code."""


@pytest.mark.parametrize("error", [RecursionError(), PanicException()], ids=["Python", "Rust"])
def test_recursion_without_end_is_a_violation(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(Draft202012Validator, "iter_errors", fail)
    [violation] = validate_value({"type": "string", "$ref": "#"}, 1)
    assert "endlessly" in violation.message


def test_other_exceptions_of_a_validation_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Draft202012Validator, "iter_errors", fail)
    with pytest.raises(KeyboardInterrupt):
        validate_value({"type": "string", "$ref": "#"}, 1)
