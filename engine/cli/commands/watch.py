"""`engine watch`: follow a run that goes on in another process."""

from __future__ import annotations

import argparse
import sys
import time

from engine.cli.console import Console
from engine.cli.store_arguments import (
    POLL_INTERVAL,
    add_run_argument,
    build_current_result,
    open_store,
)

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "follow a run live, from another terminal"
EXAMPLES = """\
  engine watch 3f2a     follow it until it ends; Ctrl-C does not cancel it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine watch`."""
    add_run_argument(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Show the run's events as they come, then its result; return the run's exit status."""
    from engine.cli.commands.run import EXIT_STATUSES
    from engine.cli.live_display import open_display
    from engine.record.history import read_node_names
    from engine.render import results

    with open_store(arguments) as store:
        kept = store.find_run(arguments.run)
        header = kept.header
        total = len(read_node_names(header.files.get(header.path, "")))
        shown, block = open_display(total, sys.stderr, console.can_use_color(sys.stderr))
        last, events = 0, []
        with block:
            while True:
                kept = store.find_run(header.id)
                for number, new in store.iter_events_after(header.id, last):
                    last = number
                    events += new
                    for event in new:
                        shown.show_event(event)
                if kept.holder is None:
                    break
                time.sleep(POLL_INTERVAL)  # a store sends no notifications
    result = build_current_result(kept, events)
    console.print_output(
        results.render_result(result, width=console.width, color=console.can_use_color())
    )
    if kept.display_status == "interrupted":
        console.print_note(f"its process died: continue it with `engine resume {header.id}`")
        return 1
    return EXIT_STATUSES[kept.status]
