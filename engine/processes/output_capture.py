"""Capture the text that task bodies print, and emit it line by line.

Text is captured while `capture_output` is open. The context of the printing code, which its tasks and threads inherit,
identifies the attempt. The language does not define this: the command line must own its streams.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = [
    "LineSplitter",
    "begin_attempt_output",
    "capture_output",
    "end_attempt_output",
    "is_capturing",
]

_MAX_LINE_LENGTH = 4096
_CURRENT_SINK: ContextVar[LineSplitter | None] = ContextVar("_SPEAKER", default=None)


class LineSplitter:
    """Split text that comes in pieces into lines; a line that is too long is cut and marked with `…`."""

    def __init__(self, emit: Callable[[str], None]) -> None:
        self._emit, self._partial_line, self._lock = emit, "", threading.Lock()

    def write(self, text: str) -> None:
        """Add a piece of text, and emit the lines that it completes."""
        with self._lock:
            *lines, rest = (self._partial_line + text).split("\n")
            self._partial_line = rest[: _MAX_LINE_LENGTH + 1]
        for line in lines:
            self._emit_line(line)

    def close(self) -> None:
        """Emit the last line, which has no newline."""
        with self._lock:
            rest, self._partial_line = self._partial_line, ""
        if rest:
            self._emit_line(rest)

    def _emit_line(self, line: str) -> None:
        line = line.rstrip("\r").rpartition("\r")[2]  # of a line that was written over, the last
        self._emit(line if len(line) <= _MAX_LINE_LENGTH else line[:_MAX_LINE_LENGTH] + "…")


class _CapturedStream(io.TextIOBase):
    """A stand-in for sys.stdout and sys.stderr that writes to the current attempt's sink."""

    def __init__(self, fallback: LineSplitter) -> None:
        self._fallback = fallback

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        (_CURRENT_SINK.get() or self._fallback).write(text)
        return len(text)


_capture_count = 0


def is_capturing() -> bool:
    """Return whether printed text is being captured."""
    return _capture_count > 0


def begin_attempt_output(
    emit: Callable[[str], None],
) -> tuple[LineSplitter, Token[LineSplitter | None]]:
    """Send text printed in this context to `emit` from now on; end with `end_attempt_output`."""
    lines = LineSplitter(emit)
    return lines, _CURRENT_SINK.set(lines)


def end_attempt_output(capture: tuple[LineSplitter, Token[LineSplitter | None]]) -> None:
    """Stop sending printed text to the attempt, and emit its last line."""
    lines, token = capture
    _CURRENT_SINK.reset(token)
    lines.close()


@contextmanager
def capture_output(emit: Callable[[str], None]) -> Iterator[None]:
    """Capture printed text while the block runs; lines that belong to no attempt go to `emit`."""
    global _capture_count  # noqa: PLW0603 - the streams it counts for are the process's too
    lines, before = LineSplitter(emit), (sys.stdout, sys.stderr)
    stream = _CapturedStream(lines)
    sys.stdout = sys.stderr = stream
    _capture_count += 1
    try:
        yield
    finally:
        _capture_count -= 1
        sys.stdout, sys.stderr = before
        lines.close()
