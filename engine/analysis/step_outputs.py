"""Find reads of `steps.X` whose output may not exist, each with a trace that leads there.

The stored output of a step changes only where a visit of it ends: a retry never leaves the step. So a trace is a
sequence of steps with the outcome that ended each visit, and its state is where it is, how often it took each bounded
route, and whether X has an output. First the counters are ignored (a route may be exhausted or not), for all X at
once: an absence that this does not find never occurs. Where doubt remains, the counters are included, for
at most `STEP_OUTPUT_BUDGET` states.

Source: docs/language.md, "Routes", "Results", "Expressions".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from engine.analysis.step_reachability import analyse_steps, list_outcomes
from engine.base.classes import define, frozen
from engine.plan.machine import End, OutcomeCode, Route, Target
from engine.plan.plan import Node

__all__ = [
    "END",
    "STEP_OUTPUT_BUDGET",
    "MissingStepOutputs",
    "Trace",
    "after_step",
    "find_missing_step_outputs",
]

STEP_OUTPUT_BUDGET = 20_000
"""The maximum number of states of one machine explored for one step that is read."""

END = -1
"""Stands in place of a step for the point where the node's `outputs` are evaluated."""


def after_step(step: int) -> int:
    """Return the number that stands for the point after an attempt of a step.

    There the attempt has ended with an exit code and its `set` is evaluated, which may read the output of that attempt.
    """
    return END - 1 - step


Trace = tuple[tuple[int, OutcomeCode], ...]
"""A sequence of steps, each with the outcome that ended its visit."""


@frozen
class MissingStepOutputs:
    """The places where a step's output may be missing: by step (or END) a trace there, and the undecided ones."""

    found: Mapping[int, Trace]
    undecided: frozenset[int]


def find_missing_step_outputs(
    node: Node, reads: Mapping[int, Collection[int]]
) -> dict[int, MissingStepOutputs]:
    """Find, for each step that is read, the readers for which its output may be missing.

    Readers are steps, END, or `after_step` of steps.
    """
    moves = [tuple(_iter_moves(node, at)) for at in range(len(node.machine.steps))]
    spent = analyse_steps(node.machine).exhausted_routes
    counted = None if node.machine.counters else spent
    doubt = _find_maybe_missing(node, moves, spent)
    found: dict[int, MissingStepOutputs] = {}
    for watched, readers in reads.items():
        wanted = frozenset(at for at in readers if doubt.get(at, 0) >> watched & 1)
        if wanted:
            found[watched] = _Search(node, watched, wanted, moves, counted).explore()
        else:
            found[watched] = MissingStepOutputs({}, frozenset())
    return found


def _find_maybe_missing(
    node: Node, moves: Sequence[Sequence[_Move]], exhausted_routes: frozenset[int]
) -> dict[int, int]:
    """Find the steps, as bits, whose output may be missing at each visited place if counters are ignored.

    Places are steps, END, or `after_step` of steps. All steps are watched at once.
    """
    start = node.machine.start
    doubt = {start: (1 << len(moves)) - 1}
    queue = deque([start])
    waiting = {start}
    while queue:
        at = queue.popleft()
        waiting.remove(at)
        for move in moves[at]:
            left = doubt[at] & ~(1 << at) if move.output else doubt[at] | 1 << at
            if isinstance(move.outcome, int):
                doubt[after_step(at)] = doubt.get(after_step(at), 0) | left
            for target in _iter_uncounted_targets(move.route, exhausted_routes):
                if isinstance(target, End):
                    doubt[END] = doubt.get(END, 0) | (left if move.output else 0)
                elif left & ~doubt.get(target, 0) or target not in doubt:
                    doubt[target] = doubt.get(target, 0) | left
                    if target not in waiting:
                        waiting.add(target)
                        queue.append(target)
    return doubt


