"""Limits of a TOML text beyond TOML's own rules, and a quick check of them.

`syntax_errors` finds and describes the value that exceeds a limit.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["MAX_DEPTH", "may_exceed_limits"]

MAX_DEPTH = 100
"""Maximum number of keys that lead to a table or an array.

It lets any code that walks a spec use recursion.
"""

_LONG_LITERAL = re.compile(r"0[xob](?<=\b0.)\w{3500}")


def may_exceed_limits(text: str, data: dict[str, Any]) -> bool:
    """Return whether accepted data may exceed the limits; `find_excess` decides."""
    return _LONG_LITERAL.search(text) is not None or _is_deep(data)


def _is_deep(data: dict[str, Any]) -> bool:
    level: list[Any] = [data]
    for _ in range(MAX_DEPTH + 1):
        inside = (c.values() if type(c) is dict else c for c in level)
        level = [value for values in inside for value in values if type(value) in (dict, list)]
    return bool(level)
