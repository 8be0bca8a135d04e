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
from engine.cli.spec_files import find_spec_files
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
    for path in find_spec_files(arguments.paths):
        try:
            changed |= _format_file(path, arguments, console)
        except EngineError as error:
            console.print_error(str(error))
            unread = True
    if unread:
        return 2
    return 1 if changed and (arguments.check or arguments.diff) else 0


def _format_file(path: str, arguments: argparse.Namespace, console: Console) -> bool:
    """Format a file, and return whether it changes."""
    from engine.toml.formatter import format_toml
    from engine.toml.source import TomlSyntaxError, parse_toml

    source = _read_source(path)
    try:
        parse_toml(source)
    except TomlSyntaxError as error:
        place = f"{source.path}:{error.span.line}:{error.span.column}"
        raise EngineError(f"{place}: {error.message}") from None
    laid = format_toml(source.text)
    if arguments.check or arguments.diff:
        return _print_change(path, source.text, laid, arguments, console)
    _write_result(path, source.text, laid, console)
    return laid != source.text


def _print_change(
    path: str, before: str, after: str, arguments: argparse.Namespace, console: Console
) -> bool:
    from engine.cli.fix_files import format_diff

    if before != after and arguments.diff:
        console.print_output(format_diff(path, before, after))
    elif before != after:
        console.print_output(path)
    return before != after


def _write_result(path: str, before: str, after: str, console: Console) -> None:
    from engine.cli.fix_files import replace_file

    if path == "-":
        console.print_output(after.removesuffix("\n"))
    elif before != after:
        replace_file(path, after)


def _read_source(path: str) -> Source:
    from engine.toml.source import Source, read_source

    if os.path.isdir(path):
        raise EngineError(f"there is no spec in folder `{path}`")
    try:
        return Source("-", sys.stdin.read()) if path == "-" else read_source(path)
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "the file is not UTF-8 text"
        raise EngineError(f"`{path}` cannot be read: {why}") from None
