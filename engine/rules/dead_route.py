"""W305: a route that no run takes, or a bound that no run uses up.

Routes are checked over the visits of their step; those of a step that is never visited are left to E302.
Source: docs/language.md, "Routes", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.step_reachability import analyse_steps, list_usable_routes
from engine.base.memo import memoize
from engine.diagnostics import Diagnostic, Rule
from engine.plan.machine import Machine, OutcomeCode, Route, Step
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_route_path

__all__ = ["RULE", "check"]

RULE = Rule("W305", "dead-route", "a route that no run takes, or a `max` that no run reaches")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each dead route and each unused bound, in order."""
    for node in plan.nodes:
        yield from _check_node(plan, node)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if node.name not in plan.invalid_nodes:
        for at, route, dead in _find_idle_routes(node.machine):
            yield (
                _report_dead_route(plan, node, at, route)
                if dead
                else _report_unused_bound(plan, node, at, route)
            )


@memoize
def _find_idle_routes(machine: Machine) -> tuple[tuple[int, Route, bool], ...]:
    """Return the routes that no run takes (True), or whose bound no run uses up (False), by step."""
    if not any(step.routes or step.default for step in machine.steps):
        return ()
    found, idle = analyse_steps(machine), []
    for at in sorted(found.steps):
        taken = set(list_usable_routes(machine.steps[at]))
        for route in machine.steps[at].iter_routes():
            bounded = isinstance(route.to, int) and route.max is not None
            if route not in taken or (bounded and route.counter not in found.exhausted_routes):
                idle.append((at, route, route not in taken))
    return tuple(idle)


def _report_dead_route(plan: Plan, node: Node, at: int, route: Route) -> Diagnostic:
    step, name = node.machine.steps[at], node.name_of(at)
    if route == step.default:
        message = f"`*` of `{name}` is never used: every outcome has its own route"
    else:
        outcome = next(key for key, each in step.routes.items() if each == route)
        message = f"no run takes this route: {_explain_missing_outcome(step, name, outcome)}"
    span = plan.spec.source.key_span(find_route_path(plan, node, at, route))
    source = plan.spec.source
    return Diagnostic(RULE, message, source, span, "remove it", node.name, name)


def _report_unused_bound(plan: Plan, node: Node, at: int, route: Route) -> Diagnostic:
    source, to = plan.spec.source, _describe_target(node, route)
    message = f"this bound can never be reached: no path leads from `{to}` back here often enough"
    span = source.value_span((*find_route_path(plan, node, at, route), "max"))
    help = f'write only `"{to}"`'
    return Diagnostic(RULE, message, source, span, help, node.name, node.name_of(at))


def _explain_missing_outcome(step: Step, name: str, outcome: OutcomeCode) -> str:
    if outcome == "timeout":
        return f"`{name}` has no `timeout`"
    if outcome == "interrupted":
        return f'`{name}` does not set `on_interrupt = "route"`'
    return f"`{name}` cannot end with `{step.describe_outcome(outcome)}`"


def _describe_target(node: Node, route: Route) -> str:
    return node.name_of(route.to) if isinstance(route.to, int) else str(route.to)
