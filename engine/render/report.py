"""Report: what a check has found, and what the formats of `engine check` need besides."""

from __future__ import annotations

import attrs

from engine.diagnostics import Diagnostics

__all__ = ["Report"]


@attrs.frozen
class Report:
    """Findings, the `files` that were checked, and why others could not be."""

    found: Diagnostics
    files: tuple[str, ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    """Path and message of each."""
    color: bool = False
    encoding: str = "utf-8"
    """Of the stream it is written to."""
