"""The command line: parse arguments, run one command, return an exit status.

0: succeeded; 1: failed; 2: the spec or the call is wrong; 3: waiting for an answer; 130: cancelled. Each command is a
module of `engine.cli.commands`, which imports heavy libraries only when it runs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

from engine.cli.console import Console
from engine.errors import EngineError, MissingValue, MultipleErrors
from engine.version import __version__

__all__ = ["main"]

COMMANDS = (
    *("new", "check", "fmt", "run", "simulate", "runs", "show", "why", "logs", "watch", "resume"),
    *("rerun", "cancel", "prune", "graph", "tasks", "explain", "schema"),
)
"""The commands, in the order of the help.

Each is a module with SUMMARY, EXAMPLES, `configure(parser)` and `execute(arguments, console)`, which returns the exit
status.
"""

_EXAMPLES = """\
  engine check pipeline.toml             check a spec
  engine run pipeline.toml -i topic=tea  run a spec
  engine resume 3f2a                     continue a run whose process died
  engine tasks shell                     show how to use a task
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line with these arguments (default: those of the process), and return the exit status."""
    console = Console()
    try:
        return _run_command(sys.argv[1:] if argv is None else list(argv), console)
    except MultipleErrors as error:
        _print_problems(error.problems, console)
        return 2
    except EngineError as error:
        console.print_error(str(error))
        return 2
    except KeyboardInterrupt:
        return 130
    finally:
        console.close()


def _run_command(argv: list[str], console: Console) -> int:
    try:
        arguments = _build_parser(argv).parse_args(argv)
    except _UsageError as wrong:
        console.print_error(str(wrong))
        console.print_note(f"see `{_program_name(wrong.prog, argv)} --help`")
        return 2
    except SystemExit as end:  # --help and --version have printed what they had to
        return end.code if isinstance(end.code, int) else 0
    console.set_color(arguments.color)
    with console.redirect_foreign_output():
        status: int = _import_command(arguments.command).execute(arguments, console)
    return status


def _import_command(command: str) -> ModuleType:
    return import_module(f"engine.cli.commands.{command}")


def _program_name(prog: str, argv: list[str]) -> str:
    """Return the name of the called command for a usage message.

    For a surplus argument argparse names the program as a whole, not the command.
    """
    return f"{prog} {argv[0]}" if " " not in prog and argv and argv[0] in COMMANDS else prog


_HELP_BY_KIND = {
    "input": "give it with `-i {name}=…`",
    "secret": "set the environment variable `{name}`, or give `--secrets FILE`",
    "environment variable": "set it, or write `?? '…'` after the path for a default",
}
"""Help lines for a missing value, by its kind."""


def _print_problems(problems: Sequence[str], console: Console) -> None:
    for problem in problems:
        console.print_error(problem)
        if isinstance(problem, MissingValue):
            console.print_note(f"  = help: {_HELP_BY_KIND[problem.kind].format(name=problem.name)}")


class _UsageError(Exception):
    """Raised when the arguments are wrong."""

    def __init__(self, message: str, prog: str) -> None:
        self.prog = prog
        super().__init__(message)


class _Parser(argparse.ArgumentParser):
    """An argument parser whose help begins with examples, and which raises errors of one line."""

    def __init__(self, *, examples: str = "", **named: Any) -> None:
        self._helps = False
        super().__init__(**named, allow_abbrev=False)
        self._examples = examples

    def format_help(self) -> str:
        self._helps = True
        return f"examples:\n{self._examples}\n{super().format_help()}"

    def _get_formatter(self) -> argparse.HelpFormatter:
        """Return a formatter, of fixed width unless help is printed: argparse makes one for each argument."""
        return (
            super()._get_formatter() if self._helps else argparse.HelpFormatter(self.prog, width=80)
        )

    def error(self, message: str) -> NoReturn:
        raise _UsageError(message.removeprefix("argument "), self.prog)


def _build_parser(argv: list[str]) -> argparse.ArgumentParser:
    parser = _Parser(
        prog="engine",
        examples=_EXAMPLES,
        description="Pipelines as TOML specs: checked before they run.",
    )
    parser.add_argument("--version", action="version", version=f"engine {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # Of all commands only a help that lists them asks.
    for name in argv[:1] if argv and argv[0] in COMMANDS else COMMANDS:
        module = _import_command(name)
        command = commands.add_parser(
            name, help=module.SUMMARY, description=module.SUMMARY, examples=module.EXAMPLES
        )
        command.set_defaults(color=None)
        command.add_argument(
            "--no-color",
            dest="color",
            action="store_false",
            help="disable colours, like the variable NO_COLOR",
        )
        module.configure(command)
    _validate_command(argv, parser.prog)
    return parser


def _validate_command(argv: list[str], prog: str) -> None:
    """Raise a usage error for an unknown command, before argparse lists all commands."""
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        from engine.base.suggestions import closest_match

        guess = closest_match(argv[0], COMMANDS)
        raise _UsageError(
            f"there is no command `{argv[0]}`" + (f", did you mean `{guess}`?" if guess else ""),
            prog,
        )
