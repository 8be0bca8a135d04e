"""`${…}`: parse a value of a spec into a `Template`, list what it reads, evaluate it.

A string that is one whole `${…}` keeps the value's type; else the value is put into the text; `$${` is a literal `${`. A plain
path, with a default or without, is evaluated here and never needs the CEL library; anything else is CEL, compiled when the
spec is and evaluated by that library. Values are JSON. Source: LANGUAGE.md section 9.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from engine.source import KeyPath

__all__ = [
    "BadExpression",
    "EvaluationError",
    "Read",
    "Scope",
    "Template",
    "bare",
    "path_of",
    "show",
    "template",
]

Scope = Mapping[str, Any]
"""Values by root name: `inputs`, `steps`, `run`, `env`, `secrets`, and each node that has an output."""

_MISSING = object()


class BadExpression(ValueError):
    """A string of a spec is not an expression; `start` and `end` are offsets in that string."""

    def __init__(self, message: str, start: int, end: int, help: str | None = None, at: KeyPath = ()) -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help, self.at = message, start, end, help, at


class EvaluationError(ValueError):
    """An expression cannot be evaluated on these values; the message says which part and why."""


@attrs.frozen
class Read:
    """One path that an expression reads. `guarded`: it has a default or a `has()`, so it may be absent."""

    path: tuple[str | int, ...]
    guarded: bool
    at: KeyPath
    """Where in the templated value the string stands, and where in that string the path: `start` to `end`."""
    start: int
    end: int


@attrs.frozen(eq=False)
class Template:
    """A value with expressions in it. `constant` if there are none; then `evaluate` gives a copy of it."""

    reads: tuple[Read, ...]
    constant: bool
    evaluate: Callable[[Scope], Any] = attrs.field(repr=False)


# -- values ----------------------------------------------------------------------------------------------------


def template(value: Any) -> Template:
    """The template of a TOML value; BadExpression (with `at`) if one of its strings is wrong."""
    reads: list[Read] = []
    make, constant = _value(value, (), reads)
    return Template(tuple(reads), constant, make)


def bare(text: str) -> Template:
    """The template of a condition, which may be written with or without `${…}`."""
    pieces = list(_split(text, ())) if "${" in text else [(0, len(text), None)]
    if len(pieces) != 1 or pieces[0][2] is not None:
        raise BadExpression("a condition is one expression, not a text", 0, len(text), "put all of it into one `${…}`")
    start, end, _ = pieces[0]
    reads: list[Read] = []
    make = _expression(text[start:end], start, (), reads)
    return Template(tuple(reads), False, make)


Make = Callable[[Scope], Any]


def _value(value: Any, at: KeyPath, reads: list[Read]) -> tuple[Make, bool]:
    if isinstance(value, str):
        return _text(value, at, reads)
    if isinstance(value, dict):
        parts = {k: _value(v, (*at, k), reads) for k, v in value.items()}
        items = [(k, make) for k, (make, _) in parts.items()]
        return (lambda scope: {k: make(scope) for k, make in items}), all(c for _, c in parts.values())
    if isinstance(value, list):
        made = [_value(v, (*at, i), reads) for i, v in enumerate(value)]
        makes = [make for make, _ in made]
        return (lambda scope: [make(scope) for make in makes]), all(c for _, c in made)
    plain = value if isinstance(value, (bool, int, float)) else value.isoformat()
    return (lambda scope: plain), True


def _text(text: str, at: KeyPath, reads: list[Read]) -> tuple[Make, bool]:
    if "${" not in text:
        return (lambda scope: text), True
    parts: list[str | Make] = []
    for start, end, literal in _split(text, at):
        parts.append(literal if literal is not None else _expression(text[start:end], start, at, reads))
    if len(parts) == 1:
        only = parts[0]
        return ((lambda scope: only), True) if isinstance(only, str) else (only, False)
    if all(isinstance(part, str) for part in parts):
        joined = "".join(part for part in parts if isinstance(part, str))
        return (lambda scope: joined), True
    return (lambda scope: "".join(p if isinstance(p, str) else _put(p(scope)) for p in parts)), False


def _put(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _split(text: str, at: KeyPath) -> Iterator[tuple[int, int, str | None]]:
    """The pieces of a string: literal text, or the offsets of an expression between `${` and `}`."""
    place = 0
    while (start := text.find("${", place)) >= 0:
        if start and text[start - 1] == "$":
            yield place, start + 2, text[place : start - 1] + "${"
            place = start + 2
            continue
        if start > place:
            yield place, start, text[place:start]
        end = _close(text, start + 2)
        if end < 0:
            raise BadExpression("`${` is never closed", start, start + 2, "write `$${` for a literal `${`", at)
        yield start + 2, end, None
        place = end + 1
    if place < len(text):
        yield place, len(text), text[place:]


_CLOSER = re.compile(r"""[{}]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'""", re.S)


