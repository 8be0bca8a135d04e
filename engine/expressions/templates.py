"""Parses values with `${…}` into a `Template`, lists their references and evaluates them.

A string that is one whole `${…}` keeps the type of its value; otherwise the value is put into the text. `$${` is a
literal `${`. A plain path, with a default or without, is evaluated here and never needs the CEL library; anything else
is CEL, compiled with the spec and evaluated by that library. Values are JSON. Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Any

import attrs

from engine.expressions.model import (
    MISSING,
    QUOTED_PATTERN,
    STRING_PATTERN,
    BadExpression,
    EvaluationError,
    Read,
    Scope,
    Template,
    _get_field,
    describe_missing,
    unquote,
)
from engine.toml.key_paths import KeyPath

__all__ = ["is_always_text", "parse_condition", "parse_template"]


# -- values ------------------------------------------------------------------------------------


def parse_template(value: Any) -> Template:
    """Parse a TOML value into a template.

    Raises BadExpression, with `key_path`, if one of its strings is wrong.
    """
    reads: list[Read] = []
    make, constant = _parse_value(value, (), reads)
    return Template(tuple(reads), constant, make)


def parse_condition(text: str) -> Template:
    """Parse a condition, which may be written with or without `${…}`."""
    pieces = [(0, len(text), None)] if "${" not in text else _drop_blank_literals(_split(text, ()))
    if all(literal is not None for *_, literal in pieces):
        return _parse_escaped(text, "".join(str(literal) for *_, literal in pieces))
    if len(pieces) != 1:
        raise _build_condition_error(text)
    start, end, _ = pieces[0]
    if not text.strip():
        raise BadExpression("empty expression", 0, len(text))
    reads: list[Read] = []
    make = _parse_expression(text[start:end], start, (), reads)
    return Template(tuple(reads), False, make)


def _build_condition_error(text: str) -> BadExpression:
    message, advice = (
        "a condition must be one expression, not text",
        "put all of it into one `${…}`",
    )
    return BadExpression(message, 0, len(text), advice)


def _parse_escaped(text: str, body: str) -> Template:
    """Parse an expression without `${…}` in whose strings `$${` stands for `${`; offsets are those in `text`."""
    if "${" in _BRACE_OR_STRING.sub(_blank_out, body):
        raise _build_condition_error(text)
    reads: list[Read] = []
    try:
        make = _parse_expression(body, 0, (), reads)
    except BadExpression as error:
        span = (_to_escaped_offset(body, error.start), _to_escaped_offset(body, error.end))
        raise BadExpression(error.message, *span, error.help) from None
    moved = [
        attrs.evolve(
            r, start=_to_escaped_offset(body, r.start), end=_to_escaped_offset(body, r.end)
        )
        for r in reads
    ]
    return Template(tuple(moved), False, make)


def _to_escaped_offset(body: str, offset: int) -> int:
    """Convert an offset in the unescaped body to one in the text, where each `${` has one more `$`."""
    return offset + body.count("${", 0, offset + 1)


def is_always_text(text: str) -> bool:
    """Return whether a templated string always gives text: it is not one whole `${…}`."""
    pieces = list(_split(text, ()))
    return len(pieces) != 1 or pieces[0][2] is not None


Piece = tuple[int, int, str | None]
"""The offsets of a piece of a string, and its literal text, or None for an expression."""


def _drop_blank_literals(pieces: Iterable[Piece]) -> list[Piece]:
    return [piece for piece in pieces if piece[2] is None or piece[2].strip()]


Evaluator = Callable[[Scope], Any]


def _parse_value(value: Any, at: KeyPath, reads: list[Read]) -> tuple[Evaluator, bool]:
    if isinstance(value, str):
        return _parse_text(value, at, reads)
    if isinstance(value, dict):
        makes, constant = _parse_parts(value.items(), at, reads)
        made = [*zip(value, makes, strict=True)]
        if not made:
            return _evaluate_empty, True
        return (lambda scope: {key: make(scope) for key, make in made}), constant
    if isinstance(value, list):
        makes, constant = _parse_parts(enumerate(value), at, reads)
        return (lambda scope: [make(scope) for make in makes]), constant
    return (lambda scope: value), True


def _parse_parts(
    items: Iterable[tuple[str | int, Any]], at: KeyPath, reads: list[Read]
) -> tuple[list[Evaluator], bool]:
    """Return the evaluator of each item, and whether all items are constant."""
    makes, all_constant = [], True
    for key, item in items:
        if isinstance(item, str) and "${" not in item:
            makes.append(_build_text_evaluator(item))
            continue
        make, constant = _parse_value(item, (*at, key), reads)
        makes.append(make)
        all_constant = all_constant and constant
    return makes, all_constant


def _build_text_evaluator(text: str) -> Evaluator:
    return lambda scope: text


def _evaluate_empty(scope: Scope) -> dict[str, Any]:
    return {}


def _parse_text(text: str, at: KeyPath, reads: list[Read]) -> tuple[Evaluator, bool]:
    if "${" not in text:
        return (lambda scope: text), True
    try:
        make, constant, read = _parse_cached(text)
    except BadExpression as error:
        raise BadExpression(error.message, error.start, error.end, error.help, at) from None
    reads += [
        Read(each.path, each.may_be_absent, at, each.start, each.end, each.is_whole_expression)
        for each in read
    ]
    return make, constant


@lru_cache(maxsize=20_000)
def _parse_cached(text: str) -> tuple[Evaluator, bool, tuple[Read, ...]]:
    """Parse a string that contains `${`; cached, since many strings of a spec are equal."""
    reads: list[Read] = []
    make, constant = _parse_mixed(text, reads)
    return make, constant, tuple(reads)


def _parse_mixed(text: str, reads: list[Read]) -> tuple[Evaluator, bool]:
    parts: list[str | Evaluator] = [
        literal if literal is not None else _parse_expression(text[start:end], start, (), reads)
        for start, end, literal in _split(text, ())
    ]
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) == len(parts):
        joined = "".join(texts)
        return (lambda scope: joined), True
    if len(parts) == 1 and not isinstance(parts[0], str):
        return parts[0], False
    return (
        lambda scope: "".join(p if isinstance(p, str) else _to_text(p(scope)) for p in parts)
    ), False


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split(text: str, at: KeyPath) -> Iterator[Piece]:
    """Yield the literal and expression pieces of a string; raises BadExpression for an unclosed `${`."""
    place = 0
    while (start := text.find("${", place)) >= 0:
        if start > place and text[start - 1] == "$":
            yield place, start + 2, text[place : start - 1] + "${"
            place = start + 2
            continue
        if start > place:
            yield place, start, text[place:start]
        end = _find_closing_brace(text, start + 2)
        if end < 0:
            advice = "write `$${` for a literal `${`"
            raise BadExpression("`${` is not closed", start, start + 2, advice, at)
        yield start + 2, end, None
        place = end + 1
    if place < len(text):
        yield place, len(text), text[place:]


_BRACE_OR_STRING = re.compile(rf"(?P<brace>[{{}}]) | {STRING_PATTERN} | //[^\n]*", re.VERBOSE)


def _find_closing_brace(text: str, start: int) -> int:
    """Return the offset of the `}` that ends an expression, or -1."""
    depth = 0
    for found in _BRACE_OR_STRING.finditer(text, start):
        if found["brace"] == "}" and not depth:
            return found.start()
        if found["brace"]:
            depth += 1 if found["brace"] == "{" else -1
    return -1


# -- one expression ------------------------------------------------------------------------------


_PATH_PART = re.compile(
    rf"\.([A-Za-z_]\w*)|\[(?:([0-9]{{1,9}})|({QUOTED_PATTERN}))\]", re.ASCII | re.VERBOSE
)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_DEFAULT_OPERATOR = re.compile(r"\s*\?\?\s*")
_LITERAL = re.compile(
    rf"""(?P<string>{QUOTED_PATTERN})
    |(?P<json>-?(?:0|[1-9][0-9]{{0,300}})(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)""",
    re.VERBOSE,
)
_LITERAL_WORDS = frozenset({"true", "false", "null"})


def _parse_expression(text: str, offset: int, at: KeyPath, reads: list[Read]) -> Evaluator:
    body = text.strip()
    start = offset + text.find(body)
    if not body:
        raise BadExpression(
            "empty expression", max(offset - 2, 0), offset + len(text) + 1, key_path=at
        )
    path, end = _parse_path(body)
    if path and path[0] not in _LITERAL_WORDS:
        if end == len(body):
            reads.append(Read(path, False, at, start, start + end))
            return _build_reader(path, body)
        if default := _DEFAULT_OPERATOR.match(body, end):
            value = _parse_default(body, default.end(), start, at)
            reads.append(Read(path, True, at, start, start + end))
            return _build_reader(path, body, value)
    if (where := _BRACE_OR_STRING.sub(_blank_out, body).find("??")) >= 0:
        message = "`??` needs a plain path on its left and a literal on its right"
        advice = "write `path ?? literal`, or use `has()`"
        raise BadExpression(message, start + where, start + where + 2, advice, at)
    return _parse_cel_expression(body, start, at, reads)


def _blank_out(found: re.Match[str]) -> str:
    return found[0] if found["brace"] else " " * len(found[0])


def _parse_path(text: str) -> tuple[tuple[str | int, ...], int]:
    """Return the plain path at the start of a text, which may be empty, and the offset of its end."""
    found = _NAME.match(text)
    parts: list[str | int] = []
    end = 0
    while found:
        parts.append(_parse_path_part(found) if found.re is _PATH_PART else found[0])
        end = found.end()
        found = _PATH_PART.match(text, end)
    return tuple(parts), end


def _parse_path_part(found: re.Match[str]) -> str | int:
    name, index, key = found.groups()
    return name or (int(index) if index else unquote(key))


def _parse_default(body: str, where: int, start: int, at: KeyPath) -> Any:
    found = _LITERAL.fullmatch(body, where)
    value = None if found is None else _decode_literal(found)
    if found is None or value in (math.inf, -math.inf):
        advice = "a string in quotes, a number, `true`, `false` or `null`"
        begin = where if where < len(body) else body.rindex("??")
        span = (start + begin, start + len(body))
        raise BadExpression("expected a literal after `??`", *span, advice, at)
    return value


def _decode_literal(literal: re.Match[str]) -> Any:
    return unquote(literal["string"]) if literal["string"] else json.loads(literal["json"])


def _build_reader(path: tuple[str | int, ...], text: str, default: Any = MISSING) -> Evaluator:
    root, rest = str(path[0]), path[1:]

    def read(scope: Scope) -> Any:
        value = scope.get(root, MISSING)
        for part in rest:
            value = _get_field(value, part)
        if default is not MISSING:
            return default if value is MISSING or value is None else value
        if value is MISSING:
            raise EvaluationError(describe_missing(scope, path, text) or f"`{text}` does not exist")
        return value

    return read


# -- CEL ---------------------------------------------------------------------------------------


def _parse_cel_expression(body: str, start: int, at: KeyPath, reads: list[Read]) -> Evaluator:
    from engine.expressions import cel

    found = cel.parse_cel(body, start, at)
    reads.extend(found.reads)
    return found.evaluate