def _iter_uncounted_targets(
    route: Route | None, exhausted_routes: frozenset[int]
) -> Iterator[Target]:
    """Yield the targets that a route may lead to if counters are ignored."""
    if route is None:
        yield End("succeeded")
        return
    yield route.to
    if route.max is not None and route.counter in exhausted_routes:
        yield route.then


@frozen
class _Move:
    """One way to end a visit: the first outcome of its kind, and the route that it takes."""

    outcome: OutcomeCode
    route: Route | None
    output: bool


def _iter_moves(node: Node, at: int) -> Iterator[_Move]:
    """Yield one way to end a visit for each route, with and without an output."""
    step, child = node.machine.steps[at], node.bodies[at].plan is not None
    seen: set[tuple[Route | None, bool]] = set()
    for outcome in list_outcomes(step):
        output = isinstance(outcome, int) and not (child and outcome == 1)
        sort = (step.find_route(outcome), output)
        if sort not in seen:
            seen.add(sort)
            yield _Move(outcome, *sort)


WatchedState = tuple[int, bool, tuple[int, ...]]
"""The step, whether the watched step has an output, and how often each bounded route was taken."""


@define(eq=False)
class _Search:
    """A search of the states of one machine, shortest traces first.

    With `exhausted_routes`, counters are ignored and exactly these routes may be exhausted.
    """

    node: Node
    watched: int
    readers: frozenset[int]
    moves: Sequence[Sequence[_Move]]
    exhausted_routes: frozenset[int] | None
    found: dict[int, Trace] = attrs.Factory(dict)
    predecessors: dict[WatchedState, tuple[WatchedState, OutcomeCode] | None] = attrs.Factory(dict)

    def explore(self) -> MissingStepOutputs:
        """Return all that the search finds within its budget."""
        counters = 0 if self.exhausted_routes is not None else self.node.machine.counters
        first: WatchedState = (self.node.machine.start, False, (0,) * counters)
        self.predecessors[first] = None
        queue = deque([first])
        while queue and len(self.found) < len(self.readers):
            if len(self.predecessors) > STEP_OUTPUT_BUDGET and self.exhausted_routes is None:
                return MissingStepOutputs(self.found, self.readers - self.found.keys())
            state = queue.popleft()
            if not state[1]:
                self._record(state[0], state)
            for move in self.moves[state[0]]:
                queue.extend(self._iter_next_states(state, move))
        return MissingStepOutputs(self.found, frozenset())

    def _record(self, target: int, state: WatchedState, *last: tuple[int, OutcomeCode]) -> None:
        if target in self.readers and target not in self.found:
            self.found[target] = (*self._iter_trace(state), *last)

    def _iter_next_states(self, state: WatchedState, move: _Move) -> Iterator[WatchedState]:
        """Yield the new states that follow a visit; an end is recorded here."""
        at, had, taken = state
        has = move.output if at == self.watched else had
        if not has and isinstance(move.outcome, int):
            self._record(after_step(at), state, (at, move.outcome))
        for target, after in self._iter_targets(move.route, taken):
            if isinstance(target, End):
                if move.output and not has:
                    self._record(END, state, (at, move.outcome))
            elif (new := (target, has, after)) not in self.predecessors:
                self.predecessors[new] = (state, move.outcome)
                yield new

    def _iter_targets(
        self, route: Route | None, taken: tuple[int, ...]
    ) -> Iterator[tuple[Target, tuple[int, ...]]]:
        if route is None or route.max is None or self.exhausted_routes is not None:
            yield from (
                (target, taken)
                for target in _iter_uncounted_targets(route, self.exhausted_routes or frozenset())
            )
        elif taken[route.counter] == route.max:
            yield route.then, taken
        else:
            at = route.counter
            yield route.to, (*taken[:at], taken[at] + 1, *taken[at + 1 :])

    def _iter_trace(self, state: WatchedState) -> Iterator[tuple[int, OutcomeCode]]:
        hops = []
        while (before := self.predecessors[state]) is not None:
            state, outcome = before
            hops.append((state[0], outcome))
        yield from reversed(hops)
