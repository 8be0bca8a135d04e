"""Machine: one node's routing state machine as data, and the pure transition that drives it.

An attempt ends in an outcome: an exit code, `"error"`, `"timeout"` or `"interrupted"`. First a retry clause may serve it (inside
the visit), then a route (to another step, or to an end), then the default: 0 is done, all else fails as `unrouted`. Names are
resolved: steps are indexes, exits are codes. Knows no clock, no task, no data. Source: LANGUAGE.md sections 3 to 6.
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
"""Seconds a task may ask to wait (`Retry-After`) where its clause has no `max_delay`."""


# -- the table -------------------------------------------------------------------------------------------------


@frozen
class End:
    """`done` or `fail`, with the label a route gave it."""

    result: Verdict
    label: str | None = None

    def __str__(self) -> str:
        word = "done" if self.result == "succeeded" else "fail"
        return f"{word}:{self.label}" if self.label else word


Target = int | End
"""A step's index, or an end."""


@frozen
class Route:
    """One written route: `max` times to `to` after `delay` seconds, then `then`. `counter` is its place in `State.taken`."""

    key: str
    to: Target
    max: int | None = None
    then: Target = End("failed")
    delay: float = 0.0
    counter: int = -1


@frozen
class Clause:
    """One retry clause: `attempts` in all; serves the outcomes `on`, or with `star` all but 0 and those in `but`."""

    attempts: int
    on: frozenset[Outcome] = frozenset()
    star: bool = False
    but: frozenset[Outcome] = frozenset()
    delay: float = 0.0
    factor: float = 1.0
    max_delay: float | None = None
    jitter: float = 0.0

    def serves(self, outcome: Outcome) -> bool:
        """Whether this clause takes the outcome."""
        return outcome in self.on or (self.star and outcome != 0 and outcome not in self.but)

    def wait(self, retry: int, draw: Callable[[], float], asked: float | None) -> float:
        """Seconds before retry number `retry` (from 1); `draw` gives a number in [0, 1)."""
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
    """One state: what its exits are called and where they lead."""

    name: str | None
    """None where it is written in its node's own table: it is called like the node, see `Node.name_of`."""
    codes: frozenset[int] | None = frozenset((0,))
    """Codes that can come; None in an open step, where any can."""
    names: Mapping[int, str] = attrs.field(factory=lambda: {0: "success"})
    """What a code is called: the step's name for it, else the task's."""
    aliases: Mapping[str, int] = attrs.field(factory=dict)
    """Every valid name of an exit."""
    routes: Mapping[Outcome, Route] = attrs.field(factory=dict)
    default: Route | None = None
    """The route written `"*"`."""
    retry: tuple[Clause, ...] = ()
    times_out: bool = False
    """Whether the outcome `timeout` can come."""
    interrupts: bool = False
    """Whether the outcome `interrupted` can come."""

    def label(self, outcome: int | str) -> str:
        """An outcome by the step's own names."""
        if isinstance(outcome, str):
            return outcome
        return self.names.get(outcome) or str(outcome)

    def outcomes(self) -> tuple[Outcome, ...]:
        """All outcomes that can come, exits first, in order; of an open step every code."""
        codes = range(256) if self.codes is None else sorted(self.codes)
        return (*codes, *self.reserved)

    @property
    def reserved(self) -> tuple[Outcome, ...]:
        """The outcomes that can come and are no exits."""
        found: list[Outcome] = ["error"]
        found += ["timeout"] * self.times_out
        found += ["interrupted"] * self.interrupts
        return tuple(found)

    def route(self, outcome: Outcome) -> Route | None:
        """The route for an outcome; a listed one beats `"*"`, which never takes 0."""
        found = self.routes.get(outcome)
        return found if found or outcome == 0 else self.default

    def written(self) -> Iterator[Route]:
        """Every route as written."""
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
    """Where a machine is. Counts are tuples: `visits` by step, `taken` by bounded route, `served` by clause of this visit."""

    step: int
    attempt: int
    visits: tuple[int, ...]
    served: tuple[int, ...]
    taken: tuple[int, ...]

    @property
    def visit(self) -> int:
        """Which visit of its step this is, from 1."""
        return self.visits[self.step]


@frozen
class Retry:
    """Try the same step again after `delay` seconds."""

    delay: float


@frozen
class Enter:
    """Go to a step (a new visit) after `delay` seconds."""

    delay: float


@frozen
class Stop:
    """The machine has ended. `code` is the exit that named the label, None if a route or no exit did."""

    result: Verdict
    reason: Literal["completed", "routed", "unrouted", "exhausted"]
    label: str
    code: int | None


Move = Retry | Enter | Stop
_AT_ONCE = Retry(0.0)


def begin(machine: Machine) -> State:
    """The state of the first attempt."""
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
    """What follows from an attempt's outcome. `asked` is a wait the task asked for, in seconds.

    `permanent` forbids retries; of an exit only where no clause names it, for whoever writes the spec has the last word.
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
    """Loops that can be reached, one for each route (or `then`) that must be bounded, which is its last hop; empty if the machine
    is bounded. Source: section 5."""
    reached = _reach(machine)
    hops = {
        at: [h for route in machine.steps[at].written() if (h := _unbounded_hop(at, route))]
        for at in reached
    }
    if not any(hops.values()):
        return ()
    return tuple(_loops(hops))


def _reach(machine: Machine) -> dict[int, None]:
    """Steps that can be reached from the start over all routes, `to` and `then`, in order."""
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
    """Depth-first search without recursion; each edge back to the path closes a loop, and without those there is none."""
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
