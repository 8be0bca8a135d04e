"""Shared parts of the commands about stored runs: the store, the run, and its result."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from engine.base.suggestions import closest_match
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.journal.records import StoredRun
    from engine.journal.store import Store
    from engine.record.events import Event
    from engine.record.result import Result, UnfinishedStatus

__all__ = [
    "POLL_INTERVAL",
    "UNFINISHED_STATUSES",
    "add_run_argument",
    "add_store_argument",
    "build_current_result",
    "open_store",
    "parse_time",
    "parse_time_argument",
    "require_node",
    "resolve_store",
]

POLL_INTERVAL = 0.1
"""Seconds between two polls of a run in another process: a store sends no notifications."""
UNFINISHED_STATUSES = ("running", "waiting")
"""The statuses of runs that have not ended."""
_SECONDS_PER_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def add_store_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the store."""
    parser.add_argument(
        "--store",
        metavar="PATH_OR_URL",
        help="where runs are stored; default: `store` of [tool.engine], else a file under the user's state directory",
    )


def add_run_argument(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a run and its store."""
    parser.add_argument("run", metavar="RUN", help="the id of a run, or a prefix of it")
    add_store_argument(parser)


def resolve_store(arguments: argparse.Namespace, near: str = "pyproject.toml") -> str:
    """Return the store that the arguments name, else that of the settings near a file, else the user's."""
    from engine.journal.databases import find_default_store
    from engine.settings import find_settings

    if arguments.store == "":  # as after `--store "$UNSET"`
        raise InputError(("`--store`: expected a path or a URL, found an empty text",))
    found: str = arguments.store or find_settings(near).store or find_default_store()
    return found


def open_store(arguments: argparse.Namespace) -> Store:
    """Open the store that the arguments name."""
    from engine.journal.store import Store

    return Store(resolve_store(arguments))


def build_current_result(stored: StoredRun, events: list[Event]) -> Result:
    """Return the result of a run as far as it has come."""
    from engine.record.history import read_node_names, result_from_events

    header = stored.header
    names = read_node_names(header.files.get(header.path, ""))
    unended: dict[str, UnfinishedStatus] = {"interrupted": "interrupted", "waiting": "waiting"}
    return result_from_events(events, unended.get(stored.display_status, "running"), names)


def require_node(stored: StoredRun, result: Result, node: str) -> None:
    """Raise InputError unless a run has a node."""
    if node not in result.nodes:
        guess = closest_match(node, result.nodes)
        hint = f", did you mean `{guess}`?" if guess else ""
        raise InputError((f"run `{stored.header.id}` has no node `{node}`{hint}",))


def parse_time(text: str) -> float:
    """Return a time in seconds since 1970, given as an age (`90m`, `2d`) or a date (`2026-11-26`).

    Raises ValueError for any other text.
    """
    from datetime import datetime

    if text and text[-1] in _SECONDS_PER_UNIT and text[:-1].replace(".", "", 1).isdigit():
        return time.time() - float(text[:-1]) * _SECONDS_PER_UNIT[text[-1]]
    return datetime.fromisoformat(text).astimezone().timestamp()


def parse_time_argument(text: str) -> float:
    """Parse a time as `parse_time` does, with errors for argparse."""
    try:
        return parse_time(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"`{text}` is not a valid time: write how long ago, such as 2d, or a date, such as 2026-11-26"
        ) from None
