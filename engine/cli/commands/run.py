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
from engine.cli.run_arguments import (
    add_input_arguments,
    load_plan_or_report,
    parse_inputs,
    parse_seconds,
    read_secrets,
)
from engine.cli.store_arguments import add_store_argument, resolve_store
from engine.errors import EngineError, InputError
from engine.render.text import escape_unprintable, format_count

if TYPE_CHECKING:
    from engine.cli.live_display import Display
    from engine.plan.plan import Plan
    from engine.record.events import Event
    from engine.record.result import Result
    from engine.render.progress import LastNotes
    from engine.sinks import Webhook

__all__ = ["EXAMPLES", "EXIT_STATUSES", "SUMMARY", "Tee", "configure", "execute", "print_result"]

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

EXIT_STATUSES = {
    "succeeded": 0,
    "failed": 1,
    "waiting": 3,
    "cancelled": 130,
    "running": 0,
    "interrupted": 0,
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine run`."""
    add_input_arguments(parser)
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
    add_store_argument(parser)
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
    plan = load_plan_or_report(arguments.spec, console)
    if plan is None:
        return 2
    if arguments.dry_run:
        from engine.cli.dry_run import print_dry_run

        return print_dry_run(plan, _collect_arguments(plan, arguments), arguments.json, console)
    from engine.render.progress import LastNotes

    notes = LastNotes()
    result = _run_plan(plan, arguments, console, notes)
    return print_result(result, arguments, console, notes)


def print_result(
    result: Result, arguments: argparse.Namespace, console: Console, notes: LastNotes | None = None
) -> int:
    """Print a result in the requested format, and return its exit status."""
    from engine.render import results

    if arguments.json:
        console.print_output(results.result_to_json(result))
    else:
        lines = notes.by_path if notes else {}
        console.print_output(
            results.render_result(
                result, width=console.width, color=console.can_use_color(), notes=lines
            )
        )
    return EXIT_STATUSES[result.status]


def _run_plan(
    plan: Plan, arguments: argparse.Namespace, console: Console, notes: LastNotes
) -> Result:
    from engine import api
    from engine.cli.live_display import open_display
    from engine.cli.prompt import create_prompt
    from engine.processes.output_capture import capture_output

    given = _collect_arguments(plan, arguments)
    shown, block = open_display(
        len(plan.nodes_by_name), sys.stderr, console.can_use_color(sys.stderr)
    )
    kept = {
        "store": resolve_store(arguments, arguments.spec),
        "durability": arguments.durability,
        "key": arguments.key,
    }
    ask = create_prompt(shown, console)
    with _open_sinks(arguments, console) as sinks, block, capture_output(shown.print_line):
        tee = Tee(shown, notes)
        return api.run(
            plan, seed=arguments.seed, on_event=tee, sinks=sinks, ask=ask, **kept, **given
        )


@contextmanager
def _open_sinks(arguments: argparse.Namespace, console: Console) -> Iterator[list[Any]]:
    """Yield the additional sinks of events; events that could not be delivered are reported at the end."""
    with ExitStack() as stack:
        found: list[Any] = []
        if arguments.events is not None:
            from engine.sinks import JsonLines

            found.append(stack.enter_context(JsonLines(arguments.events)))
        if arguments.webhook is not None:
            from engine.sinks import Webhook

            webhook = Webhook(arguments.webhook, os.environ.get("ENGINE_WEBHOOK_TOKEN"))
            stack.callback(_report_lost_events, webhook, console)
            found.append(stack.enter_context(webhook))
        yield found


def _report_lost_events(webhook: Webhook, console: Console) -> None:
    if webhook.lost:
        events = format_count(webhook.lost, "event")
        console.print_note(
            f"warning: {events} could not be delivered to {escape_unprintable(webhook.host)}"
        )


def _collect_arguments(plan: Plan, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return inputs and options; raise InputError with all mistakes in any of them."""
    problems: list[str] = []
    found: dict[str, Any] = {"inputs": None}
    for name, read in (
        ("inputs", lambda: parse_inputs(plan, arguments)),
        ("secrets", lambda: read_secrets(arguments.secrets)),
        ("grace", lambda: parse_seconds(arguments.grace)),
    ):
        try:
            found |= {name: read()} if getattr(arguments, name) is not None or name in found else {}
        except InputError as error:
            problems += error.problems
        except EngineError as error:
            problems.append(str(error))
    if problems:
        from engine.scheduling.values import resolve_inputs

        more = resolve_inputs(plan, found["inputs"])[1] if found["inputs"] is not None else ()
        raise InputError((*more, *problems))
    return found


class Tee:
    """Passes each event to the display, and to the notes that the final report needs."""

    def __init__(self, display: Display, notes: LastNotes) -> None:
        self._display, self._notes = display, notes

    def __call__(self, event: Event) -> None:
        self._display.show_event(event)
        self._notes.add_event(event)
