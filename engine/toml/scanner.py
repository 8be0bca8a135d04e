"""Scans TOML text into a tree of the positions of its keys and values.

Offsets count characters of the text as it stands, CR before LF included. The scanner finds where tokens end and
validates nothing; where it cannot continue it stops and returns what it has, so it also serves to explain a text that
the parser rejected. Each character is read once, and open arrays wait on a list, not on Python's stack: length and
depth are no concern. Source: TOML 1.0.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import attrs

__all__ = [
    "Extent",
    "Position",
    "RedefinedKey",
    "find_duplicate",
    "find_last_open_key",
    "find_last_statement",
    "find_next_header",
    "find_unclosed",
    "iter_characters",
    "iter_comments",
    "scan_positions",
    "walk_positions",
]

Extent = tuple[int, int]
"""Offsets of the first character and of the one after the last."""

_MAX_OPEN = 1000
"""Maximum number of open arrays and inline tables; no parser accepts more, so the scanner need not."""

# Possessive throughout: what a token has taken is never given back, so no text makes them slow.
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_GAPS = {
    "[": re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+"),
    "{": re.compile(r"[ \t,]*+"),
}
_CLOSING = {"[": re.compile(r"\]?"), "{": re.compile(r"\}?")}
_EQUALS = re.compile(r"=[ \t]*+")
_OPENING_BRACKETS = re.compile(r"\[\[?+")
_CLOSING_BRACKETS = re.compile(r"\]{0,2}+")
KEY_PART = re.compile(
    r"""[ \t]*+([\w-]++|"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|'[^'\n]*+')[ \t]*+(\.?)""", re.ASCII
)
_STRING = r'''
      """(?:[^"\\]++|\\[\s\S]|""?(?!"))*+"{3,5}
    | \'\'\'(?:[^']++|''?(?!'))*+'{3,5}
    | "(?!"")[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"
    | '(?!'')[^'\n]*+'
'''
_COMMENTS = re.compile(rf"{_STRING} | (?P<comment>\#[^\r\n]*+)", re.VERBOSE)
LITERAL = re.compile(
    _STRING
    + r"""
    | \d{4}-\d\d-\d\d[ ]\d\d:[^\s,\]}\#]*+
    | [^\s,\[\]{}\#="']++
    """,
    re.VERBOSE,
)
_QUOTE = re.compile(r"""(?P<mark>\"{3}|'{3})(?:\r?\n)?|(?P<one>["'])""")
_UNCLOSED_QUOTE = re.compile(r"[ \t]*+([\"'])")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r", '"': '"', "\\": "\\"}
_BASIC_UNIT = r"\\u.{4}|\\U.{8}|\\.|[\s\S]"
_UNITS = {
    '"': re.compile(_BASIC_UNIT),
    "'": re.compile(r"."),
    '"""': re.compile(rf"(?P<nothing>\\[ \t]*\r?\n[ \t\r\n]*)|\r\n|{_BASIC_UNIT}"),
    "'''": re.compile(r"\r\n|[\s\S]"),
}


@attrs.define(eq=False)
class Position:
    """The positions of one key path: its last key, its literal if any, and its children."""

    key: Extent
    """The extent of the key; empty for an element of an array."""
    value: Extent | None = None
    children: dict[str | int, Position] = attrs.field(factory=dict)
    has_header: bool = False
    """Whether the table has a `[header]` of its own."""
    is_array_of_tables: bool = False
    """Whether this is an array of tables, whose children are its `[[header]]`s."""
    repeats: list[Extent] | None = None
    """Other extents of the same key, in longer headers and dotted keys."""

    @property
    def current_table(self) -> Position:
        """The position that a longer dotted key extends: in an array of tables, its last table."""
        return self.children[len(self.children) - 1] if self.is_array_of_tables else self


@attrs.frozen
class RedefinedKey:
    """A key that is already defined: its name as written, its extent, and the start of the first one."""

    name: str
    extent: Extent
    first_start: int


def scan_positions(text: str) -> Position:
    """Scan a text and return the position of the whole document."""
    return _scan_text(text).root


def walk_positions(root: Position) -> Iterator[tuple[int, Position]]:
    """Yield every position below `root` with its depth, from 1; parents come first."""
    waiting = [(1, child) for child in reversed(root.children.values())]
    while waiting:
        depth, place = waiting.pop()
        yield depth, place
        waiting.extend((depth + 1, child) for child in reversed(place.children.values()))


def iter_characters(text: str, literal: Extent) -> Iterator[Extent]:
    """Yield the extent of each character of a decoded string; nothing if the literal is not a string."""
    quote = _QUOTE.match(text, *literal)
    if quote is None:
        return
    mark = quote["mark"] or quote["one"]
    for match in _UNITS[mark].finditer(text, quote.end(), literal[1] - len(mark)):
        if match.lastgroup != "nothing":
            yield match.span()


def iter_comments(text: str) -> Iterator[Extent]:
    """Yield the extent of each comment of valid TOML, `#` included.

    Valid TOML has quotes only around strings and keys, so quotes suffice to distinguish comments from text.
    """
    for match in _COMMENTS.finditer(text):
        if match.lastgroup:
            yield match.span()


