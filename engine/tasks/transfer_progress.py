"""Progress of a transfer of bytes, reported once a second, so that a short transfer reports nothing."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from engine.sdk.context import Context

__all__ = ["REPORT_INTERVAL", "TransferProgress"]

REPORT_INTERVAL = 1.0
"""Seconds between two reports."""


class TransferProgress:
    """A counter of bytes, of `total` if known; usable from any thread."""

    def __init__(self, context: Context, total: int | None) -> None:
        self._context, self._total = context, total or None
        self._byte_count, self._last_report = 0, time.monotonic()

    def add(self, count: int) -> None:
        """Add a number of bytes, and report progress if it is due."""
        self._byte_count += count
        now = time.monotonic()
        if now - self._last_report >= REPORT_INTERVAL:
            self._last_report = now
            self._report()

    def count_chunks(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the chunks, and count their bytes."""
        for part in parts:
            yield part
            self.add(len(part))

    def _report(self) -> None:
        done, total = self._byte_count / 1e6, self._total
        if total is None or self._byte_count > total:
            self._context.note(f"{done:.1f} MB")
        else:
            self._context.report(self._byte_count / total, f"{done:.1f} of {total / 1e6:.1f} MB")
