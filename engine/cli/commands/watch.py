"""`engine watch`: follow a run that goes on in another process."""

from __future__ import annotations

import argparse
import sys
import time

from engine.cli.console import Console
from engine.cli.store_arguments import PAUSE, add_run, opened, seen

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "follow a run live, from another terminal"
EXAMPLES = """\
  engine watch 3f2a     follow it until it ends; Ctrl-C does not cancel it
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine watch`."""
    add_run(parser)


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Show the run's events as they come, then its result; return the run's exit status."""
    from engine.cli.commands.run import STATUS
    from engine.cli.live_display import display
    from engine.record.history import node_names
    from engine.render import results

    with opened(arguments) as store:
        kept = store.run(arguments.run)
        header = kept.header
        total = len(node_names(header.files.get(header.path, "")))
        shown, block = display(total, sys.stderr, console.colored(sys.stderr))
        last, events = 0, []
        with block:
            while True:
                kept = store.run(header.id)
                for number, new in store.since(header.id, last):
                    last = number
                    events += new
                    for event in new:
                        shown.feed(event)
                if kept.holder is None:
                    break
                time.sleep(PAUSE)  # a store tells nobody that it changed
    result = seen(kept, events)
    console.out(results.report(result, width=console.width, color=console.colored()))
    if kept.shown == "interrupted":
        console.note(f"its process died: continue it with `engine resume {header.id}`")
        return 1
    return STATUS[kept.status]
