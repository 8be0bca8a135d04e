"""Who a process is: its number, and when it began, so that another one that got its number is not taken for it.

Where there is no /proc, only whether the number is in use can be told.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

__all__ = ["began", "boot", "start_of"]


@cache
def boot() -> str:
    """What names this life of the machine; empty if the system does not tell."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def began(pid: int) -> str:
    """When a process began, in ticks since boot; empty if there is none, or it is dead and waits to be reaped."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return "" if os.path.isdir("/proc/self") else _signalled(pid)
    return "" if _fields(stat)[0] in "ZX" else start_of(stat)


def start_of(stat: str) -> str:
    """When a process began, by its line of /proc; without one as `began` says."""
    return _fields(stat)[19] if stat else "alive"


def _fields(stat: str) -> list[str]:
    """The fields from the state on: the name before it may hold anything."""
    return stat[stat.rfind(")") + 2 :].split()


def _signalled(pid: int) -> str:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "alive"
