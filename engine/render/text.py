"""Text that people read in a terminal: what prints, how wide it is, columns, times, colours.

Whatever comes from a file, a task or a name goes through `escape_unprintable` first: nothing of theirs
steers a terminal. Widths are columns of a terminal, in which some characters take two and some
none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from unicodedata import category, east_asian_width

from engine.base.classes import frozen

__all__ = [
    "Painter",
    "Styled",
    "TextPiece",
    "clip_text",
    "escape_unprintable",
    "format_count",
    "format_elapsed",
    "format_elapsed_short",
    "format_table",
    "make_painter",
    "plain_text",
    "text_width",
    "wrap_text",
]

_TAB = "    "
_COLUMN_GAP = "  "
_MIN_LAST_COLUMN = 24
"""The width below which the last column of a table goes beneath its row."""
_MIN_FIRST_COLUMN = 8
"""The minimal width of a table's first column when lines are too long for the terminal."""
_INDENT = "    "

_STYLES = {
    "good": "\x1b[32m",
    "bad": "\x1b[1;31m",
    "odd": "\x1b[33m",
    "busy": "\x1b[36m",
    "head": "\x1b[1m",
    "dim": "\x1b[2m",
}
_RESET = "\x1b[0m"


@frozen
class Styled:
    """A text with a style: good, bad, odd, busy, head or dim."""

    style: str
    text: str


TextPiece = str | Styled
Painter = Callable[[TextPiece], str]
"""A function that turns a piece of text into the characters to write."""


def make_painter(color: bool) -> Painter:
    """Return the function that turns pieces into text, with or without ANSI colours."""
    return _paint_colored if color else plain_text


def escape_unprintable(text: str) -> str:
    """Return `text` on one line, with tabs as spaces and every unprintable character as an escape."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else _TAB if char == "\t" else _escape(char) for char in text
    )


def plain_text(piece: TextPiece) -> str:
    """Return the text of a piece without its style."""
    return piece if isinstance(piece, str) else piece.text


def text_width(text: str) -> int:
    """Return the number of columns that a printable text takes."""
    return len(text) if text.isascii() else sum(map(_measure_character, text))


def clip_text(text: str, width: int) -> str:
    """Return as much of a printable text as fits in `width` columns, with an ellipsis if it is cut."""
    if text_width(text) <= width:
        return text
    if width <= 0:
        return ""
    end, used = 0, 0
    while used + _measure_character(text[end]) < width:
        used += _measure_character(text[end])
        end += 1
    return text[:end] + "…"


def wrap_text(text: str, width: int) -> list[str]:
    """Wrap a printable text to lines of at most `width` columns, at spaces where possible.

    Returns at least one line.
    """
    lines = [""]
    for word in text.split(" "):
        room = width - text_width(lines[-1]) - 1
        if lines[-1] and text_width(word) <= room:
            lines[-1] += f" {word}"
        else:
            parts = _break_word(word, width)
            lines[-1:] = [lines[-1], *parts] if lines[-1] else parts
    return lines


def format_elapsed(seconds: float) -> str:
    """Format a time in seconds: `0.1s`, `12.3s`, `2m05s`, `3h07m`."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02}m" if hours < 48 else f"{hours // 24}d{hours % 24:02}h"


def format_elapsed_short(seconds: float) -> str:
    """Format a time as `format_elapsed` does, but as `85ms` below a second."""
    return format_elapsed(seconds) if round(seconds * 1000) >= 1000 else f"{seconds * 1000:.0f}ms"


def format_count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 node`, `2 nodes`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def format_table(
    head: Sequence[str],
    rows: Iterable[Sequence[TextPiece]],
    paint: Painter,
    *,
    width: int | None = None,
    right: Collection[str] = (),
) -> list[str]:
    """Return the lines of a table; cells are printable, and columns named in `right` are right-aligned.

    The last column is wrapped to fit `width`, or put beneath its row if too little room is left; if
    the others are too wide by themselves, the first is clipped. Without `width` every row is one
    line.
    """
    cells = [tuple(Styled("dim", name) for name in head), *rows]
    widths = [max(text_width(plain_text(row[at])) for row in cells) for at in range(len(head))]
    fixed = sum(widths[:-1]) + len(_COLUMN_GAP) * (len(head) - 1)
    over = 0 if width is None else fixed - len(_COLUMN_GAP) - width
    if over > 0 and len(head) > 1:
        widths[0] = max(widths[0] - over, min(widths[0], _MIN_FIRST_COLUMN))
    room = widths[-1] if width is None else max(width - fixed, 0)
    beneath = widths[-1] > room and room < _MIN_LAST_COLUMN
    lines: list[str] = []
    for number, row in enumerate(cells):
        front = [_pad(row[at], widths[at], head[at] in right, paint) for at in range(len(head) - 1)]
        tail = plain_text(row[-1])
        if not beneath:
            first, *more = wrap_text(tail, max(room, 1)) if text_width(tail) > room else [tail]
            lines.append(_COLUMN_GAP.join([*front, paint(_with_style_of(row[-1], first))]).rstrip())
            lines += [" " * fixed + paint(_with_style_of(row[-1], line)) for line in more]
        else:
            lines.append(_COLUMN_GAP.join(front).rstrip())
            if tail and number and width is not None:
                wrapped = wrap_text(tail, max(width - len(_INDENT), 1))
                lines += [_INDENT + paint(_with_style_of(row[-1], line)) for line in wrapped]
    return lines


def _pad(piece: TextPiece, width: int, right: bool, paint: Painter) -> str:
    piece = _with_style_of(piece, clip_text(plain_text(piece), width))
    fill = " " * (width - text_width(plain_text(piece)))
    return fill + paint(piece) if right else paint(piece) + fill


def _with_style_of(piece: TextPiece, text: str) -> TextPiece:
    return text if isinstance(piece, str) else Styled(piece.style, text)


def _break_word(word: str, width: int) -> list[str]:
    """Break a word into parts of at most `width` columns."""
    parts, used = [""], 0
    for char in word:
        if used + _measure_character(char) > width and parts[-1]:
            parts.append("")
            used = 0
        parts[-1] += char
        used += _measure_character(char)
    return parts


def _measure_character(char: str) -> int:
    if char.isascii():
        return 1
    if category(char) in ("Mn", "Me"):
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def _paint_colored(piece: TextPiece) -> str:
    if isinstance(piece, str):
        return piece
    return f"{_STYLES[piece.style]}{piece.text}{_RESET}" if piece.text else ""
