"""`engine why`: print the chain of causes behind the end of a node."""

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

SUMMARY = "explain why a node of a run ended as it did"
EXAMPLES = """\
  engine why 3f2a publish     publish skipped: needs `build`, which failed: exit 2
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine why`."""
    add_run_argument(parser)
    parser.add_argument("node", metavar="NODE", help="the node")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the chain of causes, the root cause last."""
    from engine.render.text import escape_unprintable

    with open_store(arguments) as store:
        kept = store.find_run(arguments.run)
        result = build_current_result(kept, store.read_events(kept.header.id))
    require_node(kept, result, arguments.node)
    for line in result.explain(arguments.node):
        console.print_output(escape_unprintable(line))
    return 0
