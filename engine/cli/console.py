"""Print for the command line: results on standard output, everything else on standard error.

A closed pipe is not an error: what is written to it is lost, the status stays. The same holds for a
standard error that cannot be written to, since there is no other place to report it. Colours are for terminals, unless
NO_COLOR or FORCE_COLOR say otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from typing import TextIO

from engine.errors import EngineError
from engine.render.text import Styled, escape_unprintable, make_painter

__all__ = ["Console", "get_terminal_size"]


class Console:
    """The two output streams of a command; create it before anything is printed, and `close` it at the end."""

    def __init__(self) -> None:
        self._color: bool | None = None
        self._is_redirected = False
        self._stdout: TextIO | None = None
        for stream in (sys.stdout, sys.stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:  # a name may hold what the terminal's encoding does not
                reconfigure(errors="backslashreplace")

    @contextmanager
    def redirect_foreign_output(self) -> Iterator[None]:
        """While the block runs, send the output of other code and of child processes to standard error."""
        with _open_own_stream(sys.stdout) as own, redirect_stdout(sys.stderr):
            self._is_redirected, self._stdout = True, own
            try:
                yield
            finally:
                _write(own, "")
                self._is_redirected = False

    @property
    def stdout(self) -> TextIO | None:
        """The real standard output, also while other code's output is redirected."""
        return self._stdout if self._is_redirected else sys.stdout

    def set_color(self, color: bool | None) -> None:
        """Set the use of colours: never (False), or as the terminal and the environment say (None)."""
        self._color = color

    def print_output(self, text: str) -> None:
        """Print a text on standard output."""
        _write(self.stdout, text + "\n")

    def print_note(self, text: str) -> None:
        """Print a text on standard error; failures to write are ignored."""
        with suppress(EngineError):
            _write(sys.stderr, text + "\n")

    def print_error(self, message: str) -> None:
        """Print an error message on standard error."""
        paint = make_painter(self.can_use_color(sys.stderr))
        self.print_note(f"{paint(Styled('bad', 'error'))}: {escape_unprintable(message)}")

    def can_use_color(self, stream: TextIO | None = None) -> bool:
        """Return whether to write colours to a stream, by default standard output."""
        if self._color is not None or os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR", "0") not in ("", "0"):
            return True
        return is_terminal(stream or self.stdout)

    @property
    def encoding(self) -> str:
        """The encoding of standard output."""
        return getattr(sys.stdout, "encoding", None) or "utf-8"

    @property
    def width(self) -> int | None:
        """The columns of the terminal, or None if standard output is not a terminal."""
        stream = self.stdout
        return get_terminal_size(stream)[0] if stream is not None and _is_tty(stream) else None

    def close(self) -> None:
        """Flush both streams."""
        with suppress(EngineError):
            _write(sys.stderr, "")
        _write(sys.stdout, "")


def is_terminal(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that supports colours and cursor movements."""
    return _is_tty(stream) and os.environ.get("TERM") != "dumb"


def get_terminal_size(stream: TextIO) -> tuple[int, int]:
    """Return columns and lines of a terminal; 80 and 24 where it does not say."""
    try:
        found = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return 80, 24
    return found.columns or 80, found.lines or 24


def _is_tty(stream: TextIO | None) -> bool:
    return stream is not None and not stream.closed and stream.isatty()


@contextmanager
def _open_own_stream(stream: TextIO | None) -> Iterator[TextIO | None]:
    """Yield a private copy of a stream, while its descriptor points to standard error.

    A stream without a descriptor is yielded as it is.
    """
    try:
        if stream is None:
            raise ValueError
        stream.flush()
        number = stream.fileno()
        kept = os.dup(number)
        os.dup2(2, number)
    except (OSError, ValueError):  # closed, or a text in memory
        yield stream
        return
    own = open(kept, "w", encoding=stream.encoding, errors=stream.errors)  # noqa: SIM115 - closed below, whatever that says
    try:
        yield own
    finally:
        os.dup2(kept, number)
        with suppress(OSError):
            own.close()


def _write(stream: TextIO | None, text: str) -> None:
    if stream is None or stream.closed:
        return
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except OSError as error:
        _discard(stream)
        name = "standard error" if stream is sys.stderr else "standard output"
        raise EngineError(f"cannot write to {name}: {error.strerror}") from None


def _discard(stream: TextIO) -> None:
    """Send all that is buffered in the stream or written to it from now on to the null device."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
