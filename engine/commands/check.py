"""`engine check`: findings on standard output; 0 without errors, 1 with, 2 if something could not
be read."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from engine.commands.console import Console
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.bounds import Bounds
    from engine.diagnostics import Diagnostic, Diagnostics

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute", "specs_in"]

SUMMARY = "find mistakes in specs without running them"
EXAMPLES = """\
  engine check pipeline.toml
  engine check .                       every spec in a folder and below
  engine check --format concise specs  a line for each finding
  engine check --worst-case .          and what runs can come to at most

  exit status: 0 no errors, 1 errors, 2 something could not be read
"""

_HEAD = re.compile(r"""^[ \t]*(?:engine|"engine"|'engine')[ \t]*=""", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_NODES = re.compile(r"^[ \t]*\[[ \t]*nodes[ \t]*[.\]]", re.MULTILINE)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "paths", metavar="FILE", nargs="+", help="a spec, or a folder to look for specs in"
    )
    parser.add_argument(
        "--format", choices=("human", "concise", "json"), default="human", help="default: human"
    )
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="short for --format json"
    )
    parser.add_argument(
        "--worst-case",
        action="store_true",
        help="also tell the most visits, attempts and time that runs can come to",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Check all, print all."""
    from engine.diagnostics import Diagnostics

    findings: list[Diagnostics] = []
    bounds: dict[str, Bounds | None] = {}
    unread = 0
    paths = tuple(_specs(arguments.paths))
    for path in paths:
        try:
            if arguments.worst_case:
                bounds[path], found = _measured(path)
                findings.append(found)
            else:
                findings.append(_checked(path))
        except EngineError as error:
            console.error(str(error))
            unread += 1
    given = {os.path.realpath(path): path for path in paths}
    found = Diagnostics.of(_spelled(each, given) for part in findings for each in part)
    if arguments.worst_case:
        _print_bounds(found, bounds, arguments.format, console)
    if not arguments.worst_case or arguments.format != "json":
        _print(found, len(findings), arguments.format, console)
    if unread:
        return 2
    return 1 if found.errors else 0


def specs_in(folder: str) -> Iterator[str]:
    """The files below a folder that look like specs, sorted; hidden folders are passed by."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.endswith(".toml") and _looks_like_spec(path):
                yield path


def _specs(paths: Iterable[str]) -> Iterator[str]:
    """The files to check, each once, in the order of the call."""
    seen: set[str] = set()
    for path in paths:
        for found in _expanded(path):
            real = os.path.realpath(found)
            if real not in seen:
                seen.add(real)
                yield found


def _spelled(found: Diagnostic, given: Mapping[str, str]) -> Diagnostic:
    """A finding in a file that was given itself has that one's path: it is not told twice."""
    from pathlib import Path

    source = found.source
    path = Path(given.get(os.path.realpath(source.path), source.path))
    if path == source.path:
        return found
    return attrs.evolve(found, source=attrs.evolve(source, path=path))


def _expanded(path: str) -> Iterable[str]:
    if not os.path.isdir(path):
        return (path,)
    # a folder without specs stays, to be told of: a check that checks nothing would pass for ever
    return tuple(specs_in(path)) or (path,)


def _looks_like_spec(path: str) -> bool:
    """Whether `engine =` stands before the first table, or there is a table `nodes`; an unreadable
    file is one, to be told of."""
    if not os.path.isfile(path):
        return True
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return True
    table = _TABLE.search(text)
    head = _HEAD.search(text)
    return bool((head and (not table or head.start() < table.start())) or _NODES.search(text))


def _checked(path: str) -> Diagnostics:
    from engine import api

    _no_folder(path)
    return api.check(path)


def _measured(path: str) -> tuple[Bounds | None, Diagnostics]:
    from engine import api

    _no_folder(path)
    return api.worst_case(path)


def _no_folder(path: str) -> None:
    if os.path.isdir(path):
        raise EngineError(f"there is no spec in folder `{path}`")


def _print_bounds(
    found: Diagnostics, bounds: dict[str, Bounds | None], form: str, console: Console
) -> None:
    """The worst cases; as JSON with the findings in one object."""
    from engine.render import bounds as render
    from engine.render import diagnostics

    if form == "json":
        console.out(render.as_json(diagnostics.as_json(found), bounds))
        return
    for path, each in bounds.items():
        text = render.report(path, each, width=console.width, color=console.colored())
        console.out(text + "\n")


def _human(found: Diagnostics, console: Console) -> str:
    from engine.render import diagnostics as render

    return render.human(found, color=console.colored(), encoding=console.encoding)


def _print(found: Diagnostics, files: int, form: str, console: Console) -> None:
    from engine.render import diagnostics as render

    if form == "json":
        console.out(render.as_json(found))
    elif form == "concise":
        if found:
            console.out(render.concise(found))
    else:
        if found:
            console.out(_human(found, console) + "\n")
        if files:
            console.out(render.summary(found, files))
        if found:
            console.out(render.hint(found))
