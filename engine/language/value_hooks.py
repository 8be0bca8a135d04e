"""Hooks that check single values and names of a spec; each returns the value or raises `InvalidValue`.

Nothing is coerced, except that dates and times become the text they are in JSON. The hooks take a value and its type,
as cattrs calls them. Source: docs/language.md, "A document", "Outcomes", "Expressions".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from cattrs import IterableValidationError
from cattrs.errors import IterableValidationNote

from engine.base.durations import parse_duration
from engine.base.suggestions import closest_match
from engine.diagnostics import codes
from engine.language.structuring_errors import InvalidValue

__all__ = [
    "ENGINE_OUTCOMES",
    "LANGUAGE_VERSION",
    "NAME_PATTERN",
    "RESERVED_NAMES",
    "StructureHook",
    "check_exit_name",
    "check_identifier",
    "check_name",
    "describe_value",
    "duration_hook",
    "exact_type",
    "expected",
    "expected_one_of",
    "float_range",
    "integer_range",
    "structure_each",
    "structure_exit_reference",
    "structure_for_each",
    "structure_json",
    "structure_literal",
    "structure_tolerance",
]

StructureHook = Callable[[Any, Any], Any]

LANGUAGE_VERSION = 1
"""The version of the spec language that this engine implements."""

NAME_PATTERN = r"[A-Za-z_][A-Za-z0-9_]*"

_ENGINE_WORDS = """
    inputs steps state item index run env secrets resources services finally done fail
"""
_CEL_WORDS = """
    true false null in as break const continue else for function if import let loop package
    namespace return var void while has all exists exists_one map filter size string int
    uint double bool bytes null_type type dyn list duration timestamp matches contains startsWith
    endsWith getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours
    getMinutes getSeconds getMilliseconds max min optional
