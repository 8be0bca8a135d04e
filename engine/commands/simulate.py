"""`engine simulate`: a run with scripted bodies under a virtual clock, printed as `engine run`
prints."""

from __future__ import annotations

import argparse

from engine.commands.console import Console
from engine.commands.inputs import add_inputs, inputs_of, load_plan, read_json
from engine.commands.run import show

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "try a spec: exits from a script, real routes, retries and deadlines, no waiting"
EXAMPLES = """\
  engine simulate pipeline.toml                       every step exits 0, its output is null
  engine simulate pipeline.toml --script script.json  it goes as the script says

  a script says how the attempts of steps end, one after the other; the last repeats:
    {"test/test": [{"exit": 1}, {"exit": 0, "duration": 2.5, "output": {"passed": 12}}],
     "deploy/upload": [{"outcome": "error"}, {"outcome": "hang"}]}
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_inputs(parser)
    parser.add_argument(
        "--script",
        metavar="FILE.json",
        help="how attempts end; what it leaves out exits 0 after 1 s, its output null",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Simulate it, print what became of it."""
    plan = load_plan(arguments.spec, console)
    if plan is None:
        return 2
    from engine import testing

    data = read_json(arguments.script) if arguments.script is not None else {}
    inputs = inputs_of(plan, arguments)
    seed = arguments.seed if arguments.seed is not None else 0
    result = testing.simulate(plan, testing.parse_script(data, plan), inputs, seed=seed)
    return show(result, arguments, console)