def find_duplicate(text: str, end: int) -> RedefinedKey | None:
    """Return the duplicate key of the header or pair that a parser had read up to `end`, or None."""
    start = _scan_text(text[:end]).last_open_key
    before = _scan_text(text[:start])
    opening = _OPENING_BRACKETS.match(text, start)
    table = (
        before.root
        if opening
        else before.open_literals[-1].position
        if before.open_literals
        else before.table
    )
    pos = opening.end() if opening else start
    found: RedefinedKey | None = None
    while (part := KEY_PART.match(text, pos)) and (
        taken := table.children.get(_decode_key(part[1]))
    ):
        name = f"{found.name}.{part[1]}" if found else part[1]
        found = RedefinedKey(name, part.span(1), taken.key[0])
        table, pos = taken.current_table, part.end()
    return found


def find_last_open_key(text: str) -> int:
    """Return the start of the last key or header that is still open at the end of the text."""
    return _scan_text(text).last_open_key


def find_last_statement(text: str) -> int:
    """Return the start of the last header or pair outside of inline tables."""
    return _scan_text(text).statement_start


def find_next_header(text: str, start: int) -> int:
    """Return the start of the first header after the pairs from `start` on, or the end of the text."""
    scan = _Scanner(text, start)
    with contextlib.suppress(_ScanStopped):
        scan.take(_BLANK)
        while scan.pos < len(text) and text[scan.pos] != "[":
            scan.read_pair()
            scan.take(_BLANK)
        return scan.pos
    return len(text)


def find_unclosed(text: str) -> int | None:
    """Return the start of the string, array or inline table that the text leaves open, or None."""
    scan = _scan_text(text)
    quote = _UNCLOSED_QUOTE.match(text, scan.pos)
    if quote is not None:
        return quote.start(1)
    return scan.open_literals[-1].start if scan.open_literals else None


class _ScanStopped(Exception):
    """The scanner cannot continue: the text ends, or is not TOML from here on."""


@attrs.define(eq=False)
class _OpenLiteral:
    """An array or inline table that is still open, and the start of its latest key."""

    position: Position
    start: int
    key_start: int


@attrs.define(eq=False)
class _Scanner:
    """The scanner: `statement_start` is the start of the current statement, `table` receives the next pair."""

    text: str
    pos: int = 0
    root: Position = attrs.field(factory=lambda: Position((0, 0)))
    table: Position = attrs.field(init=False)
    statement_start: int = 0
    open_literals: list[_OpenLiteral] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.table = self.root

    @property
    def last_open_key(self) -> int:
        """The start of the last key that is still open at `pos`."""
        return self.open_literals[-1].key_start if self.open_literals else self.statement_start

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.pos)
        if match is None:
            raise _ScanStopped
        self.pos = match.end()
        return match

    def read_document(self) -> None:
        self.take(_BLANK)
        while self.pos < len(self.text):
            self.statement_start = self.pos
            if self.text[self.pos] == "[":
                self.read_header()
            else:
                self.read_pair()
            self.take(_BLANK)

    def read_header(self) -> None:
        brackets = self.take(_OPENING_BRACKETS)[0]
        place, extent = self.read_key(self.root)
        if brackets == "[[":
            place.is_array_of_tables = True
            place.children[len(place.children)] = Position(extent)
        elif not place.has_header:
            place.repeats = [place.key, *(place.repeats or ())]
            place.key, place.has_header = extent, True
        self.table = place.current_table
        self.take(_CLOSING_BRACKETS)

    def read_pair(self) -> None:
        place: Position | None = self.read_key_and_equals(self.table)
        while place is not None:
            self.read_value(place)
            place = self.read_next_value()

    def read_key_and_equals(self, table: Position) -> Position:
        place, _ = self.read_key(table)
        self.take(_EQUALS)
        return place

    def read_key(self, table: Position) -> tuple[Position, Extent]:
        while True:
            part = self.take(KEY_PART)
            name = _decode_key(part[1])
            place = table.children.get(name)
            if place is None:
                place = table.children[name] = Position(part.span(1))
            elif place.repeats is None:
                place.repeats = [part.span(1)]
            else:
                place.repeats.append(part.span(1))
            if not part[2]:
                return place, part.span(1)
            table = place.current_table

    def read_value(self, place: Position) -> None:
        start = self.pos
        if self.text[start : start + 1] in ("[", "{"):
            if len(self.open_literals) > _MAX_OPEN:
                raise _ScanStopped
            self.pos += 1
            self.open_literals.append(_OpenLiteral(place, start, start))
        else:
            self.take(LITERAL)
        place.value = (start, self.pos)

    def read_next_value(self) -> Position | None:
        """Close the literals that end here and return the position of the next value, or None."""
        while self.open_literals:
            literal = self.open_literals[-1]
            bracket = self.text[literal.start]
            self.take(_GAPS[bracket])
            if not self.take(_CLOSING[bracket])[0]:
                return (
                    self.add_element(literal) if bracket == "[" else self.read_member_key(literal)
                )
            literal.position.value = (literal.start, self.pos)
            self.open_literals.pop()
        return None

    def add_element(self, array: _OpenLiteral) -> Position:
        children = array.position.children
        place = children[len(children)] = Position((self.pos, self.pos))
        return place

    def read_member_key(self, table: _OpenLiteral) -> Position:
        start = self.pos
        place = self.read_key_and_equals(table.position)
        table.key_start = start
        return place


def _scan_text(text: str) -> _Scanner:
    scan = _Scanner(text)
    with contextlib.suppress(_ScanStopped):
        scan.read_document()
    return scan


def _decode_key(written: str) -> str:
    if written[0] == "'":
        return written[1:-1]
    return _ESCAPE.sub(_decode_escape, written[1:-1]) if written[0] == '"' else written


def _decode_escape(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code is None:
        return _ESCAPED.get(escape[3], escape[3])
    return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\N{REPLACEMENT CHARACTER}"
