"""Why a text is no TOML: the parser's error -> a message that stands alone, and its extent.

tomli refuses a text at its first mistake, so what stands before is sound and `positions` can read
it; blanked out, the mistake lets the next one be found. Beyond TOML there are limits, so that
nothing later has to fear what it is given: depth, and integers too long to print. Knows text and
offsets only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from engine.toml import scanner
from engine.toml.scanner import Extent

if TYPE_CHECKING:
    import tomli

__all__ = ["DEEPEST", "beyond_limits", "explain", "is_suspect", "without"]

DEEPEST = 100
"""How many keys may lead to a table or an array: whatever walks a spec may recurse."""

_WORDS = {
    "Invalid statement": "expected a key or a `[table]`",
    "Expected newline or end of document after a statement": "expected the end of the line",
    "Expected '=' after a key in a key/value pair": "expected `=` after a key",
    "Expected ']' at the end of a table declaration": "expected `]` after the name of a table",
    "Expected ']]' at the end of an array declaration": "expected `]]` after the name of a table",
    "Invalid initial character for a key part": "expected a key",
    "Invalid value": "expected a value (a string has quotes)",
    "Unclosed array": "expected `,` or `]` in an array",
    "Unclosed inline table": "expected `,` or `}` in an inline table",
}
"""Where tomli misses something, what that is; its other messages are only put in lower case."""

_ESCAPES = {
    "Unescaped '\\' in a string": "unknown escape in a string; a backslash itself is `\\\\`",
    "Invalid hex value": "`\\u` takes four hexadecimal digits, `\\U` takes eight",
    "Escaped character is not a Unicode scalar value": "the escape names no Unicode character",
}
_UNCLOSED = {
    '"': "this string is not closed",
    "'": "this string is not closed",
    "[": "this array is not closed",
    "{": "this inline table does not end on its line",
}
_LONG_QUOTES = ('"' * 3, "'" * 3)
_TOKEN = re.compile(r"[\w.+:-]{1,40}|(?!\r?\n)[\s\S]")
_LINE_END = re.compile(r"\r?\n|\Z")
_INTEGER = re.compile(r"[+-]?[0-9][0-9A-Za-z_]{999,}")
_LONG_LITERAL = re.compile(r"0[xob](?<=\b0.)\w{3500}")


def explain(text: str, error: tomli.TOMLDecodeError, at: int) -> tuple[str, Extent]:
    """The message and the extent of what tomli found at the character `at`."""
    if _is_taken(error):
        return _taken(text, at)
    if _LINE_END.match(text, at):
        start = scanner.unclosed(text[:at])
        if start is not None:
            return _UNCLOSED[text[start]], (start, _end_of_line(text, start))
    if error.msg in _ESCAPES:
        start = text.rfind("\\", 0, at)
        return _ESCAPES[error.msg], (start, min(at, _end_of_line(text, start)))
    return _unexpected(text, error.msg, at)


def without(text: str, error: tomli.TOMLDecodeError, at: int) -> str | None:
    """The text with what is wrong at the character `at` blanked out, so that the parser can go on;
    None where all that follows may be part of it. Lines and columns stay."""
    start = at if error.msg == "Invalid statement" else scanner.statement(text[:at])
    if _is_taken(error):
        start = scanner.latest(text[:at])
        if text[start] != "[":
            before = text[:start].rstrip()
            return _blanked(text, len(before) - before.endswith(","), at)
    elif "\n" in text[start:at] or _goes_on(text, at):
        return None
    end = _end_of_line(text, at)
    return _blanked(text, start, end if text[start] != "[" else scanner.next_header(text, end))


def is_suspect(text: str, data: dict[str, Any]) -> bool:
    """Whether accepted data may lie beyond the limits; `beyond_limits` knows."""
    return _LONG_LITERAL.search(text) is not None or _is_deep(data)


def beyond_limits(text: str) -> tuple[str, Extent] | None:
    """The message and the extent of the first value that is too deep or too long, if any."""
    for depth, place in scanner.walk(scanner.places(text)):
        start, end = place.key
        if depth > DEEPEST:
            return f"nested more than {DEEPEST} levels deep", (start, max(end, start + 1))
        if place.value is not None and _is_too_long(text, place.value):
            return "an integer of thousands of digits", place.value
    return None


def _is_taken(error: tomli.TOMLDecodeError) -> bool:
    return error.msg.startswith(("Cannot ", "Duplicate "))


def _goes_on(text: str, at: int) -> bool:
    """Whether something is open at a character that may hold further lines."""
    start = scanner.unclosed(text[:at])
    return start is not None and (text[start] in "[{" or text[start : start + 3] in _LONG_QUOTES)


def _blanked(text: str, start: int, end: int) -> str:
    return text[:start] + re.sub(r"[^\r\n]", " ", text[start:end]) + text[end:]


def _taken(text: str, at: int) -> tuple[str, Extent]:
    clash = scanner.clash(text, at)
    if clash is None:
        return "this name is already defined", (at, at)
    line = text.count("\n", 0, clash.first) + 1
    return f"`{clash.name}` is already defined on line {line}", clash.extent


def _unexpected(text: str, said: str, at: int) -> tuple[str, Extent]:
    token = _TOKEN.match(text, at)
    extent = token.span() if token else (_last_character(text, at),) * 2
    if said not in _WORDS:
        return said[:1].lower() + said[1:], extent
    found = f"`{_shown(token[0])}`" if token else "the end of the line"
    return f"{_WORDS[said]}, found {found if at < len(text) else 'the end of the file'}", extent


def _last_character(text: str, at: int) -> int:
    """The end of the text's last word when `at` is beyond it: an empty last line shows nothing."""
    return at if at < len(text) else len(text.rstrip())


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text[start : end if end >= 0 else len(text)].rstrip("\r")) + start


def _is_too_long(text: str, literal: Extent) -> bool:
    if _INTEGER.fullmatch(text, *literal) is None:
        return False
    try:
        str(int(text[slice(*literal)], 0))
    except ValueError:
        return True
    return False


def _is_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(DEEPEST + 1):
        inside = (c.values() if type(c) is dict else c for c in level)
        level = [value for values in inside for value in values if type(value) in (dict, list)]
    return bool(level)


def _shown(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
