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

from engine.base.classes import frozen, value
from engine.base.memo import memoize

__all__ = [
    "MAX_REQUESTED_DELAY",
    "Clause",
    "Decision",
    "End",
    "Enter",
    "LoopEdge",
    "Machine",
    "MachineState",
    "OutcomeCode",
    "Retry",
    "Route",
    "Step",
    "Stop",
    "Target",
    "advance",
    "begin",
    "find_unbounded_loops",
]

OutcomeCode = int | Literal["error", "timeout", "interrupted"]
Verdict = Literal["succeeded", "failed"]

MAX_REQUESTED_DELAY = 300.0
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

    `counter` is its position in `MachineState.routes_used`.
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
    on: frozenset[OutcomeCode] = frozenset()
    matches_all: bool = False
    excluded: frozenset[OutcomeCode] = frozenset()
    delay: float = 0.0
    factor: float = 1.0
    max_delay: float | None = None
    jitter: float = 0.0

    def can_retry(self, outcome: OutcomeCode) -> bool:
        """Return whether this clause applies to the outcome."""
        return outcome in self.on or (
            self.matches_all and outcome != 0 and outcome not in self.excluded
        )

    def delay_before(
        self, retry: int, random: Callable[[], float], requested_delay: float | None
    ) -> float:
        """Return the seconds before retry number `retry` (from 1); `random` returns a number in [0, 1)."""
        try:
            seconds = self.delay * self.factor ** (retry - 1) if self.delay else 0.0
        except OverflowError:
            seconds = float("inf")
        cap = self.max_delay
        if cap is not None and seconds > cap:
            seconds = cap
        if self.jitter:
            seconds *= 1 + self.jitter * (2 * random() - 1)
        if requested_delay is not None:
            seconds = max(
                seconds, min(requested_delay, MAX_REQUESTED_DELAY if cap is None else cap)
            )
        return seconds


@value
class Step:
    """One step of a machine: the names of its exits and where they lead."""

    name: str | None
    """None for a step that is written in its node's own table: it has the node's name, see `Node.name_of`."""
    codes: frozenset[int] | None = frozenset((0,))
    """The exit codes that can come; None in an open step, where any code can."""
    names: Mapping[int, str] = attrs.field(factory=lambda: {0: "success"})
    """The name of each exit code: the step's name for it, else the task's."""
    aliases: Mapping[str, int] = attrs.field(factory=dict)
    """All valid names of each exit."""
    routes: Mapping[OutcomeCode, Route] = attrs.field(factory=dict)
    default: Route | None = None
    """The route written as `"*"`."""
    retry: tuple[Clause, ...] = ()
    can_time_out: bool = False
    """Whether the outcome `timeout` can come."""
    can_be_interrupted: bool = False
    """Whether the outcome `interrupted` can come."""

    def describe_outcome(self, outcome: int | str) -> str:
        """Return the name of an outcome in this step."""
        if isinstance(outcome, str):
            return outcome
        return self.names.get(outcome) or str(outcome)

    def list_outcomes(self) -> tuple[OutcomeCode, ...]:
        """Return all outcomes that can come, exits first, in order; for an open step every code."""
        codes = range(256) if self.codes is None else sorted(self.codes)
        return (*codes, *self.reserved_outcomes)

    @property
    def reserved_outcomes(self) -> tuple[OutcomeCode, ...]:
        """Return the outcomes that can come and are not exits."""
        found: list[OutcomeCode] = ["error"]
        found += ["timeout"] * self.can_time_out
        found += ["interrupted"] * self.can_be_interrupted
        return tuple(found)

    def find_route(self, outcome: OutcomeCode) -> Route | None:
        """Return the route for an outcome, or None.

        A listed route takes precedence over `"*"`, which never takes 0.
        """
        found = self.routes.get(outcome)
        return found if found or outcome == 0 else self.default

    def iter_routes(self) -> Iterator[Route]:
        """Yield every route as it is written."""
        yield from self.routes.values()
        if self.default:
            yield self.default


@value
class Machine:
    """The steps of a node; it starts in `steps[start]` and has `counters` bounded routes."""

    steps: tuple[Step, ...]
    start: int = 0
    counters: int = 0


# -- the transition --------------------------------------------------------------------------------------------


@value
class MachineState:
    """The current state of a machine.

    Counts are tuples: `visits` by step, `routes_used` by bounded route, `retries_used` by clause in this visit.
    """

    step: int
    attempt: int
    visits: tuple[int, ...]
    retries_used: tuple[int, ...]
    routes_used: tuple[int, ...]

    @property
    def visit(self) -> int:
        """Return the number of the current visit of the step, from 1."""
        return self.visits[self.step]


@value
class Retry:
    """Try the same step again after `delay` seconds."""

    delay: float


@value
class Enter:
    """Go to a step after `delay` seconds; this is a new visit."""

    delay: float


@value
class Stop:
    """The machine has ended.

    `code` is the exit that gave the label; None if a route or no exit did.
    """

    result: Verdict
    reason: Literal["completed", "routed", "unrouted", "exhausted"]
    label: str
    code: int | None


