"""E302: a step that no run of its node visits.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from engine.analysis.step_reachability import StepReachability, analyse_steps, list_usable_routes
from engine.diagnostics import Diagnostic, RelatedSpan, Rule
from engine.plan.machine import Route, Step
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_route_path, find_step_span

__all__ = ["RULE", "check"]

IncomingRoutes = list[tuple[int, Route]]
"""Routes, each with the index of its step."""

RULE = Rule("E302", "unreachable-step", "a step that no run of its node visits")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step that is never visited, in order."""
    for node in plan.nodes:
        yield from _check_node(plan, node)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if len(node.machine.steps) > 1 and node.name not in plan.invalid_nodes:
        found = analyse_steps(node.machine)
        left = [at for at in range(len(node.machine.steps)) if at not in found.steps]
        into = _find_incoming_routes(node) if left else {}
        for at in left:
            yield _build_diagnostic(plan, node, found, at, into.get(at, []))


def _build_diagnostic(
    plan: Plan, node: Node, found: StepReachability, at: int, incoming: IncomingRoutes
) -> Diagnostic:
    name = node.name_of(at)
    live = [(step, route) for step, route in incoming if step in found.steps]
    shown = live or incoming
    return Diagnostic(
        RULE,
        f"`{name}` is never reached: {_explain(node, at, live, incoming)}",
        plan.spec.source,
        find_step_span(plan, node, at),
        f"lead a route to `{name}`, or remove it" if not incoming else None,
        node.name,
        name,
        tuple(
            RelatedSpan(
                f"`{name}` is named here",
                plan.spec.source.value_span(find_route_path(plan, node, step, route)),
            )
            for step, route in shown
        ),
    )


def _find_incoming_routes(node: Node) -> Mapping[int, IncomingRoutes]:
    """Return the routes of other steps that name a step, as `to` or as `then`, by that step."""
    found: dict[int, IncomingRoutes] = defaultdict(list)
    for at, step in enumerate(node.machine.steps):
        for route in step.iter_routes():
            for target in dict.fromkeys((route.to, route.then)):
                if isinstance(target, int) and target != at:
                    found[target].append((at, route))
    return found


def _explain(node: Node, at: int, reachable: IncomingRoutes, incoming: IncomingRoutes) -> str:
    """Explain why no run reaches a step; `reachable` are the incoming routes of visited steps."""
    steps = node.machine.steps
    if not incoming:
        return "no route leads to it"
    if not reachable:
        names = ", ".join(dict.fromkeys(f"`{node.name_of(step)}`" for step, _ in incoming))
        return f"only {names} could lead there, and no run reaches it"
    reasons = [_explain_route(steps[step], route, at) for step, route in reachable]
    if len(reasons) == 1:
        return f"only {reasons[0][0]} leads there, and it {reasons[0][1]}"
    return ", ".join(f"{what} {why}" for what, why in reasons)


def _explain_route(step: Step, route: Route, at: int) -> tuple[str, str]:
    name = f"`{route.key}` of `{step.name}`"
    if route.to == at or route not in list_usable_routes(step):
        return name, "can never be taken"
    return f"the `then` of {name}", "can never be reached"
