"""Capture the text that task bodies print, and emit it line by line.

Text is captured while `capture_output` is open. The context of the printing code, which its tasks and threads
inherit, tells the attempt. The language does not define this: the command line must own its streams.
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
    """Split text that comes in pieces into lines; a line that is too long is cut and marked with `…`."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._rest, self._lock = tell, "", threading.Lock()

    def write(self, text: str) -> None:
        """Add a piece of text, and emit the lines that it completes."""
        with self._lock:
            *lines, rest = (self._rest + text).split("\n")
            self._rest = rest[: _LONGEST + 1]
        for line in lines:
            self._say(line)

    def close(self) -> None:
        """Emit the last line, which has no newline."""
        with self._lock:
            rest, self._rest = self._rest, ""
        if rest:
            self._say(rest)

    def _say(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2]  # of a line that was written over, the last
        self._tell(line if len(line) <= _LONGEST else line[:_LONGEST] + "…")


class _Stream(io.TextIOBase):
    """A stand-in for sys.stdout and sys.stderr that writes to the current attempt's sink."""

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
    """Return whether printed text is being captured."""
    return _open > 0


def attend(tell: Callable[[str], None]) -> tuple[Lines, Token[Lines | None]]:
    """Send text printed in this context to `emit` from now on; end with `end_attempt_output`."""
    lines = Lines(tell)
    return lines, _SPEAKER.set(lines)


def leave(attended: tuple[Lines, Token[Lines | None]]) -> None:
    """Stop sending printed text to the attempt, and emit its last line."""
    lines, token = attended
    _SPEAKER.reset(token)
    lines.close()


@contextmanager
def hearing(elsewhere: Callable[[str], None]) -> Iterator[None]:
    """Capture printed text while the block runs; lines that belong to no attempt go to `emit`."""
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