Decision = Retry | Enter | Stop
_RETRY_NOW = Retry(0.0)


def begin(machine: Machine) -> MachineState:
    """Return the state of the first attempt."""
    visits = [0] * len(machine.steps)
    visits[machine.start] = 1
    clauses = len(machine.steps[machine.start].retry)
    return MachineState(machine.start, 1, tuple(visits), (0,) * clauses, (0,) * machine.counters)


def advance(
    machine: Machine,
    state: MachineState,
    outcome: OutcomeCode,
    random: Callable[[], float],
    permanent: bool = False,
    requested_delay: float | None = None,
) -> tuple[MachineState, Decision]:
    """Return the state and the decision that follow the outcome of an attempt.

    `requested_delay` is a wait in seconds that the task requested. `permanent` forbids retries; for an exit only where
    no clause names it, since the author of the spec has the last word.
    """
    step = machine.steps[state.step]
    if step.retry and not (permanent and outcome == "error"):
        for index, clause in enumerate(step.retry):
            if clause.can_retry(outcome):
                refused = permanent and outcome not in clause.on
                if not refused and state.retries_used[index] < clause.attempts - 1:
                    return _retry(state, index, clause, random, requested_delay)
                break
    route = step.find_route(outcome)
    if route is None:
        code = outcome if isinstance(outcome, int) else None
        if outcome == 0:
            return state, Stop("succeeded", "completed", step.describe_outcome(outcome), code)
        return state, Stop("failed", "unrouted", step.describe_outcome(outcome), code)
    return _follow_route(machine, state, step, route, outcome)


def _retry(
    state: MachineState, index: int, clause: Clause, draw: Callable[[], float], asked: float | None
) -> tuple[MachineState, Retry]:
    count = state.retries_used[index] + 1
    served = (*state.retries_used[:index], count, *state.retries_used[index + 1 :])
    after = MachineState(state.step, state.attempt + 1, state.visits, served, state.routes_used)
    if not clause.delay and asked is None:
        return after, _RETRY_NOW
    return after, Retry(clause.delay_before(count, draw, asked))


def _follow_route(
    machine: Machine, state: MachineState, step: Step, route: Route, outcome: OutcomeCode
) -> tuple[MachineState, Enter | Stop]:
    target, delay, taken = route.to, route.delay, state.routes_used
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
        return state, Stop(
            target.result, reason, target.label or step.describe_outcome(outcome), code
        )
    visits = (*state.visits[:target], state.visits[target] + 1, *state.visits[target + 1 :])
    return MachineState(target, 1, visits, (0,) * len(machine.steps[target].retry), taken), Enter(
        delay
    )


# -- loops -----------------------------------------------------------------------------------------------------


@frozen
class LoopEdge:
    """One edge of an unbounded loop: from `step` by `route`, or by its `then`."""

    step: int
    route: Route
    is_by_then: bool


@memoize
def find_unbounded_loops(machine: Machine) -> tuple[tuple[LoopEdge, ...], ...]:
    """Find the reachable loops that nothing bounds; empty if the machine is bounded.

    There is one loop for each route (or `then`) that must be bounded, which is the loop's last edge.
    Source: docs/language.md, "Routes".
    """
    reached = _find_reachable_steps(machine)
    hops = {
        at: [
            h for route in machine.steps[at].iter_routes() if (h := _find_unbounded_edge(at, route))
        ]
        for at in reached
    }
    if not any(hops.values()):
        return ()
    return tuple(_iter_loops(hops))


def _find_reachable_steps(machine: Machine) -> dict[int, None]:
    """Return the steps that the start leads to over all routes, `to` and `then`, in order."""
    seen: dict[int, None] = {machine.start: None}
    stack = [machine.start]
    while stack:
        for route in machine.steps[stack.pop()].iter_routes():
            for target in (route.to, route.then if route.max is not None else None):
                if isinstance(target, int) and target not in seen:
                    seen[target] = None
                    stack.append(target)
    return seen


def _find_unbounded_edge(at: int, route: Route) -> LoopEdge | None:
    target = route.to if route.max is None else route.then
    return LoopEdge(at, route, route.max is not None) if isinstance(target, int) else None


def _get_target(hop: LoopEdge) -> int:
    target = hop.route.then if hop.is_by_then else hop.route.to
    assert isinstance(target, int)
    return target


def _iter_loops(hops: Mapping[int, list[LoopEdge]]) -> Iterator[tuple[LoopEdge, ...]]:
    """Yield the loops found by a depth-first search without recursion.

    Each edge back to the path closes a loop; without such edges there is no loop.
    """
    done: set[int] = set()
    for root in hops:
        path: list[LoopEdge] = []
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
            to = _get_target(hop)
            if to in place:
                yield (*path[place[to] :], hop)
            elif to not in done:
                path.append(hop)
                place[to] = len(place)
                stack.append(iter(hops[to]))
