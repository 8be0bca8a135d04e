"""What a single value or name of a spec must be: each function gives the value back, or raises
`Wrong`.

Nothing is coerced, but that dates and times become the text they are in JSON. The hooks take a
value and its type, as cattrs calls them. Source: LANGUAGE.md sections 1, 3 and 9.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any, get_args

from cattrs import IterableValidationError
from cattrs.errors import IterableValidationNote

from engine.base.durations import parse_duration
from engine.base.suggestions import nearest
from engine.diagnostics import codes
from engine.language.structuring_errors import Wrong

__all__ = [
    "LANGUAGE",
    "NAME",
    "OUTCOMES",
    "RESERVED",
    "Hook",
    "between",
    "choice",
    "code",
    "describe",
    "duration",
    "each",
    "exactly",
    "exit_name",
    "identifier",
    "items",
    "json",
    "literal",
    "real",
    "tolerance",
    "wanted",
    "word",
]

Hook = Callable[[Any, Any], Any]

LANGUAGE = 1
"""The version of the language that this engine speaks."""

NAME = r"[A-Za-z_][A-Za-z0-9_]*"

_OWN = """
    inputs steps state item index run env secrets resources services finally done fail
"""
_CEL = """
    true false null in as break const continue else for function if import let loop package
    namespace return var void while has all exists exists_one map filter size string int
    uint double bool bytes null_type type dyn list duration timestamp matches contains startsWith
    endsWith getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours
    getMinutes getSeconds getMilliseconds max min optional
"""  # literals and operators, reserved words, types, functions
RESERVED = frozenset((_OWN + _CEL).split())
"""Names that an expression could not tell from a word of the language or of CEL."""

OUTCOMES = frozenset({"error", "timeout", "lost", "interrupted"})
"""Outcomes of an attempt that are no exits; no exit may have their name."""


# -- values ------------------------------------------------------------------------------------


def describe(value: Any) -> str:
    """What a value is, in TOML's words."""
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


def wanted(what: str, value: Any) -> Wrong:
    """`expected WHAT, found …`."""
    return Wrong(codes.WRONG_TYPE, f"expected {what}, found {describe(value)}")


def exactly(kind: type, what: str) -> Hook:
    """A value of one type."""

    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise wanted(what, value)
        return value

    return hook


def between(low: int, high: int | None, what: str) -> Hook:
    """A whole number; `high` None is no limit."""

    def hook(value: Any, _: Any) -> int:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise wanted(what, value)
        return value

    return hook


def real(low: float, high: float, what: str) -> Hook:
    """A number, as a float."""

    def hook(value: Any, _: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise wanted(what, value)
        return float(value)

    return hook


def duration(zero: bool) -> Hook:
    """A duration, in seconds."""

    def hook(value: Any, _: Any) -> float:
        if type(value) is not str:
            raise wanted('a duration such as "1m30s"', value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise Wrong(codes.WRONG_TYPE, str(error)) from None
        if not (seconds or zero):
            raise Wrong(codes.WRONG_TYPE, f"`{value}` must be above zero")
        return seconds

    return hook


def literal(value: Any, kind: Any) -> Any:
    """One of the words of a `Literal`."""
    known = get_args(kind)
    if type(value) is not str or value not in known:
        raise choice(value, known)
    return value


def choice(value: Any, known: tuple[str, ...]) -> Wrong:
    """`expected one of these words`, with the nearest."""
    listed = " or ".join(f'"{k}"' for k in known)
    guess = nearest(value, known) if isinstance(value, str) else None
    hint = f'did you mean "{guess}"?' if guess else None
    message = f"expected {listed}, found {describe(value)}"
    return Wrong(codes.WRONG_TYPE, message, hint, known=known if isinstance(value, str) else ())


def code(value: Any, _: Any) -> str | int:
    """A name or number of an exit."""
    if type(value) is str or (type(value) is int and 0 <= value <= 255):
        return value
    raise wanted("the name or number (0 to 255) of an exit", value)


def items(value: Any, _: Any) -> str | list[Any]:
    """What a node runs for each of: a template of a list, or a list written out."""
    if type(value) is str:
        return value
    if type(value) is not list or not value:
        raise wanted("a string that is one `${…}`, or an array with at least one item", value)
    found: list[Any] = json(value)
    return found


_SHARE = re.compile(r"(?:100|[0-9]{1,2}(?:\.[0-9]{1,6})?)%").fullmatch


def tolerance(value: Any, _: Any) -> int | str:
    """A number of items, or a share of all of them."""
    if (type(value) is int and value >= 0) or (type(value) is str and _SHARE(value)):
        return value
    raise wanted('a whole number, 0 or more, or a share of all items such as "10%"', value)


def json(value: Any) -> Any:
    """A value of any kind, as JSON has it."""
    if isinstance(value, (dict, list)):
        return _inner(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Wrong(codes.WRONG_TYPE, f"`{value}` is a number that JSON cannot represent")
    return value if isinstance(value, (str, int, float)) else value.isoformat()


_PLAIN = frozenset({str, int, bool})
"""Types of values that are JSON as they are."""


def _inner(value: dict[str, Any] | list[Any]) -> Any:
    if _PLAIN.issuperset(map(type, value.values() if isinstance(value, dict) else value)):
        return value
    items = value.items() if isinstance(value, dict) else enumerate(value)
    found = each(items, lambda _, item: json(item))
    return found if isinstance(value, dict) else list(found.values())


_IDENTIFIER = re.compile(NAME).fullmatch


# -- names -------------------------------------------------------------------------------------


def word(name: str) -> None:
    """A name."""
    if not _IDENTIFIER(name):
        cure = "letters, digits and `_`, no digit first"
        raise Wrong(codes.BAD_NAME, f"`{name}` is not a name", cure, key=True)


def identifier(name: str) -> None:
    """A name that expressions use."""
    word(name)
    if name in RESERVED:
        cure = f"use another name, such as `{name}_`"
        raise Wrong(codes.BAD_NAME, f"`{name}` is a reserved word", cure, key=True)


def exit_name(name: str) -> None:
    """A name of an exit."""
    word(name)
    if name in OUTCOMES:
        raise Wrong(codes.BAD_NAME, f"`{name}` is the name of a built-in outcome", key=True)


def each(items: Iterable[tuple[Any, Any]], hook: Callable[[Any, Any], Any]) -> dict[Any, Any]:
    """What `hook(key, value)` gives for each; all their mistakes at once."""
    found, wrong = {}, []
    for key, item in items:
        try:
            found[key] = hook(key, item)
        except (Wrong, ExceptionGroup) as error:
            place = IterableValidationNote("", key, None)
            error.__notes__ = [*getattr(error, "__notes__", ()), place]
            wrong.append(error)
    if wrong:
        raise IterableValidationError("", wrong, dict)
    return found
