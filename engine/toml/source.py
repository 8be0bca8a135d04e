"""Source: the text of a spec, and the span of each key path and value in it.

bytes -> Source -> plain data, or `TomlSyntaxError`. Positions cost nothing until the first one is needed. Lines end at
LF (a CR before it is not part of the line); a byte order mark is dropped and not counted. Knows nothing of specs.
"""

from __future__ import annotations

import bisect
import errno
import itertools
import os
import pathlib
import re
import stat
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

import attrs

from engine.base.classes import frozen
from engine.toml.key_paths import KeyPath
from engine.toml.limits import may_exceed_limits

if TYPE_CHECKING:
    import tomli

    from engine.toml import scanner

__all__ = ["Source", "Span", "TomlSyntaxError", "parse_toml", "read_bytes", "read_source"]

_MAX_ERRORS = 20
"""Maximum number of errors in a text that are reported at once."""


@attrs.frozen(order=True)
class Span:
    """A range of a text: lines, and columns in code points, from 1; the end is exclusive."""

    line: int
    column: int
    end_line: int
    end_column: int


class TomlSyntaxError(ValueError):
    """The text is not TOML; `span` is the location of the error, `others` are further errors in the text."""

    def __init__(self, message: str, span: Span, others: tuple[TomlSyntaxError, ...] = ()) -> None:
        self.message = message
        self.span = span
        self.others = others
        super().__init__(message)


def _strip_byte_order_mark(text: str) -> str:
    return text.removeprefix("\ufeff")


@frozen
class Source:
    """A text and the path it came from; `undecodable` is the span of the first byte that is not UTF-8."""

    path: pathlib.PurePath | str
    text: str = attrs.field(converter=_strip_byte_order_mark, repr=False)
    undecodable: Span | None = attrs.field(default=None, eq=False)

    def has_path(self, path: KeyPath) -> bool:
        """Return whether the text has a key or value at `path`."""
        return self._find(path)[1]

    def key_span(self, path: KeyPath) -> Span:
        """Return the span of the last key of `path`; for a table, in its own header if it has one.

        The span of an element of an array is that of its value. A path that is not in the text has the span of its nearest
        ancestor that is; `()` is the start of the text.
        """
        return self.span_between(*_find_key_extent(self._find(path)[0]))

    def occurrences(self, path: KeyPath) -> tuple[Span, ...]:
        """Return the spans of all occurrences of the last key of `path`, in the order of the text.

        These include longer headers and dotted keys. Empty if the path is not in the text, or ends in an index.
        """
        place, complete = self._find(path)
        if not complete or place.key[0] == place.key[1]:
            return ()
        return tuple(
            self.span_between(*each) for each in sorted({place.key, *(place.repeats or ())})
        )

    def count_children(self, path: KeyPath) -> int:
        """Return the number of keys or items in the value at `path`; 0 if there is none."""
        place, complete = self._find(path)
        return len(place.children) if complete else 0

    def value_span(self, path: KeyPath) -> Span:
        """Return the span of the literal at `path`, quotes included; for a `[table]` as `key_span`."""
        place, _ = self._find(path)
        return self.span_between(*(place.value or _find_key_extent(place)))

    def span_within(self, path: KeyPath, start: int, end: int) -> Span:
        """Return the span of characters `start` to `end` of the decoded string at `path`.

        Without such characters (no string, or a shorter one) this is `value_span`; an empty range before a character is empty.
        """
        place, complete = self._find(path)
        if not complete or place.value is None or not 0 <= start <= end:
            return self.value_span(path)
        from engine.toml import scanner

        written = scanner.iter_characters(self.text, place.value)
        wanted = list(itertools.islice(written, start, max(end, start + 1)))
        if not wanted or len(wanted) < end - start:
            return self.value_span(path)
        return self.span_between(wanted[0][0], wanted[-1][1] if end > start else wanted[0][0])

    @property
    def newline(self) -> str:
        """The line ending of the text."""
        return "\r\n" if "\r\n" in self.text else "\n"

    def line_text(self, number: int) -> str:
        """Return the text of a line, counted from 1, without its end; empty beyond the last line."""
        if not 1 <= number <= len(self._line_starts):
            return ""
        start = self._line_starts[number - 1]
        end = self._line_starts[number] - 1 if number < len(self._line_starts) else len(self.text)
        return self.text[start:end].removesuffix("\r")

    def span_between(self, start: int, end: int) -> Span:
        """Return the span from character `start` to before character `end` of the text."""
        return Span(*self._locate(start), *self._locate(end))

    def text_of(self, span: Span) -> str:
        """Return the text of a span."""
        start = self.offset_of(span.line, span.column)
        return self.text[start : self.offset_of(span.end_line, span.end_column)]

    def offset_of(self, line: int, column: int) -> int:
        """Return the number of characters before a line and column, at most the length of the text."""
        end = len(self.text)
        return (
            min(self._line_starts[line - 1] + column - 1, end)
            if line <= len(self._line_starts)
            else end
        )

    def _locate(self, offset: int) -> tuple[int, int]:
        line = bisect.bisect_right(self._line_starts, offset)
        return line, offset - self._line_starts[line - 1] + 1

    def _find(self, path: KeyPath) -> tuple[scanner.Position, bool]:
        place = self._root_position
        for key in path:
            child = place.children.get(key)
            if child is None:
                return place, False
            place = child
        return place, True

    @cached_property
    def _root_position(self) -> scanner.Position:
        from engine.toml import scanner

        return scanner.scan_positions(self.text)

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(match.end() for match in re.finditer("\n", self.text))]


