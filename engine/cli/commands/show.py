"""`engine show`: print the result of a stored run, with its nodes and attempts, or its events."""

from __future__ import annotations

import argparse
import json

from engine.cli.console import Console
from engine.cli.store_arguments import add_run_argument, build_current_result, open_store

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "show a run: its nodes, and the reason each one ended"
EXAMPLES = """\
  engine show 3f2a            the summary that `engine run` prints, or the state so far
  engine show 3f2a --json     the result, with every attempt
  engine show 3f2a --events   the events, one JSON object per line
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine show`."""
    add_run_argument(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print the result as JSON")
    form.add_argument(
        "--events", action="store_true", help="print the events as JSON, one per line"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the result or the events of a run."""
    from engine.render import results

    with open_store(arguments) as store:
        kept = store.find_run(arguments.run)
        events = store.read_events(kept.header.id)
    if arguments.events:
        for event in events:
            console.print_output(json.dumps(event.to_json()))
        return 0
    result = build_current_result(kept, events)
    if arguments.json:
        console.print_output(results.result_to_json(result))
    else:
        notes = results.collect_notes(events)
        console.print_output(
            results.render_result(
                result, width=console.width, color=console.can_use_color(), notes=notes
            )
        )
    return 0
