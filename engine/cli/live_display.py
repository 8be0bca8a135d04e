"""Show a run on standard error: redrawn lines on a terminal, one line for each event elsewhere.

The cursor stays visible and no mode of the terminal is changed, so there is nothing to restore if
the process is killed. After a failed write the stream is not written to again, and the run goes on.
"""

from __future__ import annotations

import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TextIO

from engine.cli.console import get_terminal_size, is_terminal
from engine.record.events import Event
from engine.render.progress import PLAIN_SPINNER, SPINNER, ProgressView, format_event
from engine.render.text import escape_unprintable, make_painter

__all__ = ["Display", "LineDisplay", "LiveDisplay", "open_display"]

FRAME_INTERVAL = 0.1
"""Seconds between two frames."""


class LineDisplay:
    """Writes a line for each event as it happens."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def show_event(self, event: Event) -> None:
        """Write the line of an event, if it has one."""
        said = format_event(event)
        if said is not None:
            self.print_line(said)

    def suspend(self) -> None:
        """Do nothing: lines need not be suspended while the terminal is used otherwise."""

    def resume(self) -> None:
        """Do nothing: lines were not suspended."""

    def print_line(self, text: str) -> None:
        """Write a line that belongs to no event."""
        if self._stream is not None and not _try_write(
            self._stream, escape_unprintable(text) + "\n"
        ):
            self._stream = None


class LiveDisplay:
    """Redraws the progress of a run from its own thread, while the block runs.

    It clears what it drew at the end.
    """

    def __init__(self, total: int, stream: TextIO, color: bool) -> None:
        self._view, self._stream, self._paint = ProgressView(total), stream, make_painter(color)
        self._spinner = SPINNER if "utf" in (stream.encoding or "").lower() else PLAIN_SPINNER
        self._lock, self._stopped = threading.Lock(), threading.Event()
        self._drawing_lock = threading.Lock()
        self._thread = threading.Thread(target=self._draw_frames, name="progress", daemon=True)
        self._start: float | None = None
        self._drawn_lines = 0
        self._pending_lines: list[str] = []

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()
        _try_write(self._stream, self._cursor_to_start() + self._take_pending() + "\x1b[J")

    def show_event(self, event: Event) -> None:
        """Update the view with an event."""
        with self._lock:
            if self._start is None:
                self._start = time.monotonic() - event.time
            self._view.add_event(event)

    def suspend(self) -> None:
        """Erase what is drawn, and draw nothing until `resume`."""
        self._drawing_lock.acquire()
        _try_write(self._stream, self._cursor_to_start() + self._take_pending() + "\x1b[J")
        self._drawn_lines = 0

    def resume(self) -> None:
        """Draw again after `suspend`."""
        self._drawing_lock.release()

    def print_line(self, text: str) -> None:
        """Print a line that belongs to no event, above the redrawn lines; it stays."""
        with self._lock:
            self._pending_lines.append(escape_unprintable(text))

    def _draw_frames(self) -> None:
        frame = 0
        while not self._stopped.wait(FRAME_INTERVAL):
            with self._drawing_lock:
                self._draw(self._spinner[frame % len(self._spinner)])
            frame += 1

    def _draw(self, spinner: str) -> None:
        width, height = get_terminal_size(self._stream)
        with self._lock:
            now = 0.0 if self._start is None else time.monotonic() - self._start
            lines = self._view.render_frame(now, width, height, spinner)
        painted = ("".join(map(self._paint, pieces)) for pieces in lines)
        text = (
            self._cursor_to_start()
            + self._take_pending()
            + "".join(f"{each}\x1b[K\n" for each in painted)
            + "\x1b[J"
        )
        if not _try_write(self._stream, text):
            self._stopped.set()
        self._drawn_lines = len(lines)

    def _take_pending(self) -> str:
        """Return the pending permanent lines, and forget them."""
        with self._lock:
            said, self._pending_lines = self._pending_lines, []
        return "".join(f"{each}\x1b[K\n" for each in said)

    def _cursor_to_start(self) -> str:
        """Return the escape sequence that moves to the start of the first drawn line."""
        return f"\x1b[{self._drawn_lines}A\r" if self._drawn_lines else "\r"


Display = LineDisplay | LiveDisplay


def open_display(
    total: int, stream: TextIO | None, color: bool
) -> tuple[Display, AbstractContextManager[None]]:
    """Return the display for a run of `total` nodes, and the block to run it in."""
    if stream is not None and is_terminal(stream):
        live = LiveDisplay(total, stream, color)
        return live, live
    return LineDisplay(stream), nullcontext()


def _try_write(stream: TextIO, text: str) -> bool:
    try:
        stream.write(text)
        stream.flush()
    except (OSError, ValueError):
        return False
    return True
