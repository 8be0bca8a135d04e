"""Progress of a transfer of bytes, reported once a second, so that a short transfer reports nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from engine.sdk.context import Context

__all__ = ["EVERY", "Progress"]

EVERY = 1.0
"""Seconds between two reports."""


class Progress:
    """A counter of bytes, of `total` if known; usable from any thread."""

    def __init__(self, context: Context, total: int | None) -> None:
        self._context, self._total = context, total or None
        self._done, self._last = 0, time.monotonic()

    def add(self, count: int) -> None:
        """Add a number of bytes, and report progress if it is due."""
        self._done += count
        now = time.monotonic()
        if now - self._last >= EVERY:
            self._last = now
            self._tell()

    def through(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks, and count their bytes."""
        for part in parts:
            yield part
            self.add(len(part))

    def _tell(self) -> None:
        done, total = self._done / 1e6, self._total
        if total is None or self._done > total:
            self._context.note(f"{done:.1f} MB")
        else:
            self._context.report(self._done / total, f"{done:.1f} of {total / 1e6:.1f} MB")
