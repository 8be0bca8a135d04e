"""Compute which steps the runs of a node visit, which bounded routes they exhaust, and which ends they reach.

Counters are exact. A route is certainly exhausted where its target leads back over unbounded routes alone: a shortest
way back leaves each step once, so the route's own counter is untouched. It is certainly not exhausted where
nothing leads back. Only in between are counter states explored, at most `STEP_SEARCH_BUDGET` of them. What the budget
leaves open counts as possible, so there is never a false alarm. Retries delay an outcome and never prevent it, so
they are ignored.

Source: docs/language.md, "Outcomes", "Retry", "Routes", "Results", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from engine.base.classes import frozen
from engine.base.graphs import reachable_sets
from engine.base.memo import memoize
from engine.plan.machine import End, Machine, OutcomeCode, Route, Step, Target, Verdict

__all__ = [
    "STEP_SEARCH_BUDGET",
    "Ending",
    "StepReachability",
    "analyse_steps",
    "can_machine_succeed",
    "find_reachable_steps",
    "find_steps_without_exit",
    "list_outcomes",
    "list_usable_routes",
    "reachable_endings",
]

STEP_SEARCH_BUDGET = 20_000
"""The maximum number of counter states explored in one machine."""


@frozen
class Ending:
    """One way to end, in `step`.

    The label is that of exit `code`; with a code of None, it comes from a route or is an outcome that is not an exit.
    """

    result: Verdict
    label: str
    code: int | None
    step: int
    exit: int | None = None
    """The exit code of the last attempt; None if it ended without one."""


@frozen
class StepReachability:
    """The steps that runs of a machine visit, and the bounded routes that they exhaust.

    `exhausted_routes` holds, by counter, the routes whose `then` some run takes. `undecided` are those of `steps` that
    no run was found to visit before the budget ran out; `open` are those of `exhausted_routes` that none was found to
    exhaust.
    """

    steps: frozenset[int]
    exhausted_routes: frozenset[int]
    undecided: frozenset[int] = frozenset()
    open: frozenset[int] = frozenset()


@memoize
def analyse_steps(machine: Machine) -> StepReachability:
    """Analyse which steps the runs of a node visit, and which routes they exhaust."""
    routes = [list_usable_routes(step) for step in machine.steps]
    free = [[r.to for r in found if r.max is None] for found in routes]
    sure = _close_over_routes(routes, machine.start, free)
    if not machine.counters:
        return sure
    every = [[t for r in found for t in _iter_written_targets(r)] for found in routes]
    may = _close_over_routes(routes, machine.start, every)
    return sure if sure == may else _explore_states(machine, routes, sure, may)


def reachable_endings(
    machine: Machine, distinguished_codes: Iterable[int] | None = None
) -> frozenset[Ending]:
    """Return every ending that some run of the node reaches."""
    distinguished = None if distinguished_codes is None else frozenset(distinguished_codes)
    known = _get_endings_cache(machine)
    if distinguished not in known:
        known[distinguished] = frozenset(_iter_endings(machine, distinguished))
    return known[distinguished]


@memoize
def _get_endings_cache(machine: Machine) -> dict[frozenset[int] | None, frozenset[Ending]]:
    """Return the cache of reachable endings of a machine, by the exit codes that they distinguish."""
    return {}


def _iter_endings(machine: Machine, distinguished: frozenset[int] | None) -> Iterator[Ending]:
    seen = analyse_steps(machine)
    for at in seen.steps:
        step = machine.steps[at]
        for outcome in list_outcomes(step, distinguished):
            code = outcome if isinstance(outcome, int) else None
            route = step.find_route(outcome)
            if route is None:
                verdict: Verdict = "succeeded" if outcome == 0 else "failed"
                yield Ending(verdict, step.describe_outcome(outcome), code, at, code)
                continue
            for target in _iter_targets(route, seen.exhausted_routes):
                if isinstance(target, End):
                    label = target.label or step.describe_outcome(outcome)
                    named = None if target.label else code
                    yield Ending(target.result, label, named, at, code)


@memoize
def can_machine_succeed(machine: Machine) -> bool:
    """Return whether some run of the node succeeds."""
    return any(ending.result == "succeeded" for ending in reachable_endings(machine, ()))


@memoize
def find_steps_without_exit(machine: Machine) -> frozenset[int]:
    """Find the steps from which no end can be reached.

    The search follows `to` and `then` of the outcomes that can come.
    """
    leads_to: list[list[int]] = [[] for _ in machine.steps]
    free = []
    for at, step in enumerate(machine.steps):
        targets = [t for route in list_usable_routes(step) for t in _iter_written_targets(route)]
        if _has_unrouted_outcome(step) or any(isinstance(t, End) for t in targets):
            free.append(at)
        for target in targets:
            if isinstance(target, int):
                leads_to[target].append(at)
    return frozenset(range(len(machine.steps))) - find_reachable_steps(leads_to, free)


def find_reachable_steps(adjacent: Sequence[Iterable[Target]], start: Iterable[int]) -> set[int]:
    """Return the steps reachable from `start`, themselves included; ends lead nowhere."""
    seen = set(start)
    stack = list(seen)
    while stack:
        for target in adjacent[stack.pop()]:
            if isinstance(target, int) and target not in seen:
                seen.add(target)
                stack.append(target)
    return seen


def list_outcomes(
    step: Step, distinguished_codes: frozenset[int] | None = frozenset()
) -> tuple[OutcomeCode, ...]:
    """Return the outcomes that can come, in order.

    Of a step with open exits: the distinguished codes, and one code for all others.
    """
    if step.codes is not None or distinguished_codes is None:
        return step.list_outcomes()
    distinguished = {
        0,
        *distinguished_codes,
        *step.names,
        *(key for key in step.routes if isinstance(key, int)),
    }
    other = next((code for code in range(1, 256) if code not in distinguished), None)
    codes = sorted(distinguished if other is None else {*distinguished, other})
    return (*codes, *step.reserved_outcomes)


def list_usable_routes(step: Step) -> tuple[Route, ...]:
    """Return the routes that a possible outcome takes, in the order of outcomes."""
    if not step.routes and not step.default:
        return ()
    found = (step.find_route(outcome) for outcome in list_outcomes(step))
    return tuple(dict.fromkeys(route for route in found if route is not None))


def _has_unrouted_outcome(step: Step) -> bool:
    """Return whether some possible outcome is taken by no route."""
    return any(step.find_route(outcome) is None for outcome in list_outcomes(step))


def _iter_written_targets(route: Route) -> Iterator[Target]:
    yield route.to
    if route.max is not None:
        yield route.then


def _iter_targets(route: Route, exhausted_routes: frozenset[int]) -> Iterator[Target]:
    yield route.to
    if route.counter in exhausted_routes:
        yield route.then


# -- counters -------------------------------------------------------------------------------------


def _close_over_routes(
    routes: Sequence[Sequence[Route]], start: int, back: Sequence[Iterable[Target]]
) -> StepReachability:
    """Compute the reachable steps if each route can be exhausted wherever `back` leads from its target to its step."""
    steps, spent, stack = {start}, set(), [start]
    bounded = any(route.max is not None for found in routes for route in found)
    steps_back = [[to for to in targets if isinstance(to, int)] for targets in back]
    behind = reachable_sets(steps_back) if bounded else []
    while stack:
        at = stack.pop()
        for route in routes[at]:
            targets = [route.to]
            if route.max is not None and isinstance(route.to, int) and behind[route.to] >> at & 1:
                spent.add(route.counter)
                targets.append(route.then)
            for target in targets:
                if isinstance(target, int) and target not in steps:
                    steps.add(target)
                    stack.append(target)
    return StepReachability(frozenset(steps), frozenset(spent))


def _explore_states(
    machine: Machine,
    routes: Sequence[Sequence[Route]],
    sure: StepReachability,
    may: StepReachability,
) -> StepReachability:
    """Explore states of (step, routes taken), deepest first, for what `may` adds to `sure`."""
    first = (machine.start, (0,) * machine.counters)
    seen, stack = {first}, [first]
    steps, spent = set(sure.steps), set(sure.exhausted_routes)
    while stack and not (steps == may.steps and spent == may.exhausted_routes):
        if len(seen) > STEP_SEARCH_BUDGET:
            return StepReachability(
                may.steps, may.exhausted_routes, may.steps - steps, may.exhausted_routes - spent
            )
        at, taken = stack.pop()
        steps.add(at)
        for route in routes[at]:
            target, after = _follow_route(route, taken, spent)
            if isinstance(target, int) and (state := (target, after)) not in seen:
                seen.add(state)
                stack.append(state)
    return StepReachability(frozenset(steps), frozenset(spent))


def _follow_route(
    route: Route, taken: tuple[int, ...], spent: set[int]
) -> tuple[Target, tuple[int, ...]]:
    if route.max is None:
        return route.to, taken
    at = route.counter
    if taken[at] == route.max:
        spent.add(at)
        return route.then, taken
    return route.to, (*taken[:at], taken[at] + 1, *taken[at + 1 :])
