"""Hints into schemas, JSON into what hints promise, and back."""

import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal, NewType, NotRequired, Optional, TypedDict, Union

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.schemas.type_hints import (
    is_json,
    resolve_hint,
    schema_from_hint,
    structure,
    union_members,
    unstructure,
)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1


class Opaque(Enum):
    THING = object()


@dataclass
class Point:
    x: int
    y: float = 0.0


@attrs.frozen
class Line:
    start: Point
    end: Point | None = None
    _tags: tuple[str, ...] = ()


@dataclass
class Tree:
    name: str
    children: list["Tree"] = field(default_factory=list)


@dataclass
class Counted:
    name: str
    length: int = field(init=False, default=0)


class Song(TypedDict):
    title: str
    year: NotRequired[int]


class Unrelated:
    pass


UserId = NewType("UserId", int)

POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "number"}},
    "required": ["x"],
    "additionalProperties": False,
}

SCHEMAS = [
    (str, {"type": "string"}),
    (int, {"type": "integer"}),
    (float, {"type": "number"}),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (Any, {}),
    (Unrelated, {}),
    (5, {}),
    (list, {"type": "array"}),
    (list[int], {"type": "array", "items": {"type": "integer"}}),
    (list[Any], {"type": "array"}),
    (Sequence[str], {"type": "array", "items": {"type": "string"}}),
    (dict, {"type": "object"}),
    (dict[str, Any], {"type": "object"}),
    (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    (tuple, {"type": "array"}),
    (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    (
        tuple[int, str],
        {
            "type": "array",
            "prefixItems": [{"type": "integer"}, {"type": "string"}],
            "minItems": 2,
            "maxItems": 2,
        },
    ),
    (Literal["a", 2, None], {"enum": ["a", 2, None]}),
    (Literal[Colour.RED], {"enum": ["red"]}),
    (Colour, {"enum": ["red", "blue"]}),
    (Level, {"enum": [1]}),
    (Opaque, {}),
    (Optional[int], {"type": ["integer", "null"]}),  # noqa: UP045
    (Union[int, str], {"type": ["integer", "string"]}),  # noqa: UP007
    (int | list[int], {"anyOf": [{"type": "integer"}, schema_from_hint(list[int])]}),
    (int | Any, {}),
    (UserId, {"type": "integer"}),
    (Annotated[int, {"minimum": 1}], {"type": "integer", "minimum": 1}),
    (Annotated[int, "a note"], {"type": "integer"}),
    (
        list[Annotated[str, {"minLength": 1}]],
        {"type": "array", "items": {"type": "string", "minLength": 1}},
    ),
    (Point, POINT),
    (
        Line,
        {
            "type": "object",
            "properties": {
                "start": POINT,
                "end": {"anyOf": [POINT, {"type": "null"}]},
                "_tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["start"],
            "additionalProperties": False,
        },
    ),
    (
        Song,
        {
            "type": "object",
            "properties": {"title": {"type": "string"}, "year": {"type": "integer"}},
            "required": ["title"],
            "additionalProperties": False,
        },
    ),
    (
        Tree,
        {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"type": "object"}},
            },
            "required": ["name"],
            "additionalProperties": False,
        },
    ),
    (
        Counted,
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    ),
]


@pytest.mark.parametrize(("hint", "schema"), SCHEMAS, ids=[str(hint) for hint, _ in SCHEMAS])
def test_a_hint_gives_its_schema(hint: Any, schema: dict[str, Any]) -> None:
    assert schema_from_hint(hint) == schema
    Draft202012Validator.check_schema(schema_from_hint(hint))


BUILT = [
    (int, 3, 3),
    (float, 3, 3),
    (Any, {"x": 1}, {"x": 1}),
    (Colour, "red", Colour.RED),
    (Opaque, "red", "red"),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[Colour, int], ["red", 1], (Colour.RED, 1)),
    (list[Colour], ["red"], [Colour.RED]),
    (dict[str, Colour], {"a": "red"}, {"a": Colour.RED}),
    (Optional[Point], None, None),  # noqa: UP045
    (Point | None, {"x": 1}, Point(1)),
    (Annotated[Point, {"description": "where"}], {"x": 1}, Point(1)),
    (Line, {"start": {"x": 1}, "_tags": ["a"]}, Line(Point(1), tags=("a",))),
    (Tree, {"name": "a", "children": [{"name": "b"}]}, Tree("a", [Tree("b")])),
    (Song, {"title": "a"}, {"title": "a"}),
    (Point | Song, {"x": 1}, {"x": 1}),
]


@pytest.mark.parametrize(("hint", "value", "built"), BUILT)
def test_json_is_built_into_what_the_hint_promises(hint: Any, value: Any, built: Any) -> None:
    result = structure(hint, value)
    assert result == built
    assert type(result) is type(built)


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (Point(1, 2.0), {"x": 1, "y": 2.0}),
        (Line(Point(1), tags=("a",)), {"start": {"x": 1, "y": 0.0}, "end": None, "_tags": ["a"]}),
        ([Colour.RED, Level.LOW], ["red", 1]),
        ({"a": (Point(1),)}, {"a": [{"x": 1, "y": 0.0}]}),
        (Counted("a"), {"name": "a", "length": 0}),
        (None, None),
    ],
)
def test_values_become_plain(value: Any, json: Any) -> None:
    assert unstructure(value) == json
    assert is_json(unstructure(value))


lines = st.builds(
    Line,
    st.builds(Point, st.integers(), st.floats(allow_nan=False, allow_infinity=False)),
    st.none() | st.builds(Point, st.integers()),
    st.lists(st.text()).map(tuple),
)


@given(lines)
def test_an_instance_survives_the_way_to_json_and_back(line: Line) -> None:
    Draft202012Validator(schema_from_hint(Line)).validate(unstructure(line))
    assert structure(Line, unstructure(line)) == line


@pytest.mark.parametrize(
    ("annotation", "hint"),
    [
        ("int", int),
        ("list['Point']", list[Point]),
        (list["Point"], list[Point]),
        ("Missing", Any),
        ("Point.missing", Any),
        ("not valid[", Any),
        ("int | 'Point'", Any),
        (None, type(None)),
    ],
)
def test_annotations_are_resolved_each_alone(annotation: Any, hint: Any) -> None:
    assert resolve_hint(annotation, {"Point": Point}) == hint


@pytest.mark.parametrize(
    ("value", "json"),
    [
        (1.5, True),
        (float("nan"), False),
        (Colour.RED, False),
        (Level.LOW, False),
        ({1: "a"}, False),
        ([{"a": None}], True),
        ((), False),
        (object(), False),
    ],
)
def test_what_is_json(value: Any, json: bool) -> None:
    assert is_json(value) is json


def test_members_of_a_union_and_of_a_single_type() -> None:
    assert union_members(int | None) == (int, type(None))
    assert union_members(int) == (int,)


def test_an_unknown_field_is_refused_by_the_constructor() -> None:
    with pytest.raises(TypeError, match="z"):
        structure(Point, {"x": 1, "z": 2})


@pytest.mark.skipif(not hasattr(typing, "TypeAliasType"), reason="from Python 3.12 on")
def test_a_type_alias_is_looked_through() -> None:
    alias = typing.TypeAliasType("alias", int)  # type: ignore[attr-defined,unused-ignore]
    assert schema_from_hint(alias) == {"type": "integer"}
