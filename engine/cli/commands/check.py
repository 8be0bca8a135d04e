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
from engine.cli.run_arguments import load_plan_or_report, parse_inputs, read_secrets
from engine.cli.spec_files import find_spec_files

if TYPE_CHECKING:
    from engine.cli.parallel_check import CheckedFile, RuleSelection
    from engine.diagnostics import Diagnostic

__all__ = ["EXAMPLES", "FORMAT_NAMES", "SUMMARY", "configure", "execute", "print_service_checks"]

SUMMARY = "find mistakes in specs without running them"
EXAMPLES = """\
  engine check pipeline.toml
  engine check .                       every spec in a folder and below
  engine check --fix pipeline.toml     fix misspelt keys and names
  engine check --watch specs           check again whenever a file changes
  engine check --format concise specs  one line per finding
  engine check --worst-case .          show upper bounds of a run as well
  engine check --live pipeline.toml    check the required services as well
  engine check --ignore W,E302 specs   codes, prefixes of codes, or rule names

  exit status: 0 no errors, 1 errors, 2 a file could not be checked
"""

FORMAT_NAMES = ("human", "concise", "json", "jsonl", "sarif", "github", "junit")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine check`."""
    parser.add_argument(
        "paths", metavar="FILE", nargs="+", help="a spec, or a folder to search for specs"
    )
    parser.add_argument("--format", choices=FORMAT_NAMES, default="human", help="default: human")
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
    from engine.cli.parallel_check import RuleSelection, check_files

    choice = RuleSelection(arguments.select, arguments.ignore)
    if arguments.watch:
        return _check_on_change(arguments, console)
    paths = list(find_spec_files(arguments.paths))
    if arguments.diff:
        return _print_diff(paths, choice, arguments, console)
    if arguments.fix or arguments.unsafe_fixes:
        _apply_fixes(paths, choice, arguments, console)
    status = _print_report(check_files(paths, choice), arguments, console)
    if arguments.live and status == 0:
        from engine.cli.commands.check import print_service_checks

        return max(print_service_checks(path, arguments, console) for path in paths)
    return status


def _print_report(
    outcomes: Sequence[CheckedFile], arguments: argparse.Namespace, console: Console
) -> int:
    from engine.diagnostics import Diagnostics, Severity
    from engine.render.formats import CheckReport, render_report

    given = {os.path.realpath(outcome.path): outcome.path for outcome in outcomes}
    found = Diagnostics.collect(
        _with_given_path(each, given) for outcome in outcomes for each in outcome.diagnostics or ()
    )
    checked = tuple(outcome.path for outcome in outcomes if outcome.diagnostics is not None)
    unread = tuple((outcome.path, outcome.problem) for outcome in outcomes if outcome.problem)
    for _, message in unread:
        console.print_error(message)
    report = CheckReport(found, checked, unread, console.can_use_color(), console.encoding)
    text = render_report(arguments.format, report)
    if arguments.worst_case:
        text = _add_bounds(text, checked, arguments.format, console)
    if text:
        console.print_output(text)
    if unread:
        return 2
    warned = arguments.strict and any(each.severity is Severity.WARNING for each in found)
    return 1 if found.errors or warned else 0


def _apply_fixes(
    paths: Sequence[str], selection: RuleSelection, arguments: argparse.Namespace, console: Console
) -> None:
    from engine.cli.fix_files import fix_files, replace_file
    from engine.render.text import format_count

    mended = fix_files(paths, selection, unsafe=arguments.unsafe_fixes)
    for each in mended:
        replace_file(each.path, each.after.text)
    if mended:
        fixes = format_count(sum(each.fix_count for each in mended), "finding")
        console.print_note(f"fixed {fixes} in {format_count(len(mended), 'file')}")


def _print_diff(
    paths: Sequence[str], selection: RuleSelection, arguments: argparse.Namespace, console: Console
) -> int:
    from engine.cli.fix_files import fix_files, format_diff

    mended = fix_files(paths, selection, unsafe=arguments.unsafe_fixes)
    for each in mended:
        console.print_output(format_diff(each.path, each.before.text, each.after.text))
    return 1 if mended else 0


def _with_given_path(diagnostic: Diagnostic, given_paths: Mapping[str, str]) -> Diagnostic:
    """Return the finding with the path that the user gave for its file, so that no finding is reported twice."""
    from pathlib import Path

    source = diagnostic.source
    path = Path(given_paths.get(os.path.realpath(source.path), source.path))
    if path == source.path:
        return diagnostic
    return attrs.evolve(diagnostic, source=attrs.evolve(source, path=path))


def _check_on_change(arguments: argparse.Namespace, console: Console) -> int:
    """Check again after each change; each check is the same call without `--watch`."""
    import subprocess

    from engine.cli.file_watcher import repeat_on_change

    call = [sys.executable, *(each for each in sys.orig_argv[1:] if each != "--watch")]

    def check() -> None:
        if is_terminal(console.stdout):
            console.print_output("\x1b[H\x1b[2J\x1b[3J")
        subprocess.run(call, check=False, stdout=console.stdout)
        console.print_note("watching for changes, press Ctrl-C to stop")

    return repeat_on_change(arguments.paths, check)


def _add_bounds(text: str, paths: Sequence[str], format: str, console: Console) -> str:
    """Return the text with the worst case of each file added, or print those before it."""
    from engine import api
    from engine.render import bounds as render

    bounds = {path: api.compute_worst_case(path)[0] for path in paths}
    if format == "json":
        return render.bounds_to_json(text, bounds)
    for path, each in bounds.items():
        table = render.render_bounds(path, each, width=console.width, color=console.can_use_color())
        print_text = console.print_output if format in ("human", "concise") else console.print_note
        print_text(table + "\n")
    return text


def print_service_checks(path: str, arguments: argparse.Namespace, console: Console) -> int:
    """Print the services that failed; return 1 if any did, 2 if they could not be checked."""
    from engine import api
    from engine.render.text import escape_unprintable

    plan = load_plan_or_report(path, console)
    if plan is None:
        return 2
    secrets = read_secrets(arguments.secrets) if arguments.secrets else {}
    problems = api.check_required_services(plan, parse_inputs(plan, arguments), secrets=secrets)
    for problem in problems:
        console.print_output(f"{escape_unprintable(path)}: {problem}")
    if not problems:
        console.print_output(f"{escape_unprintable(path)}: all services are healthy")
    return 1 if problems else 0
