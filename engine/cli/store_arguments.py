"""What the commands about stored runs share: the store, the run, and its result."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.journal.records import Kept
    from engine.journal.store import Store
    from engine.record.events import Event
    from engine.record.result import Result, Unended

__all__ = ["GOING", "PAUSE", "add_run", "add_store", "age", "ago", "opened", "seen", "store_of"]

PAUSE = 0.1
"""Seconds between two polls of a run in another process: a store sends no notifications."""
GOING = ("running", "waiting")
"""The statuses of runs that have not ended."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the store."""
    parser.add_argument(
        "--store",
        metavar="PATH_OR_URL",
        help="where runs are stored; default: `store` of [tool.engine], else a file under the user's state directory",
    )


def add_run(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a run and its store."""
    parser.add_argument("run", metavar="RUN", help="the id of a run, or a prefix of it")
    add_store(parser)


def store_of(arguments: argparse.Namespace, beside: str = "pyproject.toml") -> str:
    """Return the store that the arguments name, else that of the settings near a file, else the user's."""
    from engine.journal.databases import default_store
    from engine.settings import settings_for

    found: str = arguments.store or settings_for(beside).store or default_store()
    return found


def opened(arguments: argparse.Namespace) -> Store:
    """Open the store that the arguments name."""
    from engine.journal.store import Store

    return Store(store_of(arguments))


def seen(kept: Kept, events: list[Event]) -> Result:
    """Return the result of a run as far as it has come."""
    from engine.record.history import history, node_names

    header = kept.header
    names = node_names(header.files.get(header.path, ""))
    unended: dict[str, Unended] = {"interrupted": "interrupted", "waiting": "waiting"}
    return history(events, unended.get(kept.shown, "running"), names)


def age(text: str) -> float:
    """Return a time in seconds since 1970, given as an age (`90m`, `2d`) or a date (`2026-11-26`).

    Raises ValueError for any other text.
    """
    from datetime import datetime

    if text and text[-1] in _UNITS and text[:-1].replace(".", "", 1).isdigit():
        return time.time() - float(text[:-1]) * _UNITS[text[-1]]
    return datetime.fromisoformat(text).astimezone().timestamp()


def ago(text: str) -> float:
    """Parse a time as `parse_time` does, with errors for argparse."""
    try:
        return age(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a valid time: write how long ago, such as 2d, or a date, such as 2026-11-26"
        ) from None
