"""Pauses the garbage collector while a spec is read and checked.

Objects made then stay alive, or are freed by their reference counts: scanning them again and again finds nothing, and
took a quarter of the time for large files.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["gc_paused"]


@contextmanager
def gc_paused() -> Iterator[None]:
    """Disable garbage collection inside the `with` block and restore its state afterwards."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
