"""`engine resume`: go on with a run whose process died, where its journal ends."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from engine.commands.console import Console
from engine.commands.inputs import read_secrets, seconds
from engine.commands.keeping import add_run, opened, store_of
from engine.commands.run import Both, show

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "go on with a run whose process died"
EXAMPLES = """\
  engine resume 3f2a                      no attempt whose end was recorded runs again
  engine resume 3f2a --secrets .secrets   secrets are not kept: they are given again

  exit status as of `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--secrets", metavar="FILE", help="secrets as NAME=VALUE lines")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help="how long a cancelled attempt may take to end; default 5",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print what became of it."""
    from engine import stored
    from engine.commands.display import display
    from engine.history import node_names
    from engine.prints import hearing
    from engine.render.progress import Notes

    with opened(arguments) as store:
        header = store.run(arguments.run).header
    notes = Notes()
    total = len(node_names(header.files.get(header.path, "")))
    options: dict[str, Any] = {}
    if arguments.secrets is not None:
        options["secrets"] = read_secrets(arguments.secrets)
    if arguments.grace is not None:
        options["grace"] = seconds(arguments.grace)
    shown, block = display(total, sys.stderr, console.colored(sys.stderr))
    with block, hearing(shown.say):
        result = stored.resume(
            header.id, store=store_of(arguments), on_event=Both(shown, notes), **options
        )
    return show(result, arguments, console, notes)
