"""`engine run`: progress on standard error, then what became of every node on standard output; the
status says how it ended."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from engine.commands.console import Console
from engine.commands.inputs import add_inputs, inputs_of, load_plan, read_secrets, seconds

if TYPE_CHECKING:
    from engine.commands.display import Display
    from engine.events import Event
    from engine.plan import Plan
    from engine.render.progress import Notes
    from engine.result import Result

__all__ = ["EXAMPLES", "STATUS", "SUMMARY", "configure", "execute", "show"]

SUMMARY = "run a spec"
EXAMPLES = """\
  engine run pipeline.toml
  engine run pipeline.toml -i topic=tea -i words=300
  engine run pipeline.toml --inputs inputs.json --json > result.json
"""

STATUS = {"succeeded": 0, "failed": 1, "waiting": 3, "cancelled": 130}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_inputs(parser)
    parser.add_argument(
        "--secrets", metavar="FILE", help="secrets as NAME=VALUE lines; go before the environment"
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=seconds,
        help="how long a cancelled attempt may take to end; default 5",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it, print what became of it."""
    plan = load_plan(arguments.spec, console)
    if plan is None:
        return 2
    from engine.render.progress import Notes

    notes = Notes()
    result = _run(plan, arguments, console, notes)
    return show(result, arguments, console, notes)


def show(
    result: Result, arguments: argparse.Namespace, console: Console, notes: Notes | None = None
) -> int:
    """Print a result in the form asked for, and give its status."""
    from engine.render import results

    if arguments.json:
        console.out(results.as_json(result))
    else:
        lines = notes.by_path if notes else {}
        console.out(
            results.report(result, width=console.width, color=console.colored(), notes=lines)
        )
    return STATUS[result.status]


def _run(plan: Plan, arguments: argparse.Namespace, console: Console, notes: Notes) -> Result:
    from engine import api
    from engine.commands.display import display

    inputs = inputs_of(plan, arguments)
    options = {"grace": arguments.grace} if arguments.grace is not None else {}
    secrets = read_secrets(arguments.secrets) if arguments.secrets is not None else {}
    shown, block = display(len(plan.nodes), sys.stderr, console.colored(sys.stderr))
    with block:
        return api.run(
            plan,
            inputs,
            secrets=secrets,
            seed=arguments.seed,
            on_event=_Both(shown, notes),
            **options,
        )


class _Both:
    """Feeds what is shown now, and what will be wanted at the end."""

    def __init__(self, shown: Display, notes: Notes) -> None:
        self._shown, self._notes = shown, notes

    def __call__(self, event: Event) -> None:
        self._shown.feed(event)
        self._notes.feed(event)
