"""Find where in the user's code an exception was raised."""

from __future__ import annotations

import os
import sysconfig
import traceback
from functools import lru_cache

__all__ = ["find_user_location", "is_user_code"]

_ENGINE_PREFIX = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")


def find_user_location(error: BaseException) -> str | None:
    """Return the innermost line of the user's own code as `file.py:5`; None if there is none.

    Lines of the engine and of libraries are left out.
    """
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        if is_user_code(frame.f_code.co_filename):
            found = f"{os.path.basename(frame.f_code.co_filename)}:{line}"
    return found


def is_user_code(filename: str) -> bool:
    """Return whether a file belongs to the user: to neither the engine nor a library, and a real file."""
    return not filename.startswith(("<", _ENGINE_PREFIX, *_list_library_prefixes()))


@lru_cache(maxsize=1)
def _list_library_prefixes() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = (sysconfig.get_paths().get(name) for name in names)
    return tuple(os.path.join(path, "") for path in paths if path)
