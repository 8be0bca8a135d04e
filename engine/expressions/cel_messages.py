"""Translates error messages of the CEL library: two tables of patterns, tried in order.

The library's messages name its parser and its types; ours name the text of the expression and the types of JSON. A
message that no row matches becomes a general one, so that none of the library's words get through.
"""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.expressions.model import EvaluationError, Read, Scope
from engine.toml.key_paths import format_path

__all__ = [
    "check_integers",
    "describe_non_json",
    "translate_runtime_error",
    "translate_syntax_error",
]

# -- syntax errors -----------------------------------------------------------------------------

_UNEXPECTED = r"(?:mismatched|extraneous) input|no viable alternative at input"
_SYNTAX_MESSAGES: tuple[tuple[str, str, str | None], ...] = (
    (rf"(?:{_UNEXPECTED}) '?.*<EOF>'", "the expression ends too early", None),
    (r"missing ('.*') at '<EOF>'", "`{0}` is missing at the end", None),
    (r"missing ('.*') at ('.*')", "`{0}` is missing before `{1}`", None),
    (rf"(?:{_UNEXPECTED}) '(and)'", "`{0}` is not an operator", "write `&&`"),
    (rf"(?:{_UNEXPECTED}) '(or)'", "`{0}` is not an operator", "write `||`"),
    (r"no viable alternative at input '\..*'", "`.` must be followed by a name", None),
    (rf"(?:{_UNEXPECTED}) ('.*')", "`{0}` is not expected here", None),
    (r"token recognition error at: '=.*'", "`=` is not an operator", "compare with `==`"),
    (r"token recognition error at: '&.*'", "`&` is not an operator", "write `&&`"),
    (r"token recognition error at: '\|.*'", "`|` is not an operator", "write `||`"),
    (
        r"""token recognition error at: '["'].*'""",
        "a string is not closed, or has an unknown escape",
        None,
    ),
    (r"token recognition error at: ('.*')", "`{0}` has no meaning here", None),
    (r"invalid argument to has\(\) macro", "`has()` needs a field", "write `has(a.x)`"),
    (
        r"argument must be a simple name",
        "the variable of a macro must be a plain name",
        "write `a.map(x, x + 1)`",
    ),
    (r"invalid u?int literal", "the integer has more than 64 bits", None),
    (r".*Recursion limit.*", "the expression is nested too deeply", None),
)


def translate_syntax_error(message: str) -> tuple[str, str | None]:
    """Return the message for a syntax error of the library, and the help if there is any."""
    for pattern, words, advice in _SYNTAX_MESSAGES:
        if found := re.fullmatch(pattern, message):
            return words.format(*(part.strip("'").strip() for part in found.groups())), advice
    return "the syntax is not valid", None


# -- errors of evaluation ----------------------------------------------------------------------

_WRONG_TYPES = "the types do not fit the operation"
_RUNTIME_MESSAGES: tuple[tuple[str, str], ...] = (
    (r"division by zero", "division by zero"),
    (r"modulo by zero", "remainder of a division by zero"),
    (r"arithmetic overflow|.*integer overflow", "an integer of more than 64 bits"),
    (r"index out of bounds: (-?\d+)", "there is no item {0}"),
    (
        r"function 'matches' error: '((?s:.*?))' not a valid regex",
        "`{0}` is not a valid regular expression",
    ),
    (r"function '(\w+)' error", "`{0}` cannot convert its argument"),
    (r"undefined variable or function: '(\w+)'", "`{0}` does not accept these types"),
    (
        r"value of type \w+ cannot be used as a map key",
        "a floating-point number cannot be the key of a map",
    ),
    (r"no such overload|unsupported operation|unexpected type", _WRONG_TYPES),
)


def translate_runtime_error(
    message: str, tokens: Iterable[re.Match[str]], reads: Iterable[Read], scope: Scope
) -> str:
    """Return why an expression cannot be evaluated; a type error also lists the types involved."""
    for pattern, words in _RUNTIME_MESSAGES:
        if found := re.match(pattern, message, re.IGNORECASE):
            translated = words.format(*found.groups())
            if "types" not in words:
                return translated
            kinds = {
                format_path(read.path): _describe_type(_get_value(scope, read)) for read in reads
            }
            literals = {
                t[0]: _literal_type(t) for t in tokens if t.lastgroup in ("string", "number")
            }
            return (
                translated
                + _describe_types(kinds | literals)
                + (_suggest_conversion(kinds, literals) if words is _WRONG_TYPES else "")
            )
    return "it cannot be evaluated"


def _describe_types(kinds: Mapping[str, str]) -> str:
    found = [f"`{text}` is {kind}" for text, kind in kinds.items()]
    return ": " + ", ".join(found[:4]) if found else ""


def _suggest_conversion(kinds: Mapping[str, str], literals: Mapping[str, str]) -> str:
    """Return advice to convert a value, for one that is read if possible; empty if no conversion fits."""
    both = {*kinds.values(), *literals.values()}
    for kind, other, form in (
        ("an integer", "a number", "double({0})"),
        ("an integer", "a string", "string({0})"),
        ("a number", "a string", "string({0})"),
    ):
        if kind in both and other in both:
            text = next(t for t, k in (*kinds.items(), *literals.items()) if k == kind)
            return f"; types are not converted implicitly, write `{form.format(text)}`"
    return ""


def _literal_type(token: re.Match[str]) -> str:
    if token.lastgroup == "string":
        return "bytes" if token[0][0] in "bB" else "a string"
    return "a number" if re.search(r"[.eE]", token[0]) and "x" not in token[0] else "an integer"


def _describe_type(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number"
        case str():
            return "a string"
        case Mapping():
            return "an object"
        case _:
            return "an array"


def _get_value(scope: Scope, read: Read) -> Any:
    value: Any = scope
    for part in read.path:
        try:
            value = value[part]
        except (LookupError, TypeError):
            return None
    return value


# -- values ------------------------------------------------------------------------------------

_NON_JSON_TYPES: tuple[tuple[type, str], ...] = (
    (datetime.datetime, "a timestamp"),
    (datetime.timedelta, "a duration"),
    (bytes, "bytes"),
    (Mapping, "an object with keys that are not strings"),
)


def describe_non_json(value: Any) -> str:
    """Describe a value that JSON does not have."""
    if isinstance(value, float):
        return "not a number" if math.isnan(value) else "an infinite number"
    known = (words for kind, words in _NON_JSON_TYPES if isinstance(value, kind))
    return next(known, "a value of a type that only CEL has")


def check_integers(reads: Iterable[Read], scope: Scope) -> None:
    """Raise EvaluationError if a value that is read contains an integer of more than 64 bits.

    The library would silently turn such integers into inexact numbers.
    """
    for read in reads:
        for value in _iter_integers(_get_value(scope, read)):
            if not -(2**63) <= value < 2**64:
                raise EvaluationError(
                    f"`{format_path(read.path)}`: the integer {value} has more than 64 bits, which expressions do not support"
                )


def _iter_integers(value: Any) -> Iterator[int]:
    left = [value]
    while left:
        found = left.pop()
        if isinstance(found, int):
            yield found
        elif isinstance(found, Mapping):
            left.extend(found.values())
        elif isinstance(found, (list, tuple)):
            left.extend(found)
