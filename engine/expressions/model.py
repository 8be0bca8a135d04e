"""Values and errors of expressions, which both parsers share: the one of `${…}` and the one of CEL."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from engine.base.classes import value
from engine.toml.key_paths import KeyPath, _describe_part, format_path

__all__ = [
    "MISSING",
    "QUOTED_PATTERN",
    "STRING_PATTERN",
    "BadExpression",
    "EvaluationError",
    "Read",
    "Scope",
    "Template",
    "describe_missing",
    "json_type",
    "unquote",
]

MISSING = object()
"""Stands for a value that is not there; None is one that is."""

Scope = Mapping[str, Any]
"""Values by root name: `inputs`, `state`, `steps`, `run`, `env`, `secrets`, and the nodes that have an output."""


class BadExpression(ValueError):
    """A string of a spec is not a valid expression; `start` and `end` are offsets in that string.

    `key_path` leads to the string in the value that was parsed.
    """

    def __init__(
        self, message: str, start: int, end: int, help: str | None = None, key_path: KeyPath = ()
    ) -> None:
        super().__init__(message)
        self.message, self.start, self.end, self.help, self.key_path = (
            message,
            start,
            end,
            help,
            key_path,
        )


class EvaluationError(ValueError):
    """An expression cannot be evaluated on these values; the message names the part and the reason."""


@value
class Read:
    """One reference of an expression: a path that it reads.

    `may_be_absent` is whether the path has a default or a `has()`. `start` and `end` are its offsets in the string.
    """

    path: tuple[str | int, ...]
    may_be_absent: bool
    key_path: KeyPath
    """The key path of the string in the templated value."""
    start: int
    end: int
    is_whole_expression: bool = True
    """Whether the path, with its default if any, is the whole expression."""


@value(eq=False)
class Template:
    """A value that may contain expressions.

    If `is_constant` it has none, and `evaluate` returns a copy of the value.
    """

    reads: tuple[Read, ...]
    is_constant: bool
    evaluate: Callable[[Scope], Any] = attrs.field(repr=False)


STRING_PATTERN = r"""(?:
    (?:[rR][bB]?|[bB][rR])
    (?:\"\"\"[\s\S]*?\"\"\" | \'\'\'[\s\S]*?\'\'\' | "[^"\n]*" | '[^'\n]*')
  | [bB]?
    (?:\"\"\"(?:[^\\]|\\[\s\S])*?\"\"\" | \'\'\'(?:[^\\]|\\[\s\S])*?\'\'\'
      |"(?:[^"\\\n]|\\[^\n])*" | '(?:[^'\\\n]|\\[^\n])*')
)"""
"""A string of CEL, for a verbose pattern; it may have escapes that CEL does not know."""


_ESCAPES = r"""\\(?:[abfnrtv\\?"'`]|x[0-9A-Fa-f]{2}|[0-3][0-7]{2}
    |u(?![dD][89A-Fa-f])[0-9A-Fa-f]{4}|U00(?:10|0[0-9A-Fa-f])(?![dD][89A-Fa-f])[0-9A-Fa-f]{4})"""


QUOTED_PATTERN = rf"""(?:"(?:[^"\\\n]|{_ESCAPES})*"|'(?:[^'\\\n]|{_ESCAPES})*')"""
"""A string that `unquote` can read, for a verbose pattern."""


_ESCAPED = dict(zip("abfnrtv", "\a\b\f\n\r\t\v", strict=True))


_ESCAPE = re.compile(r"\\(?:[xuU]([0-9A-Fa-f]+)|([0-3][0-7]{2})|(.))")


def unquote(text: str) -> str:
    """Return the string that a quoted text means."""
    return _ESCAPE.sub(_decode_escape, text[1:-1])


def _decode_escape(escape: re.Match[str]) -> str:
    code, octal, one = escape.groups()
    if one:
        return _ESCAPED.get(one, one)
    return chr(int(code, 16) if code else int(octal, 8))


def _get_field(value: Any, part: str | int) -> Any:
    if isinstance(part, str):
        return value.get(part, MISSING) if isinstance(value, Mapping) else MISSING
    if isinstance(value, list):
        return value[part] if part < len(value) else MISSING
    return MISSING


def describe_missing(scope: Scope, path: tuple[str | int, ...], text: str) -> str | None:
    """Return a message about the first missing part of a path, or None if none is missing.

    The message names the expression `text`.
    """
    value: Any = scope
    for count, part in enumerate(path):
        inner = _get_field(value, part)
        if inner is MISSING:
            if count == 0 or (path[0] == "steps" and count == 1):
                return f"`{text}`: `{part}` has no output"
            return f"`{text}`: {json_type(value)} `{format_path(path[:count])}` has no {_describe_part(part)}"
        value = inner
    return None


_JSON_TYPES = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}


def json_type(value: Any) -> str:
    """Return the JSON name of the type of a value."""
    return "object" if isinstance(value, Mapping) else _JSON_TYPES.get(type(value), "number")
