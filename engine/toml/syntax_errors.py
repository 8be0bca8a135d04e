"""Explains why a text is not TOML: turns the parser's error into a clear message and its extent.

tomli rejects a text at its first mistake, so the text before it is valid and `scanner` can read it; blanking out the
mistake lets the next one be found. Beyond TOML there are limits on depth and on the length of integers, so that later code
can rely on them. Knows text and offsets only.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from engine.toml import scanner
from engine.toml.limits import MAX_DEPTH
from engine.toml.scanner import Extent

if TYPE_CHECKING:
    import tomli

__all__ = ["blank_out_error", "describe_toml_error", "find_excess"]

_MESSAGES = {
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
"""Our messages for tokens that tomli misses; its other messages are only put in lower case."""

_ESCAPE_MESSAGES = {
    "Unescaped '\\' in a string": "unknown escape in a string; a backslash itself is `\\\\`",
    "Invalid hex value": "`\\u` takes four hexadecimal digits, `\\U` takes eight",
    "Escaped character is not a Unicode scalar value": "the escape names no Unicode character",
}
_UNCLOSED_MESSAGES = {
    '"': "this string is not closed",
    "'": "this string is not closed",
    "[": "this array is not closed",
    "{": "this inline table does not end on its line",
}
_LONG_QUOTES = ('"' * 3, "'" * 3)
_TOKEN = re.compile(r"[\w.+:-]{1,40}|(?!\r?\n)[\s\S]")
_LINE_END = re.compile(r"\r?\n|\Z")
_INTEGER = re.compile(r"[+-]?[0-9][0-9A-Za-z_]{999,}")


def describe_toml_error(text: str, error: tomli.TOMLDecodeError, at: int) -> tuple[str, Extent]:
    """Return the message and the extent of the error that tomli found at offset `at`."""
    if _is_duplicate(error):
        return _describe_duplicate(text, at)
    if _LINE_END.match(text, at):
        start = scanner.find_unclosed(text[:at])
        if start is not None:
            return _UNCLOSED_MESSAGES[text[start]], (start, _find_line_end(text, start))
    if error.msg in _ESCAPE_MESSAGES:
        start = text.rfind("\\", 0, at)
        return _ESCAPE_MESSAGES[error.msg], (start, min(at, _find_line_end(text, start)))
    return _describe_unexpected(text, error.msg, at)


def blank_out_error(text: str, error: tomli.TOMLDecodeError, at: int) -> str | None:
    """Return the text with the error at offset `at` blanked out, so that the parser can continue.

    Returns None where everything that follows may belong to the error. Lines and columns stay the same.
    """
    start = at if error.msg == "Invalid statement" else scanner.find_last_statement(text[:at])
    if _is_duplicate(error):
        start = scanner.find_last_open_key(text[:at])
        if text[start] != "[":
            before = text[:start].rstrip()
            return _blank_out(text, len(before) - before.endswith(","), at)
    elif "\n" in text[start:at] or _is_multiline(text, at):
        return None
    end = _find_line_end(text, at)
    return _blank_out(
        text, start, end if text[start] != "[" else scanner.find_next_header(text, end)
    )


def find_excess(text: str) -> tuple[str, Extent] | None:
    """Return the message and extent of the first value that is too deep or too long, or None."""
    for depth, place in scanner.walk_positions(scanner.scan_positions(text)):
        start, end = place.key
        if depth > MAX_DEPTH:
            return f"nested more than {MAX_DEPTH} levels deep", (start, max(end, start + 1))
        if place.value is not None and _is_too_long(text, place.value):
            return "an integer of thousands of digits", place.value
    return None


def _is_duplicate(error: tomli.TOMLDecodeError) -> bool:
    return error.msg.startswith(("Cannot ", "Duplicate "))


def _is_multiline(text: str, at: int) -> bool:
    """Return whether a literal that may span further lines is open at an offset."""
    start = scanner.find_unclosed(text[:at])
    return start is not None and (text[start] in "[{" or text[start : start + 3] in _LONG_QUOTES)


def _blank_out(text: str, start: int, end: int) -> str:
    return text[:start] + re.sub(r"[^\r\n]", " ", text[start:end]) + text[end:]


def _describe_duplicate(text: str, at: int) -> tuple[str, Extent]:
    clash = scanner.find_duplicate(text, at)
    if clash is None:
        return "this name is already defined", (at, at)
    line = text.count("\n", 0, clash.first_start) + 1
    return f"`{clash.name}` is already defined on line {line}", clash.extent


def _describe_unexpected(text: str, said: str, at: int) -> tuple[str, Extent]:
    token = _TOKEN.match(text, at)
    extent = token.span() if token else (_find_last_character(text, at),) * 2
    if said not in _MESSAGES:
        return said[:1].lower() + said[1:], extent
    found = f"`{_escape_token(token[0])}`" if token else "the end of the line"
    return f"{_MESSAGES[said]}, found {found if at < len(text) else 'the end of the file'}", extent


def _find_last_character(text: str, at: int) -> int:
    """Return `at`, or the end of the last word if `at` is beyond the text.

    An error shown on an empty last line would show nothing.
    """
    return at if at < len(text) else len(text.rstrip())


def _find_line_end(text: str, start: int) -> int:
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


def _escape_token(text: str) -> str:
    return text if text.isprintable() else repr(text)[1:-1]
