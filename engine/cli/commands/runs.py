"""`engine runs`: list the stored runs, latest first."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.cli.store_arguments import add_store, ago, opened

if TYPE_CHECKING:
    from engine.journal.records import Kept

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "list stored runs"
EXAMPLES = """\
  engine runs                          the twenty latest runs
  engine runs --status interrupted     runs whose process died: continue them with `engine resume RUN`
  engine runs --pipeline article --since 2d
"""

STATUSES = ("running", "interrupted", "waiting", "succeeded", "failed", "cancelled")
_HEAD = ("run", "pipeline", "status", "started", "time", "why")
_STYLES = {
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
        "--since", metavar="TIME", type=ago, help="only runs started since this: 2d, 2026-11-26"
    )
    parser.add_argument(
        "--limit", metavar="N", type=int, default=20, help="show at most N runs; default 20"
    )
    parser.add_argument("--json", action="store_true", help="print the runs as JSON")
    add_store(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the matching runs."""
    with opened(arguments) as store:
        found = store.runs(arguments.pipeline, arguments.since)
    wanted = [kept for kept in found if arguments.status in (None, kept.shown)]
    shown = wanted[: arguments.limit]
    if arguments.json:
        console.out(json.dumps([as_json(kept) for kept in shown], indent=2))
    elif not shown:
        console.note("no runs")
    else:
        for line in _table(shown, console):
            console.out(line)
        if len(wanted) > len(shown):
            console.note(f"{len(wanted) - len(shown)} more: use --limit")
    return 0


def as_json(kept: Kept) -> dict[str, Any]:
    """Return the JSON data that `--json` prints for a run."""
    header = kept.header
    return {
        "id": header.id,
        "pipeline": header.pipeline,
        "status": kept.shown,
        "message": kept.message,
        "started": header.created,
        "ended": kept.ended,
        "spec": header.path,
        "key": header.key,
        "origin": header.origin,
        "holder": str(kept.holder) if kept.holder else None,
    }


def _table(shown: list[Kept], console: Console) -> Iterator[str]:
    from engine.render.text import Styled, duration, painter, printable, table

    rows = [
        (
            kept.header.id,
            printable(kept.header.pipeline),
            Styled(_STYLES[kept.shown], kept.shown),
            f"{datetime.fromtimestamp(kept.header.created):%Y-%m-%d %H:%M:%S}",
            duration(kept.ended - kept.header.created) if kept.ended else "",
            printable(kept.message),
        )
        for kept in shown
    ]
    return iter(
        table(_HEAD, rows, painter(console.colored()), width=console.width, right=("time",))
    )
