"""`engine rerun`: a new run that takes over what succeeded in an earlier one."""

from __future__ import annotations

import argparse

from engine.cli.console import Console
from engine.cli.resumed_run import add_again, once_more

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "run again, and take over what succeeded"
EXAMPLES = """\
  engine rerun 3f2a               what did not succeed, and all behind it
  engine rerun 3f2a --from build  `build` and all behind it
  engine rerun 3f2a --only build  `build` alone

  a new run with the same inputs, linked to the old; exit status as of `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_again(parser)
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--from", dest="start", metavar="NODE", help="run it and all behind it again")
    part.add_argument("--only", metavar="NODE", help="run it again, and nothing else")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print what became of it."""
    from engine import stored

    wish = {"start": arguments.start, "only": arguments.only}
    return once_more(stored.rerun, wish, arguments, console)
