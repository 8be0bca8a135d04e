"""E302: a step that no run of its node visits.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from engine.analysis.step_reachability import Survey, survey, taken_routes
from engine.diagnostics import Diagnostic, Note, Rule
from engine.plan.machine import Route, Step
from engine.plan.plan import Node, Plan
from engine.rules.locations import route_path, step_span

__all__ = ["RULE", "check"]

Into = list[tuple[int, Route]]
"""Routes, each with the index of its step."""

RULE = Rule("E302", "unreachable-step", "a step that no run of its node visits")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step that is never visited, in order."""
    for node in plan.nodes:
        yield from _in_node(plan, node)


def _in_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if len(node.machine.steps) > 1 and node.name not in plan.flawed:
        found = survey(node.machine)
        left = [at for at in range(len(node.machine.steps)) if at not in found.steps]
        into = _into(node) if left else {}
        for at in left:
            yield _finding(plan, node, found, at, into.get(at, []))


def _finding(plan: Plan, node: Node, found: Survey, at: int, into: Into) -> Diagnostic:
    name = node.name_of(at)
    live = [(step, route) for step, route in into if step in found.steps]
    shown = live or into
    return Diagnostic(
        RULE,
        f"`{name}` is never reached: {_why(node, at, live, into)}",
        plan.spec.source,
        step_span(plan, node, at),
        f"lead a route to `{name}`, or remove it" if not into else None,
        node.name,
        name,
        tuple(
            Note(
                f"`{name}` is named here",
                plan.spec.source.value(route_path(plan, node, step, route)),
            )
            for step, route in shown
        ),
    )


def _into(node: Node) -> Mapping[int, Into]:
    """Return the routes of other steps that name a step, as `to` or as `then`, by that step."""
    found: dict[int, Into] = defaultdict(list)
    for at, step in enumerate(node.machine.steps):
        for route in step.written():
            for target in dict.fromkeys((route.to, route.then)):
                if isinstance(target, int) and target != at:
                    found[target].append((at, route))
    return found


def _why(node: Node, at: int, live: Into, into: Into) -> str:
    """Explain why no run reaches a step; `reachable` are the incoming routes of visited steps."""
    steps = node.machine.steps
    if not into:
        return "no route leads to it"
    if not live:
        names = ", ".join(dict.fromkeys(f"`{node.name_of(step)}`" for step, _ in into))
        return f"only {names} could lead there, and no run reaches it"
    reasons = [_reason(steps[step], route, at) for step, route in live]
    if len(reasons) == 1:
        return f"only {reasons[0][0]} leads there, and it {reasons[0][1]}"
    return ", ".join(f"{what} {why}" for what, why in reasons)


def _reason(step: Step, route: Route, at: int) -> tuple[str, str]:
    name = f"`{route.key}` of `{step.name}`"
    if route.to == at or route not in taken_routes(step):
        return name, "can never be taken"
    return f"the `then` of {name}", "can never be reached"
