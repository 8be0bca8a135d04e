"""`engine cancel`: request that a run stops, in whichever process it is."""

from __future__ import annotations

import argparse
import getpass
import time
from typing import TYPE_CHECKING

from engine.cli.console import Console
from engine.cli.store_arguments import (
    POLL_INTERVAL,
    UNFINISHED_STATUSES,
    add_run_argument,
    open_store,
    resolve_store,
)

if TYPE_CHECKING:
    from engine.journal.records import StoredRun
    from engine.journal.store import Store

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "cancel a run, from another terminal"
EXAMPLES = """\
  engine cancel 3f2a                        the run stops within its grace period
  engine cancel 3f2a --node load            only that node; nodes that need it are skipped
  engine cancel 3f2a --reason "wrong data"  store a reason
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine cancel`."""
    add_run_argument(parser)
    parser.add_argument("--node", metavar="NODE", help="cancel only this node")
    parser.add_argument("--reason", metavar="TEXT", help="the reason to store")
    parser.add_argument(
        "--wait",
        metavar="SECONDS",
        type=float,
        default=30.0,
        help="how long to wait for the run to end; default 30",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Request cancellation and wait for the end; return 1 if the run has not ended in time.

    A run that no process executes is ended by this command itself.
    """
    from engine import stored

    reason = arguments.reason or f"cancelled by {getpass.getuser()} with `engine cancel`"
    where = resolve_store(arguments)
    if arguments.node is not None:
        stored.cancel_node(arguments.run, arguments.node, reason, store=where)
        console.print_output(f"run {arguments.run}: `{arguments.node}` has been asked to stop")
        return 0
    result = stored.cancel(arguments.run, reason, store=where)
    if result is not None:
        console.print_output(f"run {result.id} {result.status}")
        return 0
    with open_store(arguments) as store:
        kept = _wait_until_ended(store, store.find_run(arguments.run).header.id, arguments.wait)
    if kept.status in UNFINISHED_STATUSES:
        console.print_error(
            f"run `{kept.header.id}` has been asked to stop and is still running: {kept.holder}"
        )
        return 1
    console.print_output(f"run {kept.header.id} {kept.status}")
    return 0


def _wait_until_ended(store: Store, id: str, seconds: float) -> StoredRun:
    """Return the stored run when it has ended, or after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        kept = store.find_run(id)
        if kept.status not in UNFINISHED_STATUSES or time.monotonic() >= until:
            return kept
        time.sleep(POLL_INTERVAL)  # a store sends no notifications
