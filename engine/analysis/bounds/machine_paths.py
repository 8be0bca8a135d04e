"""Compute the heaviest runs of one node's machine, by the way they end.

A run is a path through states of (step, how often each bounded route was taken). Where two steps do not lead back to
each other, no count is carried from one to the other: a route between them is never taken twice. States form no cycle
where the machine is bounded, so one pass in order finds the maximum of each sum. Beyond the budget a run is cut
where it takes a bounded route. The pieces are paths over the remaining routes, with `then` in place of each bounded route;
one piece begins at the start, at most `max` pieces at the target of each route. Their sum is never less than the weight
of a run.

Source: docs/language.md, "Routes", "Worst case".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from engine.analysis.bounds.transitions import BASE, Move, Sort, Sorts, moves_of
from engine.analysis.bounds.weights import ATTEMPTS, TIME, Visit, Weight, more, plus, times
from engine.analysis.step_reachability import reach
from engine.base.graphs import parts_of
from engine.plan.machine import Machine, Step

__all__ = ["Budget", "Course", "course_of"]


@attrs.define
class Budget:
    """The remaining effort: `left` in a plan, `each` in one machine."""

    left: int
    each: int

    def spend(self, effort: int) -> bool:
        """Take effort from the budget; return False if that is more than remains."""
        self.left -= effort
        return self.left >= 0


@attrs.frozen
class Course:
    """The maximum weight of runs by the kind of their ending, and the share of each step.

    `steps` has visits, attempts and seconds of each step, zero where no run comes. Exact or not, the figures are never
    below those of a run.
    """

    endings: Mapping[Sort, Weight]
    steps: tuple[Weight, ...]
    exact: bool


State = tuple[int, tuple[int, ...]]
Hop = tuple[Weight, State]
"""An edge between states: the weight of the visit, and the state that it leads to."""


def course_of(
    machine: Machine, visits: Sequence[Visit], sorts: Sorts, apart: frozenset[int], budget: Budget
) -> Course:
    """Compute the heaviest runs of a bounded machine; `apart` are the exit codes told apart in endings."""
    steps = machine.steps
    reached = sorted(reach([_next(step) for step in steps], [machine.start]))
    part = parts_of([_next(step) for step in steps]) if len(steps) > 1 else [0]
    sizes = Counter(part)
    loops = [at for at in reached if sizes[part[at]] > 1 or at in _next(steps[at])]
    moves = [moves_of(step, at, visits[at], sorts, apart, loops) for at, step in enumerate(steps)]
    found = _exactly(machine, moves, part, budget)
    endings, visited = found or _roughly(machine, moves, part, reached)
    shares = [
        _share(endings, loops.index(at))
        if at in loops
        else _once(moves[at])
        if at in visited
        else _NEVER
        for at in range(len(steps))
    ]
    plain = {sort: weight[:BASE] for sort, weight in endings.items()}
    return Course(plain, tuple(shares), found is not None)


_NEVER: Weight = (0, 0, 0.0)


def _next(step: Step) -> list[int]:
    targets = [t for r in step.written() for t in (r.to, r.then if r.max is not None else None)]
    return [target for target in targets if isinstance(target, int)]


def _share(endings: Mapping[Sort, Weight], place: int) -> Weight:
    """Return the share of a step in a loop; a run that visits it has an ending, too."""
    first = BASE + 3 * place
    most = _NEVER
    for weight in endings.values():
        most = more(most, weight[first : first + 3])
    return most


def _once(moves: Sequence[Move]) -> Weight:
    """Return the share of a step that is visited once, with the delay after it."""
    most = _NEVER
    for move in moves:
        most = more(most, (1, move.on[ATTEMPTS], move.on[TIME]))
    return most


# -- exactly ---------------------------------------------------------------------------------------


def _exactly(
    machine: Machine, moves: Sequence[Sequence[Move]], part: Sequence[int], budget: Budget
) -> tuple[dict[Sort, Weight], set[int]] | None:
    """Return the maximum weights by kind, and the steps visited; None if the budget does not suffice."""
    first = (machine.start, (0,) * machine.counters)
    order = _ordered(first, moves, part, budget)
    if order is None:
        return None
    best: dict[State, Weight] = {first: (0,) * len(_any(moves[machine.start]))}
    endings: dict[Sort, Weight] = {}
    for state, hops in order:
        come = best.pop(state)
        for weight, after in hops:
            total = plus(come, weight)
            best[after] = more(best[after], total) if after in best else total
        for move in moves[state[0]]:
            for sort, weight in _ends(move, state[1]).items():
                total = plus(come, weight)
                endings[sort] = more(endings[sort], total) if sort in endings else total
    return endings, {state[0] for state, _ in order}


def _any(moves: Sequence[Move]) -> Weight:
    return moves[0].weight


def _ordered(
    first: State, moves: Sequence[Sequence[Move]], part: Sequence[int], budget: Budget
) -> list[tuple[State, list[Hop]]] | None:
    """Return all reachable states, each before those it leads to; None if the budget does not suffice."""
    size = len(_any(moves[first[0]]))
    spent = 0
    hops = {first: list(_hops(first, moves, part))}
    done: list[tuple[State, list[Hop]]] = []
    stack = [(first, iter(hops[first]))]
    while stack:
        state, rest = stack[-1]
        after = next((after for _, after in rest if after not in hops), None)
        if after is None:
            done.append((state, hops[state]))
            stack.pop()
            continue
        hops[after] = list(_hops(after, moves, part))
        effort = size * (1 + len(hops[after]))
        spent += effort
        if spent > budget.each or not budget.spend(effort):
            return None
        stack.append((after, iter(hops[after])))
    return done[::-1]


def _hops(state: State, moves: Sequence[Sequence[Move]], part: Sequence[int]) -> Iterator[Hop]:
    at, taken = state
    for move in moves[at]:
        route = move.route
        if route is None:
            continue
        target, weight, after = route.to, move.on, taken
        if route.max is not None:
            count = taken[route.counter]
            if count == route.max:
                target, weight = route.then, move.weight
            else:
                after = (*taken[: route.counter], count + 1, *taken[route.counter + 1 :])
        if isinstance(target, int):
            yield weight, (target, after if part[target] == part[at] else (0,) * len(taken))


def _ends(move: Move, taken: Sequence[int]) -> Mapping[Sort, Weight]:
    route = move.route
    if route is None or route.max is None:
        return move.to
    return move.then if taken[route.counter] == route.max else move.to


# -- roughly ---------------------------------------------------------------------------------------


def _roughly(
    machine: Machine, moves: Sequence[Sequence[Move]], part: Sequence[int], reached: Sequence[int]
) -> tuple[dict[Sort, Weight], set[int]]:
    """Return an upper bound that holds for every kind of ending, and the steps visited."""
    longest = _pieces(machine, moves, reached)
    total = longest[machine.start]
    for at in reached:
        for move in moves[at]:
            route = move.route
            if route is not None and route.max is not None and isinstance(route.to, int):
                often = route.max if part[route.to] == part[at] else 1
                total = plus(total, times(plus(longest[route.to], move.delay), often))
    sorts = [sort for at in reached for move in moves[at] for sort in (*move.to, *move.then)]
    return dict.fromkeys(sorts, total), set(reached)


def _pieces(
    machine: Machine, moves: Sequence[Sequence[Move]], reached: Sequence[int]
) -> dict[int, Weight]:
    """Return the longest path from each step over the remaining routes, wherever it may end."""
    longest: dict[int, Weight] = {}
    for root in reached:
        stack = [root]
        while stack:
            at = stack[-1]
            left = [t for _, t in _left(moves[at]) if t not in longest]
            if at not in longest and left:
                stack += left
                continue
            stack.pop()
            if at not in longest:
                most: Weight = (0,) * len(_any(moves[machine.start]))
                for move in moves[at]:
                    most = more(most, move.weight)
                for weight, target in _left(moves[at]):
                    most = more(most, plus(weight, longest[target]))
                longest[at] = most
    return longest


def _left(moves: Sequence[Move]) -> Iterator[tuple[Weight, int]]:
    for move in moves:
        route = move.route
        if route is not None:
            bounded = route.max is not None
            target = route.then if bounded else route.to
            if isinstance(target, int):
                yield (move.weight if bounded else move.on), target
