"""`engine resume`: go on with a run whose process died, where its journal ends; or from a node on."""

from __future__ import annotations

import argparse
from typing import Any

from engine.commands.again import add_again, once_more
from engine.commands.console import Console
from engine.errors import InputError

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "go on with a run, where its journal ends or from a node on"
EXAMPLES = """\
  engine resume 3f2a                      no attempt whose end was recorded runs again
  engine resume 3f2a --secrets .secrets   secrets are not kept: they are given again
  engine resume 3f2a --from build         `build` and all behind it run again
  engine resume 3f2a --mark build=0       the last attempt of `build` counts as exit 0

  exit status as of `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_again(parser)
    parser.add_argument(
        "--from", dest="start", metavar="NODE", help="run it and all behind it again"
    )
    parser.add_argument(
        "--mark",
        metavar="NODE=EXIT",
        action="append",
        default=[],
        help="let a node's last attempt have ended with another exit, a name or a number",
    )
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="go on though what has run means something else in the spec as it is now",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print what became of it."""
    from engine import stored

    wish: dict[str, Any] = {
        "start": arguments.start,
        "marks": _marks(arguments.mark),
        "accept_change": arguments.accept_change,
    }
    return once_more(stored.resume, wish, arguments, console)


def _marks(given: list[str]) -> dict[str, str]:
    problems = [f"`--mark {text}`: expected NODE=EXIT" for text in given if "=" not in text]
    if problems:
        raise InputError(tuple(problems))
    return dict(text.split("=", 1) for text in given)
