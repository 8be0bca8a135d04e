"""Scans TOML text into a tree of the positions of its keys and values.

Offsets count characters of the text as it stands, CR before LF included. The scanner finds where tokens end and validates
nothing; where it cannot continue it stops and keeps what it has, so it also serves to explain a text that the parser
rejected. Each character is read once, and open arrays wait on a list, not on Python's stack: length and depth are no
concern. Source: TOML 1.0.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import attrs

__all__ = [
    "Clash",
    "Extent",
    "Place",
    "characters",
    "clash",
    "comments",
    "latest",
    "next_header",
    "places",
    "statement",
    "unclosed",
    "walk",
]

Extent = tuple[int, int]
"""Offsets of the first character and of the one after the last."""

_MOST_OPEN = 1000
"""Maximum number of open arrays and inline tables; no parser accepts more, so the scanner need not."""

# Possessive throughout: what a token has taken is never given back, so no text makes them slow.
_BLANK = re.compile(r"(?:[ \t\r\n]++|#[^\n]*+)*+")
_GAP = {
    "[": re.compile(r"(?:[ \t\r\n,]++|#[^\n]*+)*+"),
    "{": re.compile(r"[ \t,]*+"),
}
_CLOSING = {"[": re.compile(r"\]?"), "{": re.compile(r"\}?")}
_EQUALS = re.compile(r"=[ \t]*+")
_OPEN = re.compile(r"\[\[?+")
_CLOSE = re.compile(r"\]{0,2}+")
PART = re.compile(
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
class Place:
    """The positions of one key path: its last key, its literal if any, and its children."""

    key: Extent
    """The extent of the key; empty for an element of an array."""
    value: Extent | None = None
    children: dict[str | int, Place] = attrs.field(factory=dict)
    headed: bool = False
    """Whether the table has a `[header]` of its own."""
    tables: bool = False
    """Whether this is an array of tables, whose children are its `[[header]]`s."""
    again: list[Extent] | None = None
    """Other extents of the same key, in longer headers and dotted keys."""

    @property
    def inside(self) -> Place:
        """The position that a longer dotted key extends: in an array of tables, its last table."""
        return self.children[len(self.children) - 1] if self.tables else self


@attrs.frozen
class Clash:
    """A key that is already defined: its name as written, its extent, and the start of the first one."""

    name: str
    extent: Extent
    first: int


def places(text: str) -> Place:
    """Scan a text and return the position of the whole document."""
    return _scanned(text).root


def walk(root: Place) -> Iterator[tuple[int, Place]]:
    """Yield every position below `root` with its depth, from 1; parents come first."""
    waiting = [(1, child) for child in reversed(root.children.values())]
    while waiting:
        depth, place = waiting.pop()
        yield depth, place
        waiting.extend((depth + 1, child) for child in reversed(place.children.values()))


def characters(text: str, literal: Extent) -> Iterator[Extent]:
    """Yield the extent of each character of a decoded string; nothing if the literal is not a string."""
    quote = _QUOTE.match(text, *literal)
    if quote is None:
        return
    mark = quote["mark"] or quote["one"]
    for match in _UNITS[mark].finditer(text, quote.end(), literal[1] - len(mark)):
        if match.lastgroup != "nothing":
            yield match.span()


def comments(text: str) -> Iterator[Extent]:
    """Yield the extent of each comment of valid TOML, `#` included.

    Valid TOML has quotes only around strings and keys, so quotes suffice to tell comments from text.
    """
    for match in _COMMENTS.finditer(text):
        if match.lastgroup:
            yield match.span()


def clash(text: str, end: int) -> Clash | None:
    """Return the duplicate key of the header or pair that a parser had read up to `end`, or None."""
    start = _scanned(text[:end]).latest
    before = _scanned(text[:start])
    opening = _OPEN.match(text, start)
    table = before.root if opening else before.open[-1].place if before.open else before.table
    pos = opening.end() if opening else start
    found: Clash | None = None
    while (part := PART.match(text, pos)) and (taken := table.children.get(_name(part[1]))):
        name = f"{found.name}.{part[1]}" if found else part[1]
        found = Clash(name, part.span(1), taken.key[0])
        table, pos = taken.inside, part.end()
    return found


def latest(text: str) -> int:
    """Return the start of the last key or header that is still open at the end of the text."""
    return _scanned(text).latest


def statement(text: str) -> int:
    """Return the start of the last header or pair outside of inline tables."""
    return _scanned(text).statement


def next_header(text: str, start: int) -> int:
    """Return the start of the first header after the pairs from `start` on, or the end of the text."""
    scan = _Scan(text, start)
    with contextlib.suppress(_Cut):
        scan.take(_BLANK)
        while scan.pos < len(text) and text[scan.pos] != "[":
            scan.pair()
            scan.take(_BLANK)
        return scan.pos
    return len(text)


def unclosed(text: str) -> int | None:
    """Return the start of the string, array or inline table that the text leaves open, or None."""
    scan = _scanned(text)
    quote = _UNCLOSED_QUOTE.match(text, scan.pos)
    if quote is not None:
        return quote.start(1)
    return scan.open[-1].start if scan.open else None


class _Cut(Exception):
    """The scanner cannot continue: the text ends, or is not TOML from here on."""


@attrs.define(eq=False)
class _Literal:
    """An array or inline table that is still open, and the start of its latest key."""

    place: Place
    start: int
    key: int


@attrs.define(eq=False)
class _Scan:
    """The scanner: `statement_start` is the start of the current statement, `table` receives the next pair."""

    text: str
    pos: int = 0
    root: Place = attrs.field(factory=lambda: Place((0, 0)))
    table: Place = attrs.field(init=False)
    statement: int = 0
    open: list[_Literal] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.table = self.root

    @property
    def latest(self) -> int:
        """The start of the last key that is still open at `pos`."""
        return self.open[-1].key if self.open else self.statement

    def take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.pos)
        if match is None:
            raise _Cut
        self.pos = match.end()
        return match

    def document(self) -> None:
        self.take(_BLANK)
        while self.pos < len(self.text):
            self.statement = self.pos
            if self.text[self.pos] == "[":
                self.header()
            else:
                self.pair()
            self.take(_BLANK)

    def header(self) -> None:
        brackets = self.take(_OPEN)[0]
        place, extent = self.key(self.root)
        if brackets == "[[":
            place.tables = True
            place.children[len(place.children)] = Place(extent)
        elif not place.headed:
            place.again = [place.key, *(place.again or ())]
            place.key, place.headed = extent, True
        self.table = place.inside
        self.take(_CLOSE)

    def pair(self) -> None:
        place: Place | None = self.entry(self.table)
        while place is not None:
            self.value(place)
            place = self.following()

    def entry(self, table: Place) -> Place:
        place, _ = self.key(table)
        self.take(_EQUALS)
        return place

    def key(self, table: Place) -> tuple[Place, Extent]:
        while True:
            part = self.take(PART)
            name = _name(part[1])
            place = table.children.get(name)
            if place is None:
                place = table.children[name] = Place(part.span(1))
            elif place.again is None:
                place.again = [part.span(1)]
            else:
                place.again.append(part.span(1))
            if not part[2]:
                return place, part.span(1)
            table = place.inside

    def value(self, place: Place) -> None:
        start = self.pos
        if self.text[start : start + 1] in ("[", "{"):
            if len(self.open) > _MOST_OPEN:
                raise _Cut
            self.pos += 1
            self.open.append(_Literal(place, start, start))
        else:
            self.take(LITERAL)
        place.value = (start, self.pos)

    def following(self) -> Place | None:
        """Close the literals that end here and return the position of the next value, or None."""
        while self.open:
            literal = self.open[-1]
            bracket = self.text[literal.start]
            self.take(_GAP[bracket])
            if not self.take(_CLOSING[bracket])[0]:
                return self.element(literal) if bracket == "[" else self.member(literal)
            literal.place.value = (literal.start, self.pos)
            self.open.pop()
        return None

    def element(self, array: _Literal) -> Place:
        children = array.place.children
        place = children[len(children)] = Place((self.pos, self.pos))
        return place

    def member(self, table: _Literal) -> Place:
        start = self.pos
        place = self.entry(table.place)
        table.key = start
        return place


def _scanned(text: str) -> _Scan:
    scan = _Scan(text)
    with contextlib.suppress(_Cut):
        scan.document()
    return scan


def _name(written: str) -> str:
    if written[0] == "'":
        return written[1:-1]
    return _ESCAPE.sub(_character, written[1:-1]) if written[0] == '"' else written


def _character(escape: re.Match[str]) -> str:
    code = escape[1] or escape[2]
    if code is None:
        return _ESCAPED.get(escape[3], escape[3])
    return chr(int(code, 16)) if int(code, 16) < 0x110000 else "\N{REPLACEMENT CHARACTER}"
