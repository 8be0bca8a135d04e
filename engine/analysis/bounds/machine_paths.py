"""Compute the heaviest runs of one node's machine, by the way they end.

A run is a path through states of (step, how often each bounded route was taken). Where two steps do not lead back to
each other, no count is carried from one to the other: a route between them is never taken twice. States form no cycle
where the machine is bounded, so one pass in order finds the maximum of each sum. Beyond the budget a run is cut
where it takes a bounded route. The pieces are paths over the remaining routes, with `then` in place of each bounded
route; one piece begins at the start, at most `max` pieces at the target of each route. Their sum is never less than the
weight of a run.

Source: docs/language.md, "Routes", "Worst case".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import attrs

from engine.analysis.bounds.transitions import (
    WEIGHT_FIGURES,
    EndingKind,
    EndingKindsOf,
    Transition,
    build_transitions,
)
from engine.analysis.bounds.weights import (
    ATTEMPTS,
    TIME,
    Visit,
    Weight,
    add_weights,
    scale_weight,
    take_maximum,
)
from engine.analysis.step_reachability import find_reachable_steps
from engine.base.graphs import strongly_connected_components
from engine.plan.machine import Machine, Step

__all__ = ["Budget", "MachineCost", "compute_machine_cost"]


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
class MachineCost:
    """The maximum weight of runs by the kind of their ending, and the share of each step.

    `steps` has visits, attempts and seconds of each step, zero where no run comes. Exact or not, the figures are never
    below those of a run.
    """

    endings: Mapping[EndingKind, Weight]
    steps: tuple[Weight, ...]
    exact: bool


PathState = tuple[int, tuple[int, ...]]
_StateEdge = tuple[Weight, PathState]
"""An edge between states: the weight of the visit, and the state that it leads to."""


def compute_machine_cost(
    machine: Machine,
    visits: Sequence[Visit],
    kinds_of: EndingKindsOf,
    apart: frozenset[int],
    budget: Budget,
) -> MachineCost:
    """Compute the heaviest runs of a bounded machine; `apart` are the exit codes that endings distinguish."""
    steps = machine.steps
    reached = sorted(
        find_reachable_steps([_list_next_steps(step) for step in steps], [machine.start])
    )
    part = (
        strongly_connected_components([_list_next_steps(step) for step in steps])
        if len(steps) > 1
        else [0]
    )
    sizes = Counter(part)
    loops = [at for at in reached if sizes[part[at]] > 1 or at in _list_next_steps(steps[at])]
    moves = [
        build_transitions(step, at, visits[at], kinds_of, apart, loops)
        for at, step in enumerate(steps)
    ]
    found = _compute_exactly(machine, moves, part, budget)
    endings, visited = found or _compute_upper_bound(machine, moves, part, reached)
    shares = [
        _select_step_share(endings, loops.index(at))
        if at in loops
        else _max_single_visit(moves[at])
        if at in visited
        else _NEVER
        for at in range(len(steps))
    ]
    plain = {kind: weight[:WEIGHT_FIGURES] for kind, weight in endings.items()}
    return MachineCost(plain, tuple(shares), found is not None)


_NEVER: Weight = (0, 0, 0.0)


def _list_next_steps(step: Step) -> list[int]:
    targets = [t for r in step.iter_routes() for t in (r.to, r.then if r.max is not None else None)]
    return [target for target in targets if isinstance(target, int)]


def _select_step_share(endings: Mapping[EndingKind, Weight], place: int) -> Weight:
    """Return the share of a step in a loop; a run that visits it has an ending, too."""
    first = WEIGHT_FIGURES + 3 * place
    most = _NEVER
    for weight in endings.values():
        most = take_maximum(most, weight[first : first + 3])
    return most


def _max_single_visit(moves: Sequence[Transition]) -> Weight:
    """Return the share of a step that is visited once, with the delay after it."""
    most = _NEVER
    for move in moves:
        most = take_maximum(most, (1, move.on[ATTEMPTS], move.on[TIME]))
    return most


# -- exactly ---------------------------------------------------------------------------------------


def _compute_exactly(
    machine: Machine, moves: Sequence[Sequence[Transition]], part: Sequence[int], budget: Budget
) -> tuple[dict[EndingKind, Weight], set[int]] | None:
    """Return the maximum weights by kind, and the steps visited; None if the budget does not suffice."""
    first = (machine.start, (0,) * machine.counters)
    order = _order_states(first, moves, part, budget)
    if order is None:
        return None
    best: dict[PathState, Weight] = {first: (0,) * len(_max_any_move(moves[machine.start]))}
    endings: dict[EndingKind, Weight] = {}
    for state, hops in order:
        come = best.pop(state)
        for weight, after in hops:
            total = add_weights(come, weight)
            best[after] = take_maximum(best[after], total) if after in best else total
        for move in moves[state[0]]:
            for kind, weight in _get_ending_weights(move, state[1]).items():
                total = add_weights(come, weight)
                endings[kind] = take_maximum(endings[kind], total) if kind in endings else total
    return endings, {state[0] for state, _ in order}


def _max_any_move(moves: Sequence[Transition]) -> Weight:
    return moves[0].weight


def _order_states(
    first: PathState, moves: Sequence[Sequence[Transition]], part: Sequence[int], budget: Budget
) -> list[tuple[PathState, list[_StateEdge]]] | None:
    """Return all reachable states, each before those it leads to; None if the budget does not suffice."""
    size = len(_max_any_move(moves[first[0]]))
    spent = 0
    hops = {first: list(_iter_state_edges(first, moves, part))}
    done: list[tuple[PathState, list[_StateEdge]]] = []
    stack = [(first, iter(hops[first]))]
    while stack:
        state, rest = stack[-1]
        after = next((after for _, after in rest if after not in hops), None)
        if after is None:
            done.append((state, hops[state]))
            stack.pop()
            continue
        hops[after] = list(_iter_state_edges(after, moves, part))
        effort = size * (1 + len(hops[after]))
        spent += effort
        if spent > budget.each or not budget.spend(effort):
            return None
        stack.append((after, iter(hops[after])))
    return done[::-1]


def _iter_state_edges(
    state: PathState, moves: Sequence[Sequence[Transition]], part: Sequence[int]
) -> Iterator[_StateEdge]:
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


def _get_ending_weights(move: Transition, taken: Sequence[int]) -> Mapping[EndingKind, Weight]:
    route = move.route
    if route is None or route.max is None:
        return move.to
    return move.then if taken[route.counter] == route.max else move.to


# -- roughly ---------------------------------------------------------------------------------------


def _compute_upper_bound(
    machine: Machine,
    moves: Sequence[Sequence[Transition]],
    part: Sequence[int],
    reached: Sequence[int],
) -> tuple[dict[EndingKind, Weight], set[int]]:
    """Return an upper bound that holds for every kind of ending, and the steps visited."""
    longest = _find_longest_pieces(machine, moves, reached)
    total = longest[machine.start]
    for at in reached:
        for move in moves[at]:
            route = move.route
            if route is not None and route.max is not None and isinstance(route.to, int):
                often = route.max if part[route.to] == part[at] else 1
                total = add_weights(
                    total, scale_weight(add_weights(longest[route.to], move.delay), often)
                )
    kinds = [kind for at in reached for move in moves[at] for kind in (*move.to, *move.then)]
    return dict.fromkeys(kinds, total), set(reached)


def _find_longest_pieces(
    machine: Machine, moves: Sequence[Sequence[Transition]], reached: Sequence[int]
) -> dict[int, Weight]:
    """Return the longest path from each step over the remaining routes, wherever it may end."""
    longest: dict[int, Weight] = {}
    for root in reached:
        stack = [root]
        while stack:
            at = stack[-1]
            left = [t for _, t in _iter_remaining_moves(moves[at]) if t not in longest]
            if at not in longest and left:
                stack += left
                continue
            stack.pop()
            if at not in longest:
                most: Weight = (0,) * len(_max_any_move(moves[machine.start]))
                for move in moves[at]:
                    most = take_maximum(most, move.weight)
                for weight, target in _iter_remaining_moves(moves[at]):
                    most = take_maximum(most, add_weights(weight, longest[target]))
                longest[at] = most
    return longest


def _iter_remaining_moves(moves: Sequence[Transition]) -> Iterator[tuple[Weight, int]]:
    for move in moves:
        route = move.route
        if route is not None:
            bounded = route.max is not None
            target = route.then if bounded else route.to
            if isinstance(target, int):
                yield (move.weight if bounded else move.on), target
