"""The garbage collector, at rest while a spec is read and checked.

What is made then is kept, or goes by itself: looking through it again and again finds nothing, and
took a quarter of the time for large files.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collecting"]


@contextmanager
def without_collecting() -> Iterator[None]:
    """No garbage collection inside; the collector is left as it was."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
