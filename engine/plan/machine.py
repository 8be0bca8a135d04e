"""Describe the state machine of a node as data, and compute its transitions as pure functions.

An attempt ends in an outcome: an exit code, `"error"`, `"timeout"` or `"interrupted"`. A retry clause may apply first,
within the visit; then a route, to another step or to an end; then the default: 0 is done, everything else fails as
`unrouted`. Names are resolved: steps are indexes, exits are codes. No clock, task or data is involved.

Source: docs/language.md, "Outcomes", "Retry", "Routes", "Results".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import attrs

from engine.base.classes import frozen
from engine.base.memo import once

__all__ = [
    "ASK_LIMIT",
    "Clause",
    "End",
    "Enter",
    "Hop",
    "Machine",
    "Move",
    "Outcome",
    "Retry",
    "Route",
    "State",
    "Step",
    "Stop",
    "Target",
    "advance",
    "begin",
    "unbounded_loops",
]

Outcome = int | Literal["error", "timeout", "interrupted"]
Verdict = Literal["succeeded", "failed"]

ASK_LIMIT = 300.0
"""The maximum delay in seconds that a task may request (`Retry-After`) where its clause has no `max_delay`."""


# -- the table -------------------------------------------------------------------------------------------------


@frozen
class End:
    """An end, `done` or `fail`, with the label that a route gave it."""

    result: Verdict
    label: str | None = None

    def __str__(self) -> str:
        word = "done" if self.result == "succeeded" else "fail"
        return f"{word}:{self.label}" if self.label else word


Target = int | End
"""The index of a step, or an end."""


@frozen
class Route:
    """One route: `max` times to `to` after `delay` seconds, then `then`.

    `counter` is its position in `State.routes_used`.
    """

    key: str
    to: Target
    max: int | None = None
    then: Target = End("failed")
    delay: float = 0.0
    counter: int = -1


@frozen
class Clause:
    """One retry clause with `attempts` in all, for the outcomes `on`.

    With `matches_all` it applies to all outcomes but 0 and those in `excluded`.
    """

    attempts: int
    on: frozenset[Outcome] = frozenset()
    star: bool = False
    but: frozenset[Outcome] = frozenset()
    delay: float = 0.0
    factor: float = 1.0
    max_delay: float | None = None
    jitter: float = 0.0

    def serves(self, outcome: Outcome) -> bool:
        """Return whether this clause applies to the outcome."""
        return outcome in self.on or (self.star and outcome != 0 and outcome not in self.but)

    def wait(self, retry: int, draw: Callable[[], float], asked: float | None) -> float:
        """Return the seconds before retry number `retry` (from 1); `random` returns a number in [0, 1)."""
        try:
            seconds = self.delay * self.factor ** (retry - 1) if self.delay else 0.0
        except OverflowError:
            seconds = float("inf")
        cap = self.max_delay
        if cap is not None and seconds > cap:
            seconds = cap
        if self.jitter:
            seconds *= 1 + self.jitter * (2 * draw() - 1)
        if asked is not None:
            seconds = max(seconds, min(asked, ASK_LIMIT if cap is None else cap))
        return seconds


@frozen
class Step:
    """One step of a machine: the names of its exits and where they lead."""

    name: str | None
    """None where it is written in its node's own table: it is called like the node, see `Node.name_of`."""
    codes: frozenset[int] | None = frozenset((0,))
    """The exit codes that can come; None in an open step, where any code can."""
    names: Mapping[int, str] = attrs.field(factory=lambda: {0: "success"})
    """The name of each exit code: the step's name for it, else the task's."""
    aliases: Mapping[str, int] = attrs.field(factory=dict)
    """All valid names of each exit."""
    routes: Mapping[Outcome, Route] = attrs.field(factory=dict)
    default: Route | None = None
    """The route written as `"*"`."""
    retry: tuple[Clause, ...] = ()
    times_out: bool = False
    """Whether the outcome `timeout` can come."""
    interrupts: bool = False
    """Whether the outcome `interrupted` can come."""

    def label(self, outcome: int | str) -> str:
        """Return the name of an outcome in this step."""
        if isinstance(outcome, str):
            return outcome
        return self.names.get(outcome) or str(outcome)

    def outcomes(self) -> tuple[Outcome, ...]:
        """Return all outcomes that can come, exits first, in order; for an open step every code."""
        codes = range(256) if self.codes is None else sorted(self.codes)
        return (*codes, *self.reserved)

    @property
    def reserved(self) -> tuple[Outcome, ...]:
        """Return the outcomes that can come and are not exits."""
        found: list[Outcome] = ["error"]
        found += ["timeout"] * self.times_out
        found += ["interrupted"] * self.interrupts
        return tuple(found)

    def route(self, outcome: Outcome) -> Route | None:
        """Return the route for an outcome, or None.

        A listed route takes precedence over `"*"`, which never takes 0.
        """
        found = self.routes.get(outcome)
        return found if found or outcome == 0 else self.default

    def written(self) -> Iterator[Route]:
        """Yield every route as it is written."""
        yield from self.routes.values()
        if self.default:
            yield self.default


@frozen
class Machine:
    """The steps of a node; it starts in `steps[start]` and has `counters` bounded routes."""

    steps: tuple[Step, ...]
    start: int = 0
    counters: int = 0


# -- the transition --------------------------------------------------------------------------------------------


@frozen
class State:
    """The current state of a machine.

    Counts are tuples: `visits` by step, `routes_used` by bounded route, `retries_used` by clause in this visit.
    """

    step: int
    attempt: int
    visits: tuple[int, ...]
    served: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def visit(self) -> int:
        """Return the number of the current visit of the step, from 1."""
        return self.visits[self.step]


