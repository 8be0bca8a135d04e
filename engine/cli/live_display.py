"""Show a run on standard error: redrawn lines on a terminal, one line for each event elsewhere.

The cursor stays visible and no mode of the terminal is changed, so there is nothing to restore if
the process is killed. After a failed write the stream is not written to again, and the run goes on.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from engine.cli.console import is_terminal, size
from engine.record.events import Event
from engine.render.progress import PLAIN_SPINNER, SPINNER, Board, line
from engine.render.text import painter, printable

__all__ = ["Display", "Lines", "Live", "display"]

PAUSE = 0.1
"""Seconds between two frames."""


class Lines:
    """Writes a line for each event as it happens."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def feed(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        said = line(event)
        if said is not None:
            self.say(said)

    def hold(self) -> None:
        """Do nothing: lines need not be suspended while the terminal is used otherwise."""

    def go_on(self) -> None:
        """Do nothing: lines were not suspended."""

    def say(self, text: str) -> None:
        """Write a line that belongs to no event."""
        if self._stream is not None and not _written(self._stream, printable(text) + "\n"):
            self._stream = None


class Live:
    """Redraws the progress of a run from its own thread, while the block runs; it clears what it drew at the end."""

    def __init__(self, total: int, stream: TextIO, color: bool) -> None:
        self._board, self._stream, self._paint = Board(total), stream, painter(color)
        self._spinner = SPINNER if "utf" in (stream.encoding or "").lower() else PLAIN_SPINNER
        self._lock, self._over = threading.Lock(), threading.Event()
        self._held = threading.Lock()
        self._thread = threading.Thread(target=self._draw_on, name="progress", daemon=True)
        self._start: float | None = None
        self._drawn = 0
        self._said: list[str] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()
        _written(self._stream, self._back() + self._take() + "\x1b[J")

    def feed(self, event: Event) -> None:
        """Update the view with an event."""
        with self._lock:
            if self._start is None:
                self._start = time.monotonic() - event.time
            self._board.feed(event)

    def hold(self) -> None:
        """Erase what is drawn, and draw nothing until `resume`."""
        self._held.acquire()
        _written(self._stream, self._back() + self._take() + "\x1b[J")
        self._drawn = 0

    def go_on(self) -> None:
        """Draw again after `suspend`."""
        self._held.release()

    def say(self, text: str) -> None:
        """Print a line that belongs to no event, above the redrawn lines; it stays."""
        with self._lock:
            self._said.append(printable(text))

    def _draw_on(self) -> None:
        frame = 0
        while not self._over.wait(PAUSE):
            with self._held:
                self._draw(self._spinner[frame % len(self._spinner)])
            frame += 1

    def _draw(self, spin: str) -> None:
        width, height = size(self._stream)
        with self._lock:
            now = 0.0 if self._start is None else time.monotonic() - self._start
            lines = self._board.frame(now, width, height, spin)
        painted = ("".join(map(self._paint, pieces)) for pieces in lines)
        text = (
            self._back() + self._take() + "".join(f"{each}\x1b[K\n" for each in painted) + "\x1b[J"
        )
        if not _written(self._stream, text):
            self._over.set()
        self._drawn = len(lines)

    def _take(self) -> str:
        """Return the pending permanent lines, and forget them."""
        with self._lock:
            said, self._said = self._said, []
        return "".join(f"{each}\x1b[K\n" for each in said)

    def _back(self) -> str:
        """Return the escape sequence that moves to the start of the first drawn line."""
        return f"\x1b[{self._drawn}A\r" if self._drawn else "\r"


Display = Lines | Live


def display(
    total: int, stream: TextIO | None, color: bool
) -> tuple[Display, AbstractContextManager[None]]:
    """Return the display for a run of `total` nodes, and the block to run it in."""
    if stream is not None and is_terminal(stream):
        live = Live(total, stream, color)
        return live, live
    return Lines(stream), nullcontext()


def _written(stream: TextIO, text: str) -> bool:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        return False
    return True
