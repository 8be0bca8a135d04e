"""What bodies print: caught while `hearing` is open, and told line by line to whom it concerns.

The attempt that prints is known by its context, which its tasks and threads inherit. Source: LANGUAGE.md section 14 says nothing of
it; the command line must own its streams.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = ["Lines", "attend", "hearing", "leave", "listening"]

_LONGEST = 4096
_SPEAKER: ContextVar[Lines | None] = ContextVar("_SPEAKER", default=None)


class Lines:
    """Text that comes in pieces, told line by line; a line that is too long is cut, and marked with `…`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._rest, self._lock = tell, "", threading.Lock()

    def write(self, text: str) -> None:
        """Take a piece, and tell what is whole."""
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            self._rest = rest[: _LONGEST + 1]
        for line in lines:
            self._say(line)

    def close(self) -> None:
        """Tell what has no end of line."""
        with self._lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._say(rest)

    def _say(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2]  # of a line that was written over, the last
        self._tell(line if len(line) <= _LONGEST else line[:_LONGEST] + "…")


class _Stream(io.TextIOBase):
    """Stands for sys.stdout and sys.stderr."""

    def __init__(self, elsewhere: Lines) -> None:
        self._elsewhere = elsewhere

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        (_SPEAKER.get() or self._elsewhere).write(text)
        return len(text)


_open = 0


def listening() -> bool:
    """Whether what is printed is caught."""
    return _open > 0


def attend(tell: Callable[[str], None]) -> tuple[Lines, Token[Lines | None]]:
    """From here on, in this context, what is printed is told to `tell`; end it with `leave`."""
    lines = Lines(tell)
    return lines, _SPEAKER.set(lines)


def leave(attended: tuple[Lines, Token[Lines | None]]) -> None:
    """The attempt has ended."""
    lines, token = attended
    _SPEAKER.reset(token)
    lines.close()


@contextmanager
def hearing(elsewhere: Callable[[str], None]) -> Iterator[None]:
    """Catch what is printed while the block runs; what no attempt prints is told to `elsewhere`."""
    global _open  # noqa: PLW0603 - the streams it counts for are the process's too
    lines, before = Lines(elsewhere), (sys.stdout, sys.stderr)
    stream = _Stream(lines)
    sys.stdout = sys.stderr = stream
    _open += 1
    try:
        yield
    finally:
        _open -= 1
        sys.stdout, sys.stderr = before
        lines.close()
