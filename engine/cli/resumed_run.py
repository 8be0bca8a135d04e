"""What `engine resume` and `engine rerun` share: arguments, secrets, and the display of the run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.commands.run import Both, show
from engine.cli.console import Console
from engine.cli.run_arguments import read_secrets, seconds
from engine.cli.store_arguments import add_run, opened, store_of

if TYPE_CHECKING:
    from engine.record.result import Result

__all__ = ["add_again", "once_more"]


def add_again(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that runs a stored run again."""
    add_run(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--secrets", metavar="FILE", help="secrets as NAME=VALUE lines")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help="how long a cancelled attempt may take to end; default 5",
    )


def once_more(
    begin: Callable[..., Result],
    wish: Mapping[str, Any],
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Run a stored run to its end, print its result, and return the exit status."""
    from engine.cli.live_display import display
    from engine.cli.prompt import asker
    from engine.processes.output_capture import hearing
    from engine.record.history import node_names
    from engine.render.progress import Notes

    with opened(arguments) as store:
        header = store.run(arguments.run).header
    options: dict[str, Any] = {"store": store_of(arguments), **wish}
    if arguments.secrets is not None:
        options["secrets"] = read_secrets(arguments.secrets)
    if arguments.grace is not None:
        options["grace"] = seconds(arguments.grace)
    notes = Notes()
    total = len(node_names(header.files.get(header.path, "")))
    shown, block = display(total, sys.stderr, console.colored(sys.stderr))
    with block, hearing(shown.say):
        heard = Both(shown, notes)
        result = begin(header.id, on_event=heard, ask=asker(shown, console), **options)
    return show(result, arguments, console, notes)
