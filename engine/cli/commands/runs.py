"""`engine runs`: list the stored runs, latest first."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.cli.store_arguments import add_store_argument, open_store, parse_time_argument

if TYPE_CHECKING:
    from engine.journal.records import StoredRun

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "list stored runs"
EXAMPLES = """\
  engine runs                          the twenty latest runs
  engine runs --status interrupted     runs whose process died: continue them with `engine resume RUN`
  engine runs --pipeline article --since 2d
"""

STATUSES = ("running", "interrupted", "waiting", "succeeded", "failed", "cancelled")
_COLUMNS = ("run", "pipeline", "status", "started", "time", "why")
_STYLE_BY_STATUS = {
    "succeeded": "good",
    "failed": "bad",
    "cancelled": "odd",
    "interrupted": "odd",
    "running": "busy",
    "waiting": "busy",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine runs`."""
    parser.add_argument("--status", choices=STATUSES, help="only runs with this status")
    parser.add_argument("--pipeline", metavar="NAME", help="only runs of this pipeline")
    parser.add_argument(
        "--since",
        metavar="TIME",
        type=parse_time_argument,
        help="only runs started since this: 2d, 2026-11-26",
    )
    parser.add_argument(
        "--limit",
        metavar="N",
        type=_parse_limit,
        default=20,
        help="show at most N runs; default 20",
    )
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    add_store_argument(parser)


def _parse_limit(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"`{text}` is not a valid number of runs: write 1 or more")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the matching runs."""
    with open_store(arguments) as store:
        found = store.list_runs(arguments.pipeline, arguments.since)
    wanted = [kept for kept in found if arguments.status in (None, kept.display_status)]
    shown = wanted[: arguments.limit]
    if arguments.json:
        console.print_output(json.dumps([run_to_json(kept) for kept in shown], indent=2))
    elif not shown:
        console.print_note("no runs")
    else:
        for line in _format_table(shown, console):
            console.print_output(line)
        if len(wanted) > len(shown):
            console.print_note(f"{len(wanted) - len(shown)} more: use --limit")
    return 0


def run_to_json(stored: StoredRun) -> dict[str, Any]:
    """Return the JSON data that `--json` prints for a run."""
    header = stored.header
    return {
        "id": header.id,
        "pipeline": header.pipeline,
        "status": stored.display_status,
        "message": stored.message,
        "started": header.created,
        "ended": stored.ended,
        "spec": header.path,
        "key": header.key,
        "origin": header.origin,
        "holder": str(stored.holder) if stored.holder else None,
    }


def _format_table(stored_runs: list[StoredRun], console: Console) -> Iterator[str]:
    from engine.render.text import (
        Styled,
        escape_unprintable,
        format_elapsed_short,
        format_table,
        make_painter,
    )

    rows = [
        (
            kept.header.id,
            escape_unprintable(kept.header.pipeline),
            Styled(_STYLE_BY_STATUS[kept.display_status], kept.display_status),
            f"{datetime.fromtimestamp(kept.header.created):%Y-%m-%d %H:%M:%S}",
            format_elapsed_short(kept.ended - kept.header.created) if kept.ended else "",
            escape_unprintable(kept.message),
        )
        for kept in stored_runs
    ]
    return iter(
        format_table(
            _COLUMNS,
            rows,
            make_painter(console.can_use_color()),
            width=console.width,
            right=("time",),
        )
    )
