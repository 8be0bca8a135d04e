"""`engine rerun`: start a new run that carries over the successes of an earlier one."""

from __future__ import annotations

import argparse

from engine.cli.console import Console
from engine.cli.resumed_run import add_resume_arguments, run_again

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "run again, and reuse the results of nodes that succeeded"
EXAMPLES = """\
  engine rerun 3f2a               run nodes that did not succeed, and all that depend on them
  engine rerun 3f2a --from build  run `build` and all nodes that depend on it
  engine rerun 3f2a --only build  run only `build`

  a new run with the same inputs, linked to the old one; exit status as for `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine rerun`."""
    add_resume_arguments(parser)
    part = parser.add_mutually_exclusive_group()
    part.add_argument(
        "--from", dest="start", metavar="NODE", help="run this node and all nodes that depend on it"
    )
    part.add_argument("--only", metavar="NODE", help="run only this node")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print its result, and return the exit status."""
    from engine import stored

    wish = {"start": arguments.start, "only": arguments.only}
    return run_again(stored.rerun, wish, arguments, console)
