"""W305: a route that no run takes, or a bound that no run uses up. Source: LANGUAGE.md sections 5,
15 (T3) and 16.

Routes are judged over the visits of their step: one of a step that is never visited is left to E302.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Rule
from engine.ends import Survey, survey, taken_routes
from engine.machine import Outcome, Route, Step
from engine.plan import Node, Plan
from engine.rules.spans import route_path
from engine.source import Span

__all__ = ["RULE", "check"]

RULE = Rule("W305", "dead-route", "a route that no run takes, or a `max` that no run uses up")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """One finding for each dead route and each idle bound, in order."""
    for node in plan.nodes:
        if node.name in plan.flawed:
            continue
        found: Survey | None = None
        for at, step in enumerate(node.machine.steps):
            if step.routes or step.default:
                found = found or survey(node.machine)
                if at in found.steps:
                    yield from _of_step(plan, node, at, found)


def _of_step(plan: Plan, node: Node, at: int, found: Survey) -> Iterator[Diagnostic]:
    step = node.machine.steps[at]
    taken = set(taken_routes(step))
    for route in step.written():
        path = route_path(plan, node, at, route)
        if route not in taken:
            span = plan.spec.source.key(path)
            yield _finding(plan, node, step, _dead(step, route), span, "take it out")
        elif isinstance(route.to, int) and route.max and route.counter not in found.spent:
            span = plan.spec.source.value((*path, "max"))
            yield _finding(plan, node, step, _idle(node, route), span, _plainer(node, route))


def _finding(plan: Plan, node: Node, step: Step, message: str, span: Span, help: str) -> Diagnostic:
    return Diagnostic(RULE, message, plan.spec.source, span, help, node.name, step.name)


def _dead(step: Step, route: Route) -> str:
    if route is step.default:
        return (
            f"nothing is left for `*` of `{step.name}`: each other outcome has a route of its own"
        )
    outcome = next(key for key, each in step.routes.items() if each is route)
    return f"no run takes this route: {_cannot(step, outcome)}"


def _cannot(step: Step, outcome: Outcome) -> str:
    if outcome == "timeout":
        return f"`{step.name}` has no `timeout`"
    return f"`{step.name}` cannot end with `{step.label(outcome)}`"


def _idle(node: Node, route: Route) -> str:
    name = _name(node, route)
    return f"this bound can never be used up: nothing leads from `{name}` back often enough"


def _plainer(node: Node, route: Route) -> str:
    return f'write `"{_name(node, route)}"` alone'


def _name(node: Node, route: Route) -> str:
    return node.machine.steps[route.to].name if isinstance(route.to, int) else str(route.to)
