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

from engine.analysis.step_reachability import outcomes_of, survey
from engine.base.classes import define, frozen
from engine.plan.machine import End, Outcome, Route, Target
from engine.plan.plan import Node

__all__ = ["EFFORT", "END", "Absences", "Walk", "absences", "ended"]

EFFORT = 20_000
"""The maximum number of states of one machine explored for one step that is read."""

END = -1
"""Stands in place of a step for the point where the node's `outputs` are evaluated."""


def ended(step: int) -> int:
    """Return the number that stands for the point after an attempt of a step.

    There the attempt has ended with an exit code and its `set` is evaluated, which may read the output of that attempt.
    """
    return END - 1 - step


Walk = tuple[tuple[int, Outcome], ...]
"""A sequence of steps, each with the outcome that ended its visit."""


@frozen
class Absences:
    """The places where a step's output may be missing: by step (or END) a trace there, and the undecided ones."""

    found: Mapping[int, Walk]
    undecided: frozenset[int]


def absences(node: Node, reads: Mapping[int, Collection[int]]) -> dict[int, Absences]:
    """Find, for each step that is read, the readers for which its output may be missing.

    Readers are steps, END, or `after_step` of steps.
    """
    moves = [tuple(_moves(node, at)) for at in range(len(node.machine.steps))]
    spent = survey(node.machine).spent
    counted = None if node.machine.counters else spent
    doubt = _doubts(node, moves, spent)
    found: dict[int, Absences] = {}
    for watched, readers in reads.items():
        wanted = frozenset(at for at in readers if doubt.get(at, 0) >> watched & 1)
        if wanted:
            found[watched] = _Search(node, watched, wanted, moves, counted).explore()
        else:
            found[watched] = Absences({}, frozenset())
    return found


def _doubts(node: Node, moves: Sequence[Sequence[_Move]], spent: frozenset[int]) -> dict[int, int]:
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
                doubt[ended(at)] = doubt.get(ended(at), 0) | left
            for target in _loose(move.route, spent):
                if isinstance(target, End):
                    doubt[END] = doubt.get(END, 0) | (left if move.output else 0)
                elif left & ~doubt.get(target, 0) or target not in doubt:
                    doubt[target] = doubt.get(target, 0) | left
                    if target not in waiting:
                        waiting.add(target)
                        queue.append(target)
    return doubt


def _loose(route: Route | None, spent: frozenset[int]) -> Iterator[Target]:
    """Yield the targets that a route may lead to if counters are ignored."""
    if route is None:
        yield End("succeeded")
        return
    yield route.to
    if route.max is not None and route.counter in spent:
        yield route.then


@frozen
class _Move:
    """One way to end a visit: the first outcome of its kind, and the route that it takes."""

    outcome: Outcome
    route: Route | None
    output: bool


def _moves(node: Node, at: int) -> Iterator[_Move]:
    """Yield one way to end a visit for each route, with and without an output."""
    step, child = node.machine.steps[at], node.bodies[at].plan is not None
    seen: set[tuple[Route | None, bool]] = set()
    for outcome in outcomes_of(step):
        output = isinstance(outcome, int) and not (child and outcome == 1)
        sort = (step.route(outcome), output)
        if sort not in seen:
            seen.add(sort)
            yield _Move(outcome, *sort)


State = tuple[int, bool, tuple[int, ...]]
"""The step, whether the watched step has an output, and how often each bounded route was taken."""


@define(eq=False)
class _Search:
    """A search of the states of one machine, shortest traces first.

    With `exhausted_routes`, counters are ignored and exactly these routes may be exhausted.
    """

    node: Node
    watched: int
    wanted: frozenset[int]
    moves: Sequence[Sequence[_Move]]
    spent: frozenset[int] | None
    found: dict[int, Walk] = attrs.Factory(dict)
    came: dict[State, tuple[State, Outcome] | None] = attrs.Factory(dict)

    def explore(self) -> Absences:
        """Return all that the search finds within its budget."""
        counters = 0 if self.spent is not None else self.node.machine.counters
        first: State = (self.node.machine.start, False, (0,) * counters)
        self.came[first] = None
        queue = deque([first])
        while queue and len(self.found) < len(self.wanted):
            if len(self.came) > EFFORT and self.spent is None:
                return Absences(self.found, self.wanted - self.found.keys())
            state = queue.popleft()
            if not state[1]:
                self._meet(state[0], state)
            for move in self.moves[state[0]]:
                queue.extend(self._after(state, move))
        return Absences(self.found, frozenset())

    def _meet(self, target: int, state: State, *last: tuple[int, Outcome]) -> None:
        if target in self.wanted and target not in self.found:
            self.found[target] = (*self._walk(state), *last)

    def _after(self, state: State, move: _Move) -> Iterator[State]:
        """Yield the new states that follow a visit; an end is recorded here."""
        at, had, taken = state
        has = move.output if at == self.watched else had
        if not has and isinstance(move.outcome, int):
            self._meet(ended(at), state, (at, move.outcome))
        for target, after in self._targets(move.route, taken):
            if isinstance(target, End):
                if move.output and not has:
                    self._meet(END, state, (at, move.outcome))
            elif (new := (target, has, after)) not in self.came:
                self.came[new] = (state, move.outcome)
                yield new

    def _targets(
        self, route: Route | None, taken: tuple[int, ...]
    ) -> Iterator[tuple[Target, tuple[int, ...]]]:
        if route is None or route.max is None or self.spent is not None:
            yield from ((target, taken) for target in _loose(route, self.spent or frozenset()))
        elif taken[route.counter] == route.max:
            yield route.then, taken
        else:
            at = route.counter
            yield route.to, (*taken[:at], taken[at] + 1, *taken[at + 1 :])

    def _walk(self, state: State) -> Iterator[tuple[int, Outcome]]:
        hops = []
        while (before := self.came[state]) is not None:
            state, outcome = before
            hops.append((state[0], outcome))
        yield from reversed(hops)
