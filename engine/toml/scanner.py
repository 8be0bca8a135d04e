"""Where keys and values of a TOML text are written: accepted TOML -> a tree of places.

Offsets count characters of the text as it stands, "\\r\\n" included. The scanner finds where tokens
end and validates nothing; where it cannot go on it stops and keeps what it has, so it also serves
to explain a text that was refused. Each character is read once, and open arrays wait on a list, not
on Python's stack: length and depth are no concern. Source: TOML 1.0.
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
"""Arrays and inline tables open at once beyond which no parser goes, so the scanner need not."""

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
    """One key path: where its last key is written, its literal if any, and what is inside."""

    key: Extent
    """Empty for an element of an array."""
    value: Extent | None = None
    children: dict[str | int, Place] = attrs.field(factory=dict)
    headed: bool = False
    """A `[header]` of its own names it."""
    tables: bool = False
    """An array of tables: the children are its `[[header]]`s."""
    again: list[Extent] | None = None
    """Where else its key is written: in longer headers and dotted keys."""

    @property
    def inside(self) -> Place:
        """Where a longer dotted key goes on: in an array of tables, its last one."""
        return self.children[len(self.children) - 1] if self.tables else self


@attrs.frozen
class Clash:
    """A key whose name is taken: as written, where, and where the first one begins."""

    name: str
    extent: Extent
    first: int


def places(text: str) -> Place:
    """The place of the whole document."""
    return _scanned(text).root


def walk(root: Place) -> Iterator[tuple[int, Place]]:
    """Every place below `root` with its depth, 1 for the children of `root`; parents come first."""
    waiting = [(1, child) for child in reversed(root.children.values())]
    while waiting:
        depth, place = waiting.pop()
        yield depth, place
        waiting.extend((depth + 1, child) for child in reversed(place.children.values()))


def characters(text: str, literal: Extent) -> Iterator[Extent]:
    """Where each character of the decoded string is written; nothing if `literal` is no string."""
    quote = _QUOTE.match(text, *literal)
    if quote is None:
        return
    mark = quote["mark"] or quote["one"]
    for match in _UNITS[mark].finditer(text, quote.end(), literal[1] - len(mark)):
        if match.lastgroup != "nothing":
            yield match.span()


def comments(text: str) -> Iterator[Extent]:
    """Where each comment of accepted TOML is written, `#` included: quotes stand only around
    strings and keys."""
    for match in _COMMENTS.finditer(text):
        if match.lastgroup:
            yield match.span()


def clash(text: str, end: int) -> Clash | None:
    """The name that a parser found taken when it had read a header's key or a pair up to `end`."""
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
    """Where the latest key or header begins of what is still open at the end of the text."""
    return _scanned(text).latest


def statement(text: str) -> int:
    """Where the latest pair or header begins that is in no inline table."""
    return _scanned(text).statement


def next_header(text: str, start: int) -> int:
    """Where the next header begins behind the pairs from `start` on, or the text ends."""
    scan = _Scan(text, start)
    with contextlib.suppress(_Cut):
        scan.take(_BLANK)
        while scan.pos < len(text) and text[scan.pos] != "[":
            scan.pair()
            scan.take(_BLANK)
        return scan.pos
    return len(text)


def unclosed(text: str) -> int | None:
    """Where a string, array or inline table begins that the text does not close."""
    scan = _scanned(text)
    quote = _UNCLOSED_QUOTE.match(text, scan.pos)
    if quote is not None:
        return quote.start(1)
    return scan.open[-1].start if scan.open else None


class _Cut(Exception):
    """The scanner cannot go on: the text ends here, or is no TOML from here on."""


@attrs.define(eq=False)
class _Literal:
    """An array or inline table that is not closed yet, and where its latest key begins."""

    place: Place
    start: int
    key: int


@attrs.define(eq=False)
class _Scan:
    """The scanner: `statement` is where the present one begins, `table` takes the next pair."""

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
        """Where the latest key begins of what is still open at `pos`."""
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
        """Close what ends here; the place of the next value inside, None when nothing is open."""
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
