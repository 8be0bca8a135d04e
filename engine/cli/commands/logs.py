"""`engine logs`: print the output of a run's tasks, by attempt."""

from __future__ import annotations

import argparse

from engine.cli.console import Console
from engine.cli.store_arguments import add_run, opened

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "print the output of the tasks of a run"
EXAMPLES = """\
  engine logs 3f2a           the output of all nodes
  engine logs 3f2a build     the output of `build`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine logs`."""
    add_run(parser)
    parser.add_argument("node", metavar="NODE", nargs="?", help="only the output of this node")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the lines, each with its step and attempt."""
    from engine.record.history import lines_of
    from engine.render.progress import short
    from engine.render.text import elapsed, printable

    with opened(arguments) as store:
        events = store.events(store.run(arguments.run).header.id)
    for event, attempt, line in lines_of(events, arguments.node):
        where = f"{short(event.path)} {attempt}"
        console.out(f"{elapsed(event.time):>7}  {printable(where)}  {printable(line)}")
    return 0
