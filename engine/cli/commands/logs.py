"""`engine logs`: print the output of a run's tasks, by attempt."""

from __future__ import annotations

import argparse

from engine.cli.console import Console
from engine.cli.store_arguments import (
    add_run_argument,
    build_current_result,
    open_store,
    require_node,
)

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "print the output of the tasks of a run"
EXAMPLES = """\
  engine logs 3f2a           the output of all nodes
  engine logs 3f2a build     the output of `build`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine logs`."""
    add_run_argument(parser)
    parser.add_argument("node", metavar="NODE", nargs="?", help="only the output of this node")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the lines, each with its step and attempt."""
    from engine.record.history import iter_log_lines
    from engine.render.progress import shorten_path
    from engine.render.text import escape_unprintable, format_elapsed
    from engine.scheduling.carry_over import main_node_of

    with open_store(arguments) as store:
        stored = store.find_run(arguments.run)
        events = store.read_events(stored.header.id)
    if arguments.node is not None:
        result = build_current_result(stored, events)
        require_node(stored, result, main_node_of(arguments.node))
    for event, attempt, line in iter_log_lines(events, arguments.node):
        where = f"{shorten_path(event.path)} {attempt}"
        console.print_output(
            f"{format_elapsed(event.time):>7}  {escape_unprintable(where)}  {escape_unprintable(line)}"
        )
    return 0
