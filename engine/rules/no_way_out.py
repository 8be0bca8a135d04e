"""E303: a step that cannot lead to an end.

A step in an unbounded part of its machine is left to E301.
Source: docs/language.md, "Routes", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.step_reachability import reach, trapped_steps
from engine.diagnostics import Diagnostic, Rule
from engine.plan.machine import Hop, Machine
from engine.plan.plan import Node, Plan
from engine.rules.locations import step_span

__all__ = ["RULE", "check"]

RULE = Rule("E303", "no-way-out", "a step from which no end can be reached")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step from which no end can be reached, in order."""
    for node in plan.nodes:
        yield from _in_node(plan, node)


def _in_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    step = node.machine.steps[0]
    simple = len(node.machine.steps) == 1 and not (step.routes or step.default)
    if simple or node.name in plan.flawed:
        return
    trapped = trapped_steps(node.machine)
    if trapped:
        told = _told(node.machine, [loop for at, loop in plan.loops if at == node.index])
        yield from (_finding(plan, node, at) for at in sorted(trapped - told))


def _finding(plan: Plan, node: Node, at: int) -> Diagnostic:
    name = node.name_of(at)
    return Diagnostic(
        RULE,
        f"no end can be reached from `{name}`: whatever its exit, another step follows",
        plan.spec.source,
        step_span(plan, node, at),
        "lead one of its routes to `done` or `fail`",
        node.name,
        name,
    )


def _told(machine: Machine, loops: list[tuple[Hop, ...]]) -> set[int]:
    """Return the steps in the unbounded parts of a machine for which E301 reports a loop."""
    onwards: list[list[int]] = [[] for _ in machine.steps]
    back: list[list[int]] = [[] for _ in machine.steps]
    for at, step in enumerate(machine.steps):
        for route in step.written():
            target = route.to if route.max is None else route.then
            if isinstance(target, int):
                onwards[at].append(target)
                back[target].append(at)
    parts = (reach(onwards, [loop[0].step]) & reach(back, [loop[0].step]) for loop in loops)
    return set().union(*parts)