@frozen
class Retry:
    """Try the same step again after `delay` seconds."""

    delay: float


@frozen
class Enter:
    """Go to a step after `delay` seconds; this is a new visit."""

    delay: float


@frozen
class Stop:
    """The machine has ended.

    `code` is the exit that gave the label; None if a route or no exit did.
    """

    result: Verdict
    reason: Literal["completed", "routed", "unrouted", "exhausted"]
    label: str
    code: int | None


Move = Retry | Enter | Stop
_AT_ONCE = Retry(0.0)


def begin(machine: Machine) -> State:
    """Return the state of the first attempt."""
    visits = [0] * len(machine.steps)
    visits[machine.start] = 1
    clauses = len(machine.steps[machine.start].retry)
    return State(machine.start, 1, tuple(visits), (0,) * clauses, (0,) * machine.counters)


def advance(
    machine: Machine,
    state: State,
    outcome: Outcome,
    draw: Callable[[], float],
    permanent: bool = False,
    asked: float | None = None,
) -> tuple[State, Move]:
    """Return the state and the decision that follow the outcome of an attempt.

    `requested_delay` is a wait in seconds that the task requested. `permanent` forbids retries; for an exit only where no
    clause names it, since the author of the spec has the last word.
    """
    step = machine.steps[state.step]
    if step.retry and not (permanent and outcome == "error"):
        for index, clause in enumerate(step.retry):
            if clause.serves(outcome):
                refused = permanent and outcome not in clause.on
                if not refused and state.served[index] < clause.attempts - 1:
                    return _again(state, index, clause, draw, asked)
                break
    route = step.route(outcome)
    if route is None:
        code = outcome if isinstance(outcome, int) else None
        if outcome == 0:
            return state, Stop("succeeded", "completed", step.label(outcome), code)
        return state, Stop("failed", "unrouted", step.label(outcome), code)
    return _follow(machine, state, step, route, outcome)


def _again(
    state: State, index: int, clause: Clause, draw: Callable[[], float], asked: float | None
) -> tuple[State, Retry]:
    count = state.served[index] + 1
    served = (*state.served[:index], count, *state.served[index + 1 :])
    after = State(state.step, state.attempt + 1, state.visits, served, state.taken)
    if not clause.delay and asked is None:
        return after, _AT_ONCE
    return after, Retry(clause.wait(count, draw, asked))


def _follow(
    machine: Machine, state: State, step: Step, route: Route, outcome: Outcome
) -> tuple[State, Enter | Stop]:
    target, delay, taken = route.to, route.delay, state.taken
    exhausted = False
    if route.max is not None:
        count = taken[route.counter]
        if count < route.max:
            taken = (*taken[: route.counter], count + 1, *taken[route.counter + 1 :])
        else:
            target, delay, exhausted = route.then, 0.0, True
    if isinstance(target, End):
        code = outcome if target.label is None and isinstance(outcome, int) else None
        reason: Literal["exhausted", "routed"] = "exhausted" if exhausted else "routed"
        return state, Stop(target.result, reason, target.label or step.label(outcome), code)
    visits = (*state.visits[:target], state.visits[target] + 1, *state.visits[target + 1 :])
    return State(target, 1, visits, (0,) * len(machine.steps[target].retry), taken), Enter(delay)


# -- is it bounded? --------------------------------------------------------------------------------------------


@frozen
class Hop:
    """One edge of an unbounded loop: from `step` by `route`, or by its `then`."""

    step: int
    route: Route
    by_then: bool


@once
def unbounded_loops(machine: Machine) -> tuple[tuple[Hop, ...], ...]:
    """Find the reachable loops that nothing bounds; empty if the machine is bounded.

    There is one loop for each route (or `then`) that must be bounded, which is the loop's last edge.
    Source: docs/language.md, "Routes".
    """
    reached = _reach(machine)
    hops = {
        at: [h for route in machine.steps[at].written() if (h := _unbounded_hop(at, route))]
        for at in reached
    }
    if not any(hops.values()):
        return ()
    return tuple(_loops(hops))


def _reach(machine: Machine) -> dict[int, None]:
    """Return the steps that the start leads to over all routes, `to` and `then`, in order."""
    seen: dict[int, None] = {machine.start: None}
    stack = [machine.start]
    while stack:
        for route in machine.steps[stack.pop()].written():
            for target in (route.to, route.then if route.max is not None else None):
                if isinstance(target, int) and target not in seen:
                    seen[target] = None
                    stack.append(target)
    return seen


def _unbounded_hop(at: int, route: Route) -> Hop | None:
    target = route.to if route.max is None else route.then
    return Hop(at, route, route.max is not None) if isinstance(target, int) else None


def _target(hop: Hop) -> int:
    target = hop.route.then if hop.by_then else hop.route.to
    assert isinstance(target, int)
    return target


def _loops(hops: Mapping[int, list[Hop]]) -> Iterator[tuple[Hop, ...]]:
    """Yield the loops found by a depth-first search without recursion.

    Each edge back to the path closes a loop; without such edges there is no loop.
    """
    done: set[int] = set()
    for root in hops:
        path: list[Hop] = []
        place = {root: 0}
        stack = [iter(hops[root])] if root not in done else []
        while stack:
            hop = next(stack[-1], None)
            if hop is None:
                stack.pop()
                done.add(place.popitem()[0])
                if path:
                    path.pop()
                continue
            to = _target(hop)
            if to in place:
                yield (*path[place[to] :], hop)
            elif to not in done:
                path.append(hop)
                place[to] = len(place)
                stack.append(iter(hops[to]))
