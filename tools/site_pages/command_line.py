"""The parser of the command line -> `docs/reference/command-line.md`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from engine.cli.main import _build_parser
from site_pages import cell

__all__ = ["page"]

_HEAD = """\
# Command line

This page is generated from the parser. `engine COMMAND --help` prints the same.

| exit status | `engine run`, `resume`, `rerun` and `simulate` | other commands |
|---|---|---|
| 0 | the run succeeded | nothing is wrong |
| 1 | the run failed | `check` found errors, `fmt --check` would change a file, and the like |
| 2 | the spec or the call is wrong | the call is wrong, or something cannot be read |
| 3 | the run waits for people | |
| 130 | the run was cancelled | the command was interrupted |

"""


def page() -> str:
    """The whole page."""
    parser = _build_parser([])
    [commands] = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    sections = (_section(name, command) for name, command in commands.choices.items())
    return _HEAD + "\n".join(sections)


def _section(name: str, parser: argparse.ArgumentParser) -> str:
    description = (parser.description or "").rstrip(".")
    examples = getattr(parser, "_examples", "").rstrip()
    head = f"## `engine {name}`\n\n{description[:1].upper()}{description[1:]}.\n"
    rows = "\n".join(_rows(parser))
    table = f"| argument | |\n|---|---|\n{rows}\n" if rows else ""
    return f"{head}\n```text\n{examples}\n```\n\n{table}"


def _rows(parser: argparse.ArgumentParser) -> Iterator[str]:
    formatter = parser._get_formatter()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction) or action.help == argparse.SUPPRESS:
            continue
        shown = ", ".join(f"`{word}`" for word in _words(action))
        said = formatter._expand_help(action) if action.help else ""
        yield f"| {cell(shown)} | {cell(said)} |"


def _words(action: argparse.Action) -> Iterator[str]:
    value = action.metavar or (
        "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    )
    if not action.option_strings:
        yield str(value) + ("..." if action.nargs in ("*", "+") else "")
    for option in action.option_strings:
        yield option if action.nargs == 0 else f"{option} {value}"
