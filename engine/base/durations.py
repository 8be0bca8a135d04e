"""Converts between durations such as `"1h30m"` and seconds.

A duration is a string of numbers with units, larger units first. Source: docs/language.md, "A document".
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["MAX_DURATION", "format_duration", "parse_duration", "round_to_nanoseconds"]

_UNIT_SECONDS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_UNIT_NANOSECONDS = {unit: size * 1_000_000_000 for unit, size in _UNIT_SECONDS.items()} | {
    "ms": 1_000_000
}
_UNIT_ORDER = {unit: rank for rank, unit in enumerate(_UNIT_NANOSECONDS)}
_PART = re.compile(r"([0-9]+)(?:\.([0-9]+))?(ms|[dhms])")
MAX_DURATION = 366 * 86_400.0
"""The longest time that anything in a spec may wait or run, in seconds: a year of 366 days."""


def round_to_nanoseconds(seconds: float) -> float:
    """Round a time of a run to whole nanoseconds, so that events due at one instant compare equal."""
    return int(seconds * 1e9 + 0.5) / 1e9


@lru_cache(maxsize=512)
def parse_duration(text: str) -> float:
    """Return the seconds that a duration such as `"1h30m"`, `"1.5s"` or `"250ms"` means, exact to the nanosecond.

    Raises ValueError with a message for the user where the text is not a duration or is longer than a year.
    """
    total, at, last = 0, 0, -1
    for part in _PART.finditer(text):
        rank = _UNIT_ORDER[part[3]]
        if part.start() != at or rank <= last:
            break
        fraction = int((part[2] or "0")[:9].ljust(9, "0"))
        size = _UNIT_NANOSECONDS[part[3]]
        total += int(part[1].lstrip("0")[:18] or 0) * size + fraction * size // 1_000_000_000
        at, last = part.end(), rank
    if not text or at != len(text):
        raise ValueError(f'`{text}` is not a duration such as "250ms", "1.5s" or "1h30m"')
    if total > MAX_DURATION * 1_000_000_000:
        raise ValueError(f"`{text}` is longer than a year")
    return total / 1_000_000_000


def format_duration(seconds: float) -> str:
    """Return a duration string that parses back to `seconds`, exact to the nanosecond."""
    # In whole numbers: a product of floats would be nanoseconds off for long durations.
    above, below = seconds.as_integer_ratio()
    rest = (2 * above * 1_000_000_000 + below) // (2 * below)
    parts = []
    for unit in ("d", "h", "m"):
        count, rest = divmod(rest, _UNIT_NANOSECONDS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest and rest < _UNIT_NANOSECONDS["s"] and not parts:
        parts.append(_format_decimal(rest, _UNIT_NANOSECONDS["ms"]) + "ms")
    elif rest or not parts:
        parts.append(_format_decimal(rest, _UNIT_NANOSECONDS["s"]) + "s")
    return "".join(parts)


def _format_decimal(nanos: int, unit: int) -> str:
    whole, rest = divmod(nanos, unit)
    digits = str(unit + rest)[1:].rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)
