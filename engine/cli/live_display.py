"""Shows a run on standard error while it goes on: lines redrawn on a terminal, a line an event
anywhere else.

The cursor stays visible and no mode of the terminal is changed, so there is nothing to restore if
the process is killed. A stream that cannot be written to is written to no more: nobody looks, and
the run goes on.
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
        """An event has happened."""
        said = line(event)
        if said is not None:
            self.say(said)

    def hold(self) -> None:
        """Let something else use the terminal."""

    def go_on(self) -> None:
        """It is ours again."""

    def say(self, text: str) -> None:
        """Show a line that belongs to no event."""
        if self._stream is not None and not _written(self._stream, printable(text) + "\n"):
            self._stream = None


class Live:
    """Redraws what goes on, from a thread of its own, while the block runs; leaves nothing
    behind."""

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
        """An event has happened."""
        with self._lock:
            if self._start is None:
                self._start = time.monotonic() - event.time
            self._board.feed(event)

    def hold(self) -> None:
        """Take what is drawn away, and draw nothing more for now."""
        self._held.acquire()
        _written(self._stream, self._back() + self._take() + "\x1b[J")
        self._drawn = 0

    def go_on(self) -> None:
        """Draw again."""
        self._held.release()

    def say(self, text: str) -> None:
        """Show a line that belongs to no event, above what is redrawn; it stays."""
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
        """The lines that are to stay."""
        with self._lock:
            said, self._said = self._said, []
        return "".join(f"{each}\x1b[K\n" for each in said)

    def _back(self) -> str:
        """To the beginning of the first line that was drawn."""
        return f"\x1b[{self._drawn}A\r" if self._drawn else "\r"


Display = Lines | Live


def display(
    total: int, stream: TextIO | None, color: bool
) -> tuple[Display, AbstractContextManager[None]]:
    """What to feed with the events of a run of `total` nodes, and the block to run it in."""
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
