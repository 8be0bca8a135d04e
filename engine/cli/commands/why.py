"""`engine why`: print the chain of causes behind the end of a node."""

from __future__ import annotations

import argparse

from engine.base.suggestions import nearest
from engine.cli.console import Console
from engine.cli.store_arguments import add_run, opened, seen
from engine.errors import InputError

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "explain why a node of a run ended as it did"
EXAMPLES = """\
  engine why 3f2a publish     publish skipped: needs build; build failed: exit 2
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine why`."""
    add_run(parser)
    parser.add_argument("node", metavar="NODE", help="the node")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the chain of causes, the root cause last."""
    from engine.render.text import printable

    with opened(arguments) as store:
        kept = store.run(arguments.run)
        result = seen(kept, store.events(kept.header.id))
    if arguments.node not in result.nodes:
        guess = nearest(arguments.node, result.nodes)
        cure = f", did you mean `{guess}`?" if guess else ""
        raise InputError((f"run `{kept.header.id}` has no node `{arguments.node}`{cure}",))
    for line in result.why(arguments.node):
        console.out(printable(line))
    return 0
