"""Formats TOML into one layout; only white space and blank lines change.

Keys and headers start at the margin, `=` has a single space on both sides, a header follows one blank line (with the
comments right above it), and there are never two blank lines in a row. An array on one line stays there; one over
several lines keeps its lines, indented by two. Comments keep their text and their distance. Values, keys and their
order, quotes and commas stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from engine.toml.scanner import KEY_PART, LITERAL

__all__ = ["format_toml"]

INDENT = 2

_BLANKS = re.compile(r"[ \t]*+")
_NEWLINES = re.compile(r"(?:[ \t]*+\r?\n)++")
_COMMENT = re.compile(r"#[^\r\n]*+")
_EQUALS = re.compile(r"[ \t]*+=[ \t]*+")
_BRACKETS = re.compile(r"\[\[?|\]\]?")
_WHITESPACE = re.compile(r"[ \t\r\n]*+")
_LINE_BREAK = "\0"
"""Stands for a line break outside of strings; no TOML contains this character."""


def format_toml(text: str) -> str:
    """Return the formatted text of valid TOML.

    Raises AssertionError if the new layout would change the data.
    """
    cursor = _Cursor(text)
    lines = list(_iter_lines(list(_iter_statements(cursor))))
    laid = _LINE_BREAK.join([*lines, ""]).replace(_LINE_BREAK, cursor.newline or "\n")
    import tomli

    # as texts: not a number is not even equal to itself
    assert repr(tomli.loads(laid)) == repr(tomli.loads(text)), "formatting would change its meaning"
    return laid


@attrs.define
class _Cursor:
    """A text and the current offset in it; `newline` is the first line break outside of strings."""

    text: str
    pos: int = 0
    newline: str = ""

    @property
    def next_character(self) -> str:
        """The next character, empty at the end."""
        return self.text[self.pos : self.pos + 1]

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Consume and return the match of the pattern at the current offset."""
        match = pattern.match(self.text, self.pos)
        assert match is not None, "not TOML"
        self.pos = match.end()
        return match

    def skip(self, pattern: re.Pattern[str]) -> int:
        """Skip white space that the pattern matches and return the number of line breaks in it."""
        blanks = self.take(pattern)[0]
        if not self.newline and "\n" in blanks:
            self.newline = "\r\n" if blanks.partition("\n")[0].endswith("\r") else "\n"
        return blanks.count("\n")


# -- statements --------------------------------------------------------------------------------


@attrs.frozen
class _Statement:
    """A comment, header or key/value pair; `has_blank_before` is whether an empty line precedes it."""

    kind: str
    text: str
    has_blank_before: bool


def _iter_statements(cursor: _Cursor) -> Iterator[_Statement]:
    while True:
        blank = cursor.skip(_WHITESPACE) > 1
        if not cursor.next_character:
            return
        if cursor.next_character == "#":
            yield _Statement("comment", cursor.take(_COMMENT)[0].rstrip(), blank)
        elif cursor.next_character == "[":
            opening = cursor.take(_BRACKETS)[0]
            key = _read_key(cursor)
            yield _Statement(
                "header",
                opening + key + cursor.take(_BRACKETS)[0] + _read_trailing_comment(cursor),
                blank,
            )
        else:
            key = _read_key(cursor)
            cursor.take(_EQUALS)
            value = _format_value(cursor)
            yield _Statement("pair", f"{key} = {value}{_read_trailing_comment(cursor)}", blank)


def _read_key(cursor: _Cursor) -> str:
    parts = []
    while True:
        part = cursor.take(KEY_PART)
        parts.append(part[1])
        if not part[2]:
            return ".".join(parts)


def _read_trailing_comment(cursor: _Cursor) -> str:
    """Read the comment at the end of a line, with the space before it."""
    gap = cursor.take(_BLANKS)[0]
    if cursor.next_character != "#":
        return ""
    return _format_gap(gap) + cursor.take(_COMMENT)[0].rstrip()


def _format_gap(blanks: str) -> str:
    return " " * max(1, len(blanks.expandtabs(4)))


def _iter_lines(statements: list[_Statement]) -> Iterator[str]:
    """Yield the lines of the statements, with empty ones between them."""
    above, begins = "", _find_header_starts(statements)
    for statement, begin in zip(statements, begins, strict=True):
        goes_on = above == "comment" and not statement.has_blank_before
        if above and (statement.has_blank_before or (begin and not goes_on)):
            yield ""
        yield statement.text
        above = statement.kind


def _find_header_starts(statements: list[_Statement]) -> list[bool]:
    """Return for each statement whether a header starts there, counting the comments that belong to it."""
    found = []
    follows = False
    for statement in reversed(statements):
        begins = statement.kind == "header" or (statement.kind == "comment" and follows)
        found.append(begins)
        follows = begins and not statement.has_blank_before
    return found[::-1]


# -- values ------------------------------------------------------------------------------------

_Token = tuple[str, str]
"""Kind (`open`, `close`, `comma`, `key`, `literal`, `comment`, `break`) and text."""


def _iter_tokens(cursor: _Cursor) -> Iterator[_Token]:
    """Yield the tokens of one value; a `key` includes its `=`, a `comment` the space before it."""
    open: list[str] = []
    while True:
        gap = cursor.take(_BLANKS)[0]
        match cursor.next_character:
            case "[" | "{" as bracket:
                open.append(bracket)
                yield _take_character(cursor, "open")
            case "]" | "}":
                open.pop()
                yield _take_character(cursor, "close")
            case ",":
                yield _take_character(cursor, "comma")
            case "#":
                yield "comment", _format_gap(gap) + cursor.take(_COMMENT)[0].rstrip()
                continue
            case "\r" | "\n":
                yield "break", "\n" * cursor.skip(_NEWLINES)
                continue
            case _:
                yield "literal", cursor.take(LITERAL)[0]
        if not open:
            return
        if open[-1] == "{" and cursor.text[cursor.pos - 1] in "{,":
            yield from _iter_member_key(cursor)


def _take_character(cursor: _Cursor, kind: str) -> _Token:
    cursor.pos += 1
    return kind, cursor.text[cursor.pos - 1]


def _iter_member_key(cursor: _Cursor) -> Iterator[_Token]:
    """Yield the key of the next pair of an inline table, if there is one."""
    cursor.take(_BLANKS)
    if cursor.next_character != "}":
        key = _read_key(cursor)
        cursor.take(_EQUALS)
        yield "key", f"{key} = "


def _format_value(cursor: _Cursor) -> str:
    lines, line, fresh, before = list[str](), list[str](), False, ("", "")
    open: list[int] = []
    indent = 0
    for token in _iter_tokens(cursor):
        kind, text = token
        if kind == "break":
            lines += ["".join(line).rstrip(" ")] + [""] * (len(text) > 1)
            line, fresh = [], True
            continue
        if fresh:
            indent = open[-1] + INDENT * (kind != "close")
            line, text = [" " * indent], text.lstrip(" ") if kind == "comment" else text
        else:
            line.append(_choose_space(before, token))
        line.append(text)
        fresh, before = False, token
        if kind == "open":
            open.append(indent)
        elif kind == "close":
            open.pop()
    return _LINE_BREAK.join([*lines, "".join(line)])


def _choose_space(before: _Token, token: _Token) -> str:
    """Return the space between two tokens of a line."""
    if before[0] in ("", "key") or token[0] in ("comma", "comment"):
        return ""
    if token[1] == "}" and token[0] == "close":
        return "" if before == ("open", "{") else " "
    if before == ("open", "{") or (before[0] == "comma" and token[0] != "close"):
        return " "
    return ""
