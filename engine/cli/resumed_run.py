"""Shared parts of `engine resume` and `engine rerun`: arguments, secrets, and the display of the run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.commands.run import Tee, print_result
from engine.cli.console import Console
from engine.cli.run_arguments import parse_seconds, read_secrets
from engine.cli.store_arguments import add_run_argument, open_store, resolve_store

if TYPE_CHECKING:
    from engine.record.result import Result

__all__ = ["add_resume_arguments", "run_again"]


def add_resume_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a command that runs a stored run again."""
    add_run_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--secrets", metavar="FILE", help="secrets as NAME=VALUE lines")
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help="how long a cancelled attempt may take to end; default 5",
    )


def run_again(
    start_run: Callable[..., Result],
    request: Mapping[str, Any],
    arguments: argparse.Namespace,
    console: Console,
) -> int:
    """Run a stored run to its end, print its result, and return the exit status."""
    from engine.cli.live_display import open_display
    from engine.cli.prompt import create_prompt
    from engine.processes.output_capture import capture_output
    from engine.record.history import read_node_names
    from engine.render.progress import LastNotes

    with open_store(arguments) as store:
        header = store.find_run(arguments.run).header
    options: dict[str, Any] = {"store": resolve_store(arguments), **request}
    if arguments.secrets is not None:
        options["secrets"] = read_secrets(arguments.secrets)
    if arguments.grace is not None:
        options["grace"] = parse_seconds(arguments.grace)
    notes = LastNotes()
    total = len(read_node_names(header.files.get(header.path, "")))
    shown, block = open_display(total, sys.stderr, console.can_use_color(sys.stderr))
    with block, capture_output(shown.print_line):
        tee = Tee(shown, notes)
        result = start_run(header.id, on_event=tee, ask=create_prompt(shown, console), **options)
    return print_result(result, arguments, console, notes)
