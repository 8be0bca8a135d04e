"""`engine cancel`: ask a run, in whatever process it is, to stop."""

from __future__ import annotations

import argparse
import getpass
import time

from engine.commands.console import Console
from engine.commands.keeping import add_run, opened, store_of

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "cancel a run, from another terminal"
EXAMPLES = """\
  engine cancel 3f2a                        it stops within its grace period
  engine cancel 3f2a --reason "wrong data"  the record says why
"""

_PAUSE = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run(parser)
    parser.add_argument("--reason", metavar="TEXT", help="what the record says")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=30.0,
        help="how long to wait for its end; default 30",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Ask, and wait for the end; 1 if it has not come. A run that nobody runs ends here."""
    from engine import stored

    reason = arguments.reason or f"cancelled by {getpass.getuser()} with `engine cancel`"
    where = store_of(arguments)
    result = stored.cancel(arguments.run, reason, store=where)
    if result is not None:
        console.out(f"run {result.id} {result.status}")
        return 0
    with opened(arguments) as store:
        id = store.run(arguments.run).header.id
        until = time.monotonic() + arguments.wait
        while time.monotonic() < until:
            kept = store.run(id)
            if kept.status not in ("running", "waiting"):
                console.out(f"run {id} {kept.status}")
                return 0
            time.sleep(_PAUSE)
    console.error(f"run `{id}` has been asked and goes on: {kept.holder}")
    return 1
