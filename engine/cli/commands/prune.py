"""`engine prune`: delete stored runs that ended long ago."""

from __future__ import annotations

import argparse
import time

from engine.cli.console import Console
from engine.cli.store_arguments import add_store, ago, opened

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
        type=ago,
        required=True,
        help="delete runs that ended before this: 30d, 2026-01-01",
    )
    parser.add_argument("--pipeline", metavar="NAME", help="only runs of this pipeline")
    parser.add_argument("--dry-run", action="store_true", help="list the runs and delete nothing")
    add_store(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Delete the matching runs; runs that have not ended stay."""
    from engine.render.text import plural

    with opened(arguments) as store:
        old = [
            kept
            for kept in store.runs(arguments.pipeline)
            if kept.ended is not None and kept.ended < min(arguments.before, time.time())
        ]
        for kept in old:
            if arguments.dry_run:
                console.out(f"{kept.header.id}  {kept.header.pipeline}  {kept.status}")
            else:
                store.remove(kept.header.id)
        if not arguments.dry_run and old:
            store.tidy()
    console.note(f"{plural(len(old), 'run')} {'would be ' * arguments.dry_run}deleted")
    return 0