"""  # literals and operators, reserved words, types, functions
RESERVED_NAMES = frozenset((_ENGINE_WORDS + _CEL_WORDS).split())
"""Names that an expression could not distinguish from a word of the language or of CEL."""

ENGINE_OUTCOMES = frozenset({"error", "timeout", "lost", "interrupted"})
"""Outcomes of an attempt that are not exits; no exit may have such a name."""


# -- values ------------------------------------------------------------------------------------


def describe_value(value: Any) -> str:
    """Describe a value in the terms of TOML."""
    match value:
        case bool():
            return f"the boolean `{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return f"the string `{value}`" if len(value) <= 40 else "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def expected(description: str, value: Any) -> InvalidValue:
    """Return the error "expected DESCRIPTION, found …"."""
    return InvalidValue(codes.WRONG_TYPE, f"expected {description}, found {describe_value(value)}")


def exact_type(kind: type, description: str) -> StructureHook:
    """Return a hook for values of exactly one type."""

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise expected(description, value)
        return value

    return hook


def integer_range(low: int, high: int | None, description: str) -> StructureHook:
    """Return a hook for whole numbers from `low` to `high`; None means no upper limit."""

    def hook(value: Any, _: Any) -> int:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise expected(description, value)
        return value

    return hook


def float_range(low: float, high: float, description: str) -> StructureHook:
    """Return a hook for numbers from `low` to `high`, which converts them to floats."""

    def hook(value: Any, _: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise expected(description, value)
        return float(value)

    return hook


def duration_hook(allow_zero: bool) -> StructureHook:
    """Return a hook that converts a duration to seconds."""

    def hook(value: Any, _: Any) -> float:
        if type(value) is not str:
            raise expected('a duration such as "1m30s"', value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise InvalidValue(codes.WRONG_TYPE, str(error)) from None
        if not (seconds or allow_zero):
            raise InvalidValue(codes.WRONG_TYPE, f"`{value}` must be above zero")
        return seconds

    return hook


def structure_literal(value: Any, kind: Any) -> Any:
    """Check that a value is one of the words of a `Literal`."""
    known = get_args(kind)
    if type(value) is not str or value not in known:
        raise expected_one_of(value, known)
    return value


def expected_one_of(value: Any, choices: tuple[str, ...]) -> InvalidValue:
    """Return the error that one of these words was expected, with the closest as help."""
    listed = " or ".join(f'"{k}"' for k in choices)
    guess = closest_match(value, choices) if isinstance(value, str) else None
    hint = f'did you mean "{guess}"?' if guess else None
    message = f"expected {listed}, found {describe_value(value)}"
    return InvalidValue(
        codes.WRONG_TYPE, message, hint, candidates=choices if isinstance(value, str) else ()
    )


def structure_exit_reference(value: Any, _: Any) -> str | int:
    """Check the name or number of an exit."""
    if type(value) is str or (type(value) is int and 0 <= value <= 255):
        return value
    raise expected("the name or number (0 to 255) of an exit", value)


def structure_for_each(value: Any, _: Any) -> str | list[Any]:
    """Check the value of `for_each`: a template of a list, or a list written out."""
    if type(value) is str:
        return value
    if type(value) is not list or not value:
        raise expected("a string that is one `${…}`, or an array with at least one item", value)
    found: list[Any] = structure_json(value)
    return found


_match_percentage = re.compile(r"(?:100|[0-9]{1,2}(?:\.[0-9]{1,6})?)%").fullmatch


def structure_tolerance(value: Any, _: Any) -> int | str:
    """Check a tolerance: a number of items, or a percentage of all of them."""
    if (type(value) is int and value >= 0) or (type(value) is str and _match_percentage(value)):
        return value
    raise expected('a whole number, 0 or more, or a share of all items such as "10%"', value)


def structure_json(value: Any) -> Any:
    """Convert a TOML value to JSON; raises InvalidValue for numbers that JSON lacks."""
    if isinstance(value, (dict, list)):
        return _structure_container(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidValue(codes.WRONG_TYPE, f"`{value}` is a number that JSON cannot represent")
    return value if isinstance(value, (str, int, float)) else value.isoformat()


_PLAIN = frozenset({str, int, bool})
"""Types of values that are JSON as they are."""


def _structure_container(value: dict[str, Any] | list[Any]) -> Any:
    if _PLAIN.issuperset(map(type, value.values() if isinstance(value, dict) else value)):
        return value
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = structure_each(items, lambda _, item: structure_json(item))
    return found if isinstance(value, dict) else list(found.values())


_match_name = re.compile(NAME_PATTERN).fullmatch


# -- names -------------------------------------------------------------------------------------


def check_name(name: str) -> None:
    """Check that a name is an identifier."""
    if not _match_name(name):
        advice = "letters, digits and `_`, no digit first"
        raise InvalidValue(codes.BAD_NAME, f"`{name}` is not a name", advice, is_key=True)


def check_identifier(name: str) -> None:
    """Check that a name is an identifier and not reserved, so that expressions can use it."""
    check_name(name)
    if name in RESERVED_NAMES:
        advice = f"use another name, such as `{name}_`"
        raise InvalidValue(codes.BAD_NAME, f"`{name}` is a reserved word", advice, is_key=True)


def check_exit_name(name: str) -> None:
    """Check that a name is an identifier and not an outcome of the engine."""
    check_name(name)
    if name in ENGINE_OUTCOMES:
        raise InvalidValue(
            codes.BAD_NAME, f"`{name}` is the name of a built-in outcome", is_key=True
        )


def structure_each(
    items: Iterable[tuple[Any, Any]], hook: Callable[[Any, Any], Any]
) -> dict[Any, Any]:
    """Return the result of `hook(key, value)` for each item, and raise all of their errors at once."""
    found, wrong = {}, []
    for key, item in items:
        try:
            found[key] = hook(key, item)
        except (InvalidValue, ExceptionGroup) as error:
            place = IterableValidationNote("", key, None)
            error.__notes__ = [*getattr(error, "__notes__", ()), place]
            wrong.append(error)
    if wrong:
        raise IterableValidationError("", wrong, dict)
    return found
