"""`engine check`: print findings on standard output.

The status is 0 without errors (warnings count only with `--strict`), 1 with errors, 2 if something could not be
checked. `--diff` shows what `--fix` would change; its status is 1 if there is anything to change.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from engine.cli.console import Console, is_terminal
from engine.cli.run_arguments import inputs_of, load_plan, read_secrets
from engine.cli.spec_files import files_of

if TYPE_CHECKING:
    from engine.cli.parallel_check import Choice, Outcome
    from engine.diagnostics import Diagnostic

__all__ = ["EXAMPLES", "FORMATS", "SUMMARY", "configure", "execute", "look"]

SUMMARY = "find mistakes in specs without running them"
EXAMPLES = """\
  engine check pipeline.toml
  engine check .                       every spec in a folder and below
  engine check --fix pipeline.toml     fix misspelled keys and names
  engine check --watch specs           check again whenever a file changes
  engine check --format concise specs  one line per finding
  engine check --worst-case .          show upper bounds of a run as well
  engine check --live pipeline.toml    check the required services as well
  engine check --ignore W,E302 specs   codes, prefixes of codes, or rule names

  exit status: 0 no errors, 1 errors, 2 a file could not be checked
"""

FORMATS = ("human", "concise", "json", "jsonl", "sarif", "github", "junit")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine check`."""
    parser.add_argument(
        "paths", metavar="FILE", nargs="+", help="a spec, or a folder to search for specs"
    )
    parser.add_argument("--format", choices=FORMATS, default="human", help="default: human")
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="same as --format json"
    )
    parser.add_argument(
        "--select", metavar="CODES", help="report only these of the rules that may be ignored"
    )
    parser.add_argument(
        "--ignore",
        metavar="CODES",
        help="do not report these; possible for warnings and a few errors",
    )
    parser.add_argument("--strict", action="store_true", help="exit with status 1 on warnings too")
    parser.add_argument("--fix", action="store_true", help="apply safe fixes")
    parser.add_argument(
        "--unsafe-fixes", action="store_true", help="also apply fixes that may not be what you mean"
    )
    parser.add_argument(
        "--diff", action="store_true", help="show the changes that fixes would make, write nothing"
    )
    parser.add_argument(
        "--watch", action="store_true", help="check again whenever a file changes, until Ctrl-C"
    )
    parser.add_argument(
        "--worst-case",
        action="store_true",
        help="also show upper bounds of the visits, attempts and time of a run",
    )
    parser.add_argument(
        "--live",
        action="store_true",
        help="also check that the services that nodes require are healthy",
    )
    parser.add_argument(
        "-i",
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="with --live: an input that the services read",
    )
    parser.add_argument(
        "--inputs", metavar="FILE.json", help="with --live: inputs as a JSON object"
    )
    parser.add_argument(
        "--secrets", metavar="FILE", help="with --live: secrets as NAME=VALUE lines"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Check all files, print the findings, and return the exit status."""
    from engine.cli.parallel_check import Choice, check_all

    choice = Choice(arguments.select, arguments.ignore)
    if arguments.watch:
        return _watch(arguments, console)
    paths = list(files_of(arguments.paths))
    if arguments.diff:
        return _diff(paths, choice, arguments, console)
    if arguments.fix or arguments.unsafe_fixes:
        _fix(paths, choice, arguments, console)
    status = _report(check_all(paths, choice), arguments, console)
    if arguments.live and status == 0:
        from engine.cli.commands.check import look

        return max(look(path, arguments, console) for path in paths)
    return status


def _report(outcomes: Sequence[Outcome], arguments: argparse.Namespace, console: Console) -> int:
    from engine.diagnostics import Diagnostics, Severity
    from engine.render.formats import Report, render

    given = {os.path.realpath(outcome.path): outcome.path for outcome in outcomes}
    found = Diagnostics.of(
        _spelled(each, given) for outcome in outcomes for each in outcome.found or ()
    )
    checked = tuple(outcome.path for outcome in outcomes if outcome.found is not None)
    unread = tuple((outcome.path, outcome.unread) for outcome in outcomes if outcome.unread)
    for _, message in unread:
        console.error(message)
    report = Report(found, checked, unread, console.colored(), console.encoding)
    text = render(arguments.format, report)
    if arguments.worst_case:
        text = _with_bounds(text, checked, arguments.format, console)
    if text:
        console.out(text)
    if unread:
        return 2
    warned = arguments.strict and any(each.severity is Severity.WARNING for each in found)
    return 1 if found.errors or warned else 0


def _fix(
    paths: Sequence[str], choice: Choice, arguments: argparse.Namespace, console: Console
) -> None:
    from engine.cli.fix_files import mend_files, write
    from engine.render.text import plural

    mended = mend_files(paths, choice, unsafe=arguments.unsafe_fixes)
    for each in mended:
        write(each.path, each.after.text)
    if mended:
        fixes = plural(sum(each.fixes for each in mended), "finding")
        console.note(f"fixed {fixes} in {plural(len(mended), 'file')}")


def _diff(
    paths: Sequence[str], choice: Choice, arguments: argparse.Namespace, console: Console
) -> int:
    from engine.cli.fix_files import difference, mend_files

    mended = mend_files(paths, choice, unsafe=arguments.unsafe_fixes)
    for each in mended:
        console.out(difference(each.path, each.before.text, each.after.text))
    return 1 if mended else 0


def _spelled(found: Diagnostic, given: Mapping[str, str]) -> Diagnostic:
    """Return the finding with the path that the user gave for its file, so that no finding is reported twice."""
    from pathlib import Path

    source = found.source
    path = Path(given.get(os.path.realpath(source.path), source.path))
    if path == source.path:
        return found
    return attrs.evolve(found, source=attrs.evolve(source, path=path))


def _watch(arguments: argparse.Namespace, console: Console) -> int:
    """Check again after each change; each check is the same call without `--watch`."""
    import subprocess

    from engine.cli.file_watcher import watch

    call = [sys.executable, *(each for each in sys.orig_argv[1:] if each != "--watch")]

    def check() -> None:
        if is_terminal(console.stdout):
            console.out("\x1b[H\x1b[2J\x1b[3J")
        subprocess.run(call, check=False, stdout=console.stdout)
        console.note("watching for changes, press Ctrl-C to stop")

    return watch(arguments.paths, check)


def _with_bounds(text: str, paths: Sequence[str], form: str, console: Console) -> str:
    """Return the text with the worst case of each file added, or print those before it."""
    from engine import api
    from engine.render import bounds as render

    bounds = {path: api.worst_case(path)[0] for path in paths}
    if form == "json":
        return render.as_json(text, bounds)
    for path, each in bounds.items():
        table = render.report(path, each, width=console.width, color=console.colored())
        tell = console.out if form in ("human", "concise") else console.note
        tell(table + "\n")
    return text


def look(path: str, arguments: argparse.Namespace, console: Console) -> int:
    """Print the services that failed; return 1 if any did, 2 if they could not be checked."""
    from engine import api
    from engine.render.text import printable

    plan = load_plan(path, console)
    if plan is None:
        return 2
    secrets = read_secrets(arguments.secrets) if arguments.secrets else {}
    problems = api.look(plan, inputs_of(plan, arguments), secrets=secrets)
    for problem in problems:
        console.out(f"{printable(path)}: {problem}")
    if not problems:
        console.out(f"{printable(path)}: all services are healthy")
    return 1 if problems else 0
