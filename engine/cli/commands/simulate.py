"""`engine simulate`: run with scripted bodies under a virtual clock, and print as `engine run` does.

With several scripts it prints what none of them has taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.commands.run import print_result
from engine.cli.console import Console
from engine.cli.run_arguments import (
    add_input_arguments,
    load_plan_or_report,
    parse_inputs,
    read_json,
)
from engine.errors import EngineError, InputError

if TYPE_CHECKING:
    from engine.plan.plan import Plan
    from engine.record.result import Result
    from engine.testing.spec_coverage import Coverage

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "simulate a spec: scripted exits, real routes, retries and deadlines, no waiting"
EXAMPLES = """\
  engine simulate pipeline.toml                       every step ends with exit 0 and output null
  engine simulate pipeline.toml --script script.json  steps end as the script says
  engine simulate pipeline.toml --script ok.toml --script fails.toml --coverage
                                                      report what no script covers

  a script lists how the attempts of each step end, in order; the last entry repeats:
    {"test/test": [{"exit": 1}, {"exit": 0, "duration": 2.5, "output": {"passed": 12}}],
     "deploy/upload": [{"outcome": "error"}, {"outcome": "hang"}]}
  the same in TOML:
    "test/test" = [{ exit = 1 }, { exit = 0, duration = 2.5, output = { passed = 12 } }]
    inputs = { branch = "main" }                      # the inputs of this simulation
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine simulate`."""
    add_input_arguments(parser)
    parser.add_argument(
        "--script",
        metavar="FILE",
        action="append",
        default=[],
        help="how attempts end, as JSON or TOML; a step that is not listed ends with exit 0 after 1 s and output null; repeat the option "
        "for several simulations",
    )
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="report the nodes, conditions and routes that no simulation takes",
    )
    parser.add_argument(
        "--min-coverage",
        metavar="PERCENT",
        type=_parse_percent,
        help="exit with status 1 if coverage is below this; implies --coverage",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Simulate the spec with each script, print the results, and return the exit status."""
    plan = load_plan_or_report(arguments.spec, console)
    if plan is None:
        return 2
    results = {path: _simulate_script(plan, arguments, path) for path in arguments.script or [""]}
    wanted = arguments.coverage or arguments.min_coverage is not None
    if len(results) == 1 and not wanted:
        return print_result(next(iter(results.values())), arguments, console)
    from engine.testing.spec_coverage import coverage

    found = coverage(plan, results.values())
    if arguments.json:
        _print_coverage_json(results, found, console)
    else:
        _print_text(results, found if wanted else None, console)
    least = arguments.min_coverage
    if least is None or 100 * found.fraction >= least:
        return 0
    console.print_error(f"coverage is below the minimum of {least:g} %")
    return 1


def _parse_percent(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if 0 <= found <= 100:
        return found
    raise argparse.ArgumentTypeError(f"`{text}` is not a valid percentage: write 0 to 100")


def _simulate_script(plan: Plan, arguments: argparse.Namespace, path: str) -> Result:
    from engine import testing

    data = _read_script(path) if path else {}
    own = data.pop("inputs", {}) if isinstance(data, dict) else {}
    if not isinstance(own, dict):
        raise InputError((f"`{path}`: `inputs` must be a table of names and values",))
    seed = arguments.seed if arguments.seed is not None else 0
    inputs = {**own, **parse_inputs(plan, arguments)}
    return testing.simulate(plan, testing.parse_script(data, plan), inputs, seed=seed)


def _read_script(path: str) -> Any:
    """Return the data of a script: TOML if the name ends in `.toml`, else JSON."""
    if not path.endswith(".toml"):
        return read_json(path)
    from pathlib import Path

    from engine.toml.source import TomlSyntaxError, parse_toml, read_source

    try:
        return parse_toml(read_source(Path(path)))
    except OSError as error:
        raise EngineError(f"`{path}` cannot be read: {error.strerror}") from None
    except TomlSyntaxError as error:
        raise EngineError(
            f"{path}:{error.span.line}:{error.span.column}: {error.message}"
        ) from None


def _print_text(results: Mapping[str, Result], coverage: Coverage | None, console: Console) -> None:
    from engine.render.text import escape_unprintable

    for path, result in results.items():
        tail = f": {result.message}" if result.message else ""
        console.print_output(
            f"{escape_unprintable(path or 'without a script')}: {result.status}{escape_unprintable(tail)}"
        )
    if coverage is None:
        return
    count = len(coverage.points)
    console.print_output(
        f"\ncoverage: {count - len(coverage.missed_points)} of {count} ({100 * coverage.fraction:.0f} %)"
    )
    for spot in coverage.missed_points:
        place = f"{spot.file}:{spot.span.line}:{spot.span.column}"
        console.print_output(
            escape_unprintable(f"{place}: not covered in `{spot.path}`: {spot.description}")
        )


def _print_coverage_json(
    results: Mapping[str, Result], coverage: Coverage, console: Console
) -> None:
    import json

    missed = [
        {"path": spot.path, "what": spot.description, "file": spot.file, "line": spot.span.line, "column": spot.span.column}
        for spot in coverage.missed_points
    ]  # fmt: skip
    runs = {path: result.to_json() for path, result in results.items()}
    data = {"runs": runs, "coverage": {"share": coverage.fraction, "missed": missed}}
    console.print_output(json.dumps(data, indent=2))
