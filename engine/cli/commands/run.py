"""`engine run`: show progress on standard error, then print the end of every node on standard output.

The exit status says how the run ended.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.cli.run_arguments import add_inputs, inputs_of, load_plan, read_secrets, seconds
from engine.cli.store_arguments import add_store, store_of
from engine.errors import EngineError, InputError
from engine.render.text import plural, printable

if TYPE_CHECKING:
    from engine.cli.live_display import Display
    from engine.plan.plan import Plan
    from engine.record.events import Event
    from engine.record.result import Result
    from engine.render.progress import Notes
    from engine.sinks import Webhook

__all__ = ["EXAMPLES", "STATUS", "SUMMARY", "Both", "configure", "execute", "show"]

SUMMARY = "run a spec"
EXAMPLES = """\
  engine run pipeline.toml
  engine run pipeline.toml -i topic=tea -i words=300
  engine run pipeline.toml --inputs inputs.json --json > result.json
  engine run pipeline.toml --dry-run           show what would run, run nothing
  engine run pipeline.toml --key 2026-11-26    at most one run with that key

  exit status: 0 succeeded, 1 failed, 2 the spec or the command line is wrong, 3 waiting, 130 cancelled
  Ctrl-C cancels the run, a second ends the grace period, a third ends the engine
"""

STATUS = {
    "succeeded": 0,
    "failed": 1,
    "waiting": 3,
    "cancelled": 130,
    "running": 0,
    "interrupted": 0,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine run`."""
    add_inputs(parser)
    parser.add_argument(
        "--secrets",
        metavar="FILE",
        help="secrets as NAME=VALUE lines, the value verbatim up to the end of the line; empty lines and "
        "lines that begin with # are ignored; they take precedence over the environment",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would run, as far as it is known in advance, and run nothing",
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        help="how long a cancelled attempt may take to end; default 5",
    )
    parser.add_argument(
        "--events", metavar="FILE", help="append each event to a file as a line of JSON"
    )
    parser.add_argument(
        "--webhook",
        metavar="URL",
        help="post events as JSON; ENGINE_WEBHOOK_TOKEN of the environment is sent as a bearer token",
    )
    add_store(parser)
    parser.add_argument(
        "--durability",
        choices=("full", "batch", "off"),
        default="full",
        help="full: each event is on disk before it takes effect; batch: shortly after; off: the run is not stored",
    )
    parser.add_argument(
        "--key",
        metavar="TEXT",
        help="an idempotency key: a pipeline has at most one run with this key",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run the spec, print its result, and return the exit status."""
    plan = load_plan(arguments.spec, console)
    if plan is None:
        return 2
    if arguments.dry_run:
        from engine.cli.dry_run import rehearse

        return rehearse(plan, _given(plan, arguments), arguments.json, console)
    from engine.render.progress import Notes

    notes = Notes()
    result = _run(plan, arguments, console, notes)
    return show(result, arguments, console, notes)


def show(
    result: Result, arguments: argparse.Namespace, console: Console, notes: Notes | None = None
) -> int:
    """Print a result in the requested format, and return its exit status."""
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
    from engine.cli.live_display import display
    from engine.cli.prompt import asker
    from engine.processes.output_capture import hearing

    given = _given(plan, arguments)
    shown, block = display(len(plan.known), sys.stderr, console.colored(sys.stderr))
    kept = {
        "store": store_of(arguments, arguments.spec),
        "durability": arguments.durability,
        "key": arguments.key,
    }
    ask = asker(shown, console)
    with _sinks(arguments, console) as sinks, block, hearing(shown.say):
        heard = Both(shown, notes)
        return api.run(
            plan, seed=arguments.seed, on_event=heard, sinks=sinks, ask=ask, **kept, **given
        )


@contextmanager
def _sinks(arguments: argparse.Namespace, console: Console) -> Iterator[list[Any]]:
    """Yield the additional sinks of events; events that could not be delivered are reported at the end."""
    with ExitStack() as stack:
        found: list[Any] = []
        if arguments.events is not None:
            from engine.sinks import JsonLines

            found.append(stack.enter_context(JsonLines(arguments.events)))
        if arguments.webhook is not None:
            from engine.sinks import Webhook

            webhook = Webhook(arguments.webhook, os.environ.get("ENGINE_WEBHOOK_TOKEN"))
            stack.callback(_tell_lost, webhook, console)
            found.append(stack.enter_context(webhook))
        yield found


def _tell_lost(webhook: Webhook, console: Console) -> None:
    if webhook.lost:
        events = plural(webhook.lost, "event")
        console.note(f"warning: {events} could not be delivered to {printable(webhook.host)}")


def _given(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return inputs and options; raise InputError with all mistakes in any of them."""
    problems: list[str] = []
    found: dict[str, Any] = {"inputs": None}
    for name, read in (
        ("inputs", lambda: inputs_of(plan, arguments)),
        ("secrets", lambda: read_secrets(arguments.secrets)),
        ("grace", lambda: seconds(arguments.grace)),
    ):
        try:
            found |= {name: read()} if getattr(arguments, name) is not None or name in found else {}
        except InputError as error:
            problems += error.problems
        except EngineError as error:
            problems.append(str(error))
    if problems:
        from engine.scheduling.values import child_inputs

        more = child_inputs(plan, found["inputs"])[1] if found["inputs"] is not None else ()
        raise InputError((*more, *problems))
    return found


class Both:
    """Passes each event to the display, and to the notes that the final report needs."""

    def __init__(self, shown: Display, notes: Notes) -> None:
        self._shown, self._notes = shown, notes

    def __call__(self, event: Event) -> None:
        self._shown.feed(event)
        self._notes.feed(event)
