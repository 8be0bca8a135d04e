"""E302: a step that no run of its node visits. Source: LANGUAGE.md sections 5 and 15 (T3)."""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Note, Rule
from engine.ends import Survey, survey, taken_routes
from engine.kin import everywhere
from engine.machine import Route, Step
from engine.plan import Node, Plan
from engine.rules.spans import route_path, step_span

__all__ = ["RULE", "check"]

RULE = Rule("E302", "unreachable-step", "a step that no run of its node visits")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """One finding for each step that is never visited, in order."""
    return everywhere(plan, _in_node)


def _in_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if len(node.machine.steps) > 1 and node.name not in plan.flawed:
        found = survey(node.machine)
        for at in range(len(node.machine.steps)):
            if at not in found.steps:
                yield _finding(plan, node, found, at)


def _finding(plan: Plan, node: Node, found: Survey, at: int) -> Diagnostic:
    name = node.machine.steps[at].name
    into = list(_into(node, at))
    live = [(step, route) for step, route in into if step in found.steps]
    shown = live or into
    return Diagnostic(
        RULE,
        f"`{name}` is never reached: {_why(node, at, live, into)}",
        plan.spec.source,
        step_span(plan, node, at),
        f"lead a route to `{name}`, or take it out" if not into else None,
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


def _into(node: Node, at: int) -> Iterator[tuple[int, Route]]:
    """Routes of other steps that name a step, as `to` or as `then`."""
    for other, step in enumerate(node.machine.steps):
        for route in step.written():
            if other != at and at in (route.to, route.then):
                yield other, route


Into = list[tuple[int, Route]]


def _why(node: Node, at: int, live: Into, into: Into) -> str:
    """What keeps runs from a step; of the routes into it, runs come past those in `live`."""
    steps = node.machine.steps
    if not into:
        return "no route leads to it"
    if not live:
        names = ", ".join(dict.fromkeys(f"`{steps[step].name}`" for step, _ in into))
        return f"only {names} could lead there, never reached either"
    reasons = [_reason(steps[step], route, at) for step, route in live]
    if len(reasons) == 1:
        return f"only {reasons[0][0]} leads there, and it {reasons[0][1]}"
    return ", ".join(f"{what} {why}" for what, why in reasons)


def _reason(step: Step, route: Route, at: int) -> tuple[str, str]:
    name = f"`{route.key}` of `{step.name}`"
    if route.to == at or route not in taken_routes(step):
        return name, "can never be taken"
    return f"the `then` of {name}", "can never be used up"
