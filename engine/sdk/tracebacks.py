"""Where in the user's code an exception comes from."""

from __future__ import annotations

import os
import sysconfig
import traceback
from functools import lru_cache

__all__ = ["is_users", "raised_at"]

_ENGINE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def raised_at(error: BaseException) -> str | None:
    """`file.py:5`: the innermost line of the user's own code, libraries left out; None if there is none."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if is_users(frame.f_code.co_filename):
            found = f"{os.path.basename(frame.f_code.co_filename)}:{line}"
    return found


def is_users(filename: str) -> bool:
    """Whether a file is neither the engine's nor a library's, nor no file at all."""
    return not filename.startswith(("<", _ENGINE, *_libraries()))


@lru_cache(maxsize=1)
def _libraries() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = (sysconfig.get_paths().get(name) for name in names)
    return tuple(os.path.join(path, "") for path in paths if path)