def _close(text: str, start: int) -> int:
    depth = 0
    for found in _CLOSER.finditer(text, start):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            if not depth:
                return found.start()
            depth -= 1
    return -1


# -- one expression --------------------------------------------------------------------------------------------

_STEP = r"""\.[A-Za-z_]\w*|\[(?:[0-9]+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\]"""
_PATH = re.compile(rf"[A-Za-z_]\w*(?:{_STEP})*", re.A)
_PARTS = re.compile(_STEP, re.A)
_DEFAULT = re.compile(r"\s*\?\?\s*", re.S)
_LITERAL = re.compile(
    r"""(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|(?P<json>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)""",
    re.S,
)
_CONSTANTS = frozenset({"true", "false", "null"})


def _expression(text: str, offset: int, at: KeyPath, reads: list[Read]) -> Make:
    body = text.strip()
    start = offset + text.find(body) if body else offset
    if not body:
        raise BadExpression("empty expression", max(offset - 2, 0), offset + len(text) + 1, None, at)
    found = _PATH.match(body)
    if found and found[0] not in _CONSTANTS:
        path = path_of(found[0])
        if found.end() == len(body):
            reads.append(Read(path, False, at, start, start + len(body)))
            return _reader(path, body)
        default = _DEFAULT.match(body, found.end())
        if default:
            value = _literal(body, default.end(), start, at)
            reads.append(Read(path, True, at, start, start + found.end()))
            return _reader(path, body, value)
    if "??" in _CLOSER.sub(lambda m: " " * len(m[0]) if m[0][0] in "\"'" else m[0], body):
        where = start + body.find("??")
        help = "write a plain path before `??` and a literal after it, or use `has()`"
        raise BadExpression("`??` takes a plain path and a literal", where, where + 2, help, at)
    return _cel(body, start, at, reads)


def path_of(text: str) -> tuple[str | int, ...]:
    """The parts of a plain path as written."""
    first = _PARTS.search(text)
    parts: list[str | int] = [text[: first.start()] if first else text]
    for part in _PARTS.findall(text):
        if part[0] == ".":
            parts.append(part[1:])
        elif part[1] in "\"'":
            parts.append(_unquote(part[1:-1]))
        else:
            parts.append(int(part[1:-1]))
    return tuple(parts)


_ESCAPE = re.compile(r"\\(.)", re.S)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}


def _unquote(text: str) -> str:
    return _ESCAPE.sub(lambda m: _ESCAPED.get(m[1], m[1]), text[1:-1])


def _literal(body: str, where: int, start: int, at: KeyPath) -> Any:
    found = _LITERAL.fullmatch(body, where)
    if not found:
        help = "a string in quotes, a number, `true`, `false` or `null`"
        raise BadExpression("expected a literal after `??`", start + where, start + max(len(body), where + 1), help, at)
    return _unquote(found["string"]) if found["string"] else json.loads(found["json"])


def _reader(path: tuple[str | int, ...], text: str, default: Any = _MISSING) -> Make:
    root, rest = path[0], path[1:]

    def read(scope: Scope) -> Any:
        value = scope.get(root, _MISSING)  # type: ignore[arg-type]
        for part in rest:
            value = _field(value, part)
        if default is not _MISSING:
            return default if value is _MISSING or value is None else value
        if value is _MISSING:
            raise EvaluationError(_absent(scope, path, text))
        return value

    return read


def _field(value: Any, part: str | int) -> Any:
    if isinstance(part, str):
        return value.get(part, _MISSING) if isinstance(value, Mapping) else _MISSING
    if isinstance(value, list):
        return value[part] if part < len(value) else _MISSING
    return _MISSING


def _absent(scope: Scope, path: tuple[str | int, ...], text: str) -> str:
    value: Any = scope
    for count, part in enumerate(path):
        inner = _field(value, part)
        if inner is _MISSING:
            if count == 0 or (path[0] == "steps" and count == 1):
                return f"`{text}`: `{part}` has no output"
            return f"`{text}`: {_kind(value)} `{show(path[:count])}` has no {_part(part)}"
        value = inner
    return f"`{text}` is not there"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    return {dict: "object", list: "array", str: "string", bool: "boolean"}.get(type(value), "number")


def _part(part: str | int) -> str:
    return f"item {part}" if isinstance(part, int) else f"field `{part}`"


def show(path: Sequence[str | int]) -> str:
    """A path as it is written."""
    text = str(path[0])
    for part in path[1:]:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if part.isidentifier() else f"[{json.dumps(part)}]"
    return text


# -- CEL -------------------------------------------------------------------------------------------------------


def _cel(body: str, start: int, at: KeyPath, reads: list[Read]) -> Make:
    from engine import cel

    found = cel.compile(body, start, at)
    reads.extend(found.reads)
    return found.evaluate
