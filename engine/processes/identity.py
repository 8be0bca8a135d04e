"""Identify a process by its number and its start time.

The start time distinguishes it from a later process that got the same number. Without /proc, only whether the
number is in use is known.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

__all__ = ["boot_id", "parse_start_time", "start_time"]


@cache
def boot_id() -> str:
    """Return the identifier of the current boot of this machine; empty if the system has none."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def start_time(pid: int) -> str:
    """Return the start time of a process, in clock ticks since boot.

    Empty if there is no such process, or only a zombie that waits to be reaped; `"alive"` for a process that
    lives on a system without /proc.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "" if os.path.isdir("/proc/self") else _probe_by_signal(pid)
    return "" if _split_stat(stat)[0] in "ZX" else parse_start_time(stat)


def parse_start_time(stat: str) -> str:
    """Return the start time in a line of /proc/PID/stat; `"alive"` for an empty line, as `start_time` does."""
    return _split_stat(stat)[19] if stat else "alive"


def _split_stat(stat: str) -> list[str]:
    """Return the fields from the state on; the command name before them may contain blanks and parentheses."""
    return stat[stat.rfind(")") + 2 :].split()


def _probe_by_signal(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "alive"
