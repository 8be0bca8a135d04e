"""W304: a declared exit that a step with routes leaves to the default `fail`.

A step without routes means that any exit but 0 is a failure; a step with routes selects some exits, and may have
forgotten others. The default is meant for exit 1 with the name `failure`.
Source: docs/language.md, "Routes", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Rule
from engine.plan.machine import Step
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_step_path

__all__ = ["RULE", "check"]

RULE = Rule("W304", "unrouted-exit", "an exit with a name that has no route")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step that has exits without a route, in order."""
    for node in plan.nodes:
        yield from _check_node(plan, node)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if node.name not in plan.invalid_nodes:
        for at, step in enumerate(node.machine.steps):
            if step.routes and step.default is None and (left := _find_unrouted_exits(step)):
                yield _build_diagnostic(plan, node, at, left)


def _find_unrouted_exits(step: Step) -> list[int]:
    """Return the possible named exits that no route takes."""
    return [
        code
        for code, name in sorted(step.names.items())
        if code != 0
        and (code, name) != (1, "failure")
        and code not in step.routes
        and (step.codes is None or code in step.codes)
    ]


def _build_diagnostic(plan: Plan, node: Node, at: int, codes: list[int]) -> Diagnostic:
    step, own = node.machine.steps[at], node.name_of(at)
    names = ", ".join(f"`{step.names[code]}`" for code in codes)
    what = f"exit {names}" if len(codes) == 1 else f"exits {names}"
    return Diagnostic(
        RULE,
        f"`{own}` has no route for {what}, so the node fails",
        plan.spec.source,
        plan.spec.source.key_span((*find_step_path(plan, node, at), "routes")),
        'add a route for each, or `"*" = "fail"`',
        node.name,
        own,
    )
