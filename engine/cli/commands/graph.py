"""`engine graph`: print a spec as a drawing, for Mermaid or Graphviz."""

from __future__ import annotations

import argparse

from engine.cli.console import Console
from engine.cli.run_arguments import load_plan_or_report

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "draw the graph of a spec: nodes, edges, and the routes inside nodes"
EXAMPLES = """\
  engine graph pipeline.toml > pipeline.mmd
  engine graph pipeline.toml --format dot | dot -Tsvg > pipeline.svg
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine graph`."""
    parser.add_argument("spec", metavar="FILE", help="the spec")
    parser.add_argument(
        "--format", choices=("mermaid", "dot"), default="mermaid", help="default: mermaid"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the drawing of a spec."""
    plan = load_plan_or_report(arguments.spec, console)
    if plan is None:
        return 2
    from engine.render import graphs

    write = {"mermaid": graphs.render_mermaid, "dot": graphs.render_dot}[arguments.format]
    console.print_output(write(plan))
    return 0
