"""How a machine can end: every end that some assignment of exits reaches, and the steps on the way.

A route counts if its outcome can come and its step can be entered. The `then` of a bounded route counts if the route's `to` can lead
back to its step: an over-approximation where another bound on the way is used up first. Source: LANGUAGE.md sections 5, 6, 15 (T3).
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from engine.machine import End, Machine, Outcome, Route, Step, Verdict

__all__ = ["Ending", "ends_of", "reachable_steps"]


@attrs.frozen
class Ending:
    """One way to end: in `step`, with a label that came from exit `code` or (None) from a route, `error` or `timeout`."""

    result: Verdict
    label: str
    code: int | None
    step: int


def reachable_steps(machine: Machine) -> frozenset[int]:
    """Steps that some run of the node visits."""
    seen = {machine.start}
    stack = [machine.start]
    while stack:
        at = stack.pop()
        for route, _ in _taken(machine.steps[at]):
            for target in _targets(machine, at, route):
                if isinstance(target, int) and target not in seen:
                    seen.add(target)
                    stack.append(target)
    return frozenset(seen)


def ends_of(machine: Machine) -> frozenset[Ending]:
    """Every end that some run of the node reaches."""
    found = set()
    for at in reachable_steps(machine):
        step = machine.steps[at]
        for route, outcome in _taken(step):
            for target in _targets(machine, at, route):
                if isinstance(target, End):
                    code = outcome if target.label is None and isinstance(outcome, int) else None
                    found.add(Ending(target.result, target.label or step.label(outcome), code, at))
        for outcome in step.outcomes():
            if step.route(outcome) is None:
                code = outcome if isinstance(outcome, int) else None
                found.add(Ending("succeeded" if outcome == 0 else "failed", step.label(outcome), code, at))
    return frozenset(found)


def _taken(step: Step) -> Iterator[tuple[Route, Outcome]]:
    for outcome in step.outcomes():
        route = step.route(outcome)
        if route is not None:
            yield route, outcome


def _targets(machine: Machine, at: int, route: Route) -> Iterator[End | int]:
    yield route.to
    if route.max is not None and isinstance(route.to, int) and _leads(machine, route.to, at):
        yield route.then


def _leads(machine: Machine, start: int, goal: int) -> bool:
    """Whether a step can lead to another, bounds aside."""
    seen, stack = {start}, [start]
    while stack:
        at = stack.pop()
        if at == goal:
            return True
        for route, _ in _taken(machine.steps[at]):
            for target in (route.to, route.then if route.max is not None else None):
                if isinstance(target, int) and target not in seen:
                    seen.add(target)
                    stack.append(target)
    return False