def read_source(path: str | os.PathLike[str]) -> Source:
    """Read the source in a file; bytes that are not UTF-8 become U+FFFD and set `undecodable`.

    Raises OSError as it comes when there is no such file or it cannot be read.
    """
    data = read_bytes(path)
    try:
        return Source(pathlib.Path(path), data.decode())
    except UnicodeDecodeError as error:
        source = Source(pathlib.Path(path), data.decode(errors="replace"))
        start = len(data[: error.start].decode().removeprefix("\ufeff"))
        return attrs.evolve(source, undecodable=source.span_between(start, start + 1))


_MAX_PIPE_SIZE = 64 * 1024 * 1024
"""Maximum number of bytes read from a pipe; the size of a file is its owner's business."""


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of a file, or of a pipe passed to this process (`/dev/stdin`, `<(…)` of a shell).

    Raises OSError for everything else: a device or a FIFO might never end.
    """
    name = os.fspath(path)
    mode = os.stat(name).st_mode
    given = stat.S_ISFIFO(mode) and name.startswith(("/dev/", "/proc/self/fd/"))
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode) or given):
        raise OSError(errno.EINVAL, "it is not a file", name)
    with open(name, "rb") as file:
        data = file.read(_MAX_PIPE_SIZE + 1 if given else -1)
    if given and len(data) > _MAX_PIPE_SIZE:
        raise OSError(errno.EFBIG, f"it has more than {_MAX_PIPE_SIZE} bytes", name)
    return data


def parse_toml(source: Source) -> dict[str, Any]:
    """Return the data of a source: dicts, lists, strings, numbers, booleans, dates and times.

    Raises TomlSyntaxError, and nothing else, for every text that is not valid TOML 1.0, and for what no reader could hold:
    integers of thousands of digits, and nesting deeper than `limits.MAX_DEPTH`.
    """
    import tomli

    if source.undecodable is not None:
        raise TomlSyntaxError("the file is not UTF-8 text", source.undecodable)
    try:
        data = tomli.loads(source.text)
    except tomli.TOMLDecodeError as error:
        first, *more = _iter_errors(source, error)
        raise TomlSyntaxError(first.message, first.span, tuple(more)) from None
    except (ValueError, RecursionError):
        raise _build_syntax_error(source, _locate_excess(source)) from None
    if may_exceed_limits(source.text, data):
        found = _locate_excess(source)
        if found is not None:
            raise _build_syntax_error(source, found)
    return data


def _locate_excess(source: Source) -> tuple[str, scanner.Extent] | None:
    from engine.toml.syntax_errors import find_excess

    return find_excess(source.text)


def _iter_errors(source: Source, error: tomli.TOMLDecodeError) -> Iterator[TomlSyntaxError]:
    """Yield the error that tomli found, then those it finds after blanking each out, up to a limit."""
    import tomli

    from engine.toml import syntax_errors

    text = source.text
    for _ in range(_MAX_ERRORS):
        at = source.offset_of(error.lineno, error.colno)
        yield _build_syntax_error(source, syntax_errors.describe_toml_error(text, error, at))
        left = syntax_errors.blank_out_error(text, error, at)
        if left is None:
            return
        text = left
        try:
            tomli.loads(text)
            return
        except tomli.TOMLDecodeError as next_error:
            error = next_error
        except (ValueError, RecursionError):
            return


def _build_syntax_error(
    source: Source, found: tuple[str, scanner.Extent] | None
) -> TomlSyntaxError:
    message, extent = found or ("the text cannot be read as TOML", (0, 0))
    return TomlSyntaxError(message, source.span_between(*extent))


def _find_key_extent(place: scanner.Position) -> scanner.Extent:
    is_element = place.key[0] == place.key[1] and place.value is not None
    return place.value if is_element and place.value else place.key
