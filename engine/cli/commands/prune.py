"""`engine prune`: delete stored runs that ended long ago."""

from __future__ import annotations

import argparse
import time

from engine.cli.console import Console
from engine.cli.store_arguments import add_store_argument, open_store, parse_time_argument

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "delete runs that have ended"
EXAMPLES = """\
  engine prune --before 30d             delete runs that ended more than 30 days ago
  engine prune --before 2026-01-01 --dry-run
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine prune`."""
    parser.add_argument(
        "--before",
        metavar="TIME",
        type=parse_time_argument,
        required=True,
        help="delete runs that ended before this: 30d, 2026-01-01",
    )
    parser.add_argument("--pipeline", metavar="NAME", help="only runs of this pipeline")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and delete nothing")
    add_store_argument(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Delete the matching runs; runs that have not ended stay."""
    from engine.render.text import format_count

    with open_store(arguments) as store:
        old = [
            kept
            for kept in store.list_runs(arguments.pipeline)
            if kept.ended is not None and kept.ended < min(arguments.before, time.time())
        ]
        for kept in old:
            if arguments.dry_run:
                console.print_output(f"{kept.header.id}  {kept.header.pipeline}  {kept.status}")
            else:
                store.remove(kept.header.id)
        if not arguments.dry_run and old:
            store.vacuum()
    console.print_note(f"{format_count(len(old), 'run')} {'would be ' * arguments.dry_run}deleted")
    return 0
