"""`engine fmt`: format the layout of specs, and nothing but the layout.

The status is 0; with `--check` or `--diff`, which write nothing, 1 if a file would change; 2 if a file is not valid TOML
or cannot be read.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from engine.cli.console import Console
from engine.cli.spec_files import files_of
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.toml.source import Source

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "format specs: white space and blank lines; comments are preserved"
EXAMPLES = """\
  engine fmt pipeline.toml
  engine fmt --check .             status 1 if a spec would change
  engine fmt --diff specs          show what would change
  engine fmt - < pipeline.toml     read standard input, write standard output
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine fmt`."""
    parser.add_argument(
        "paths", metavar="FILE", nargs="+", help="a spec, a folder, or `-` for standard input"
    )
    parser.add_argument(
        "--check", action="store_true", help="list the files that would change, write nothing"
    )
    parser.add_argument("--diff", action="store_true", help="show what would change, write nothing")


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Format all files, and return the exit status."""
    unread = changed = False
    for path in files_of(arguments.paths):
        try:
            changed |= _one(path, arguments, console)
        except EngineError as error:
            console.error(str(error))
            unread = True
    if unread:
        return 2
    return 1 if changed and (arguments.check or arguments.diff) else 0


def _one(path: str, arguments: argparse.Namespace, console: Console) -> bool:
    """Format a file, and return whether it changes."""
    from engine.toml.formatter import formatted
    from engine.toml.source import Syntax, parse

    source = _read(path)
    try:
        parse(source)
    except Syntax as error:
        place = f"{source.path}:{error.span.line}:{error.span.column}"
        raise EngineError(f"{place}: {error.message}") from None
    laid = formatted(source.text)
    if arguments.check or arguments.diff:
        return _told(path, source.text, laid, arguments, console)
    _put(path, source.text, laid, console)
    return laid != source.text


def _told(
    path: str, before: str, after: str, arguments: argparse.Namespace, console: Console
) -> bool:
    from engine.cli.fix_files import difference

    if before != after and arguments.diff:
        console.out(difference(path, before, after))
    elif before != after:
        console.out(path)
    return before != after


def _put(path: str, before: str, after: str, console: Console) -> None:
    from engine.cli.fix_files import write

    if path == "-":
        console.out(after.removesuffix("\n"))
    elif before != after:
        write(path, after)


def _read(path: str) -> Source:
    from engine.toml.source import Source, read

    if os.path.isdir(path):
        raise EngineError(f"there is no spec in folder `{path}`")
    try:
        return Source("-", sys.stdin.read()) if path == "-" else read(path)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "the file is not UTF-8 text"
        raise EngineError(f"`{path}` cannot be read: {why}") from None
