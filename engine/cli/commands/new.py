"""`engine new`: create a project to start from."""

from __future__ import annotations

import argparse
from pathlib import Path

from engine.cli.console import Console

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "create a project: a spec, a task, tests and CI that pass"
EXAMPLES = """\
  engine new greetings     create the folder greetings
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine new`."""
    parser.add_argument(
        "folder", metavar="NAME", help="the folder to create; its name becomes the project's name"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Create the project and print its files."""
    from engine.cli.scaffold import create_project
    from engine.errors import EngineError
    from engine.render.text import escape_unprintable

    try:
        for path in create_project(Path(arguments.folder)):
            console.print_output(escape_unprintable(str(path)))
    except OSError as error:
        raise EngineError(
            f"`{arguments.folder}` cannot be written: {(error.strerror or '').lower()}"
        ) from None
    name = Path(arguments.folder).resolve().name
    console.print_note(
        escape_unprintable(f"next: cd {arguments.folder} && engine run specs/{name}.toml")
    )
    return 0
