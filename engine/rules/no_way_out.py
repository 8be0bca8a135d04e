"""E303: a step that cannot lead to an end.

A step in an unbounded part of its machine is left to E301.
Source: docs/language.md, "Routes", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.step_reachability import find_reachable_steps, find_steps_without_exit
from engine.diagnostics import Diagnostic, Rule
from engine.plan.machine import LoopEdge, Machine
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_step_span

__all__ = ["RULE", "check"]

RULE = Rule("E303", "no-way-out", "a step from which no end can be reached")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step from which no end can be reached, in order."""
    for node in plan.nodes:
        yield from _check_node(plan, node)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    step = node.machine.steps[0]
    simple = len(node.machine.steps) == 1 and not (step.routes or step.default)
    if simple or node.name in plan.invalid_nodes:
        return
    trapped = find_steps_without_exit(node.machine)
    if trapped:
        reported = _find_steps_in_loops(
            node.machine, [loop for at, loop in plan.loops if at == node.index]
        )
        yield from (_build_diagnostic(plan, node, at) for at in sorted(trapped - reported))


def _build_diagnostic(plan: Plan, node: Node, at: int) -> Diagnostic:
    name = node.name_of(at)
    return Diagnostic(
        RULE,
        f"no end can be reached from `{name}`: whatever its exit, another step follows",
        plan.spec.source,
        find_step_span(plan, node, at),
        "lead one of its routes to `done` or `fail`",
        node.name,
        name,
    )


def _find_steps_in_loops(machine: Machine, loops: list[tuple[LoopEdge, ...]]) -> set[int]:
    """Return the steps in the unbounded parts of a machine for which E301 reports a loop."""
    onwards: list[list[int]] = [[] for _ in machine.steps]
    back: list[list[int]] = [[] for _ in machine.steps]
    for at, step in enumerate(machine.steps):
        for route in step.iter_routes():
            target = route.to if route.max is None else route.then
            if isinstance(target, int):
                onwards[at].append(target)
                back[target].append(at)
    parts = (
        find_reachable_steps(onwards, [loop[0].step]) & find_reachable_steps(back, [loop[0].step])
        for loop in loops
    )
    return set().union(*parts)
