"""Compute where the outcomes of a step's visit lead, and what the visit weighs.

Weights are extended here: behind the sums of a whole run stand the visits, attempts and seconds of each step in a loop,
so that one search finds the maximum of all of them.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from engine.analysis.bounds.weights import ATTEMPTS, TIME, Visit, Weight, more, plus, waiting
from engine.analysis.step_reachability import Ending, outcomes_of
from engine.plan.machine import End, Outcome, Route, Step, Target

__all__ = ["BASE", "Move", "Sort", "Sorts", "moves_of"]

BASE = 6
"""The index in a weight where the sums of steps begin; each step of `loops` has three."""

Sort = Any
"""A hashable value that tells kinds of endings apart."""

Sorts = Callable[[Ending, bool], Sequence[Sort]]
"""Returns the kinds of an ending, given whether its last attempt has an output."""


@attrs.frozen
class Move:
    """The transition of all outcomes that take one route; None if they take none.

    `weight` is that of the visit, `on` includes the `delay` of the route. `to` and `then` give the weight of the visit by
    kind of ending, where these targets are ends.
    """

    route: Route | None
    weight: Weight
    delay: Weight
    on: Weight
    to: Mapping[Sort, Weight]
    then: Mapping[Sort, Weight]


def moves_of(
    step: Step, at: int, visit: Visit, sorts: Sorts, apart: frozenset[int], loops: Sequence[int]
) -> tuple[Move, ...]:
    """Return the transitions of a step in the order of outcomes; codes in `apart` are told apart."""
    taken: dict[str | None, list[tuple[Outcome, Weight]]] = {}
    for outcome in outcomes_of(step, apart):
        weight = visit.get(outcome, visit.get(None))
        if weight is not None:
            route = step.route(outcome)
            key = None if route is None else route.key
            taken.setdefault(key, []).append((outcome, _longer(weight, at, loops)))
    child = None not in visit
    return tuple(_move(step, at, found, sorts, child, loops) for found in taken.values())


def _move(
    step: Step,
    at: int,
    taken: list[tuple[Outcome, Weight]],
    sorts: Sorts,
    child: bool,
    loops: Sequence[int],
) -> Move:
    route = step.route(taken[0][0])
    weight = taken[0][1]
    to: dict[Sort, Weight] = {}
    then: dict[Sort, Weight] = {}
    for outcome, each in taken:
        weight = more(weight, each)
        output = isinstance(outcome, int) and not (child and outcome == 1)
        for found, ending in _endings(step, at, outcome, route, to, then):
            for sort in sorts(ending, output):
                found[sort] = more(found[sort], each) if sort in found else each
    delay = _longer(waiting(route.delay if route else 0.0), at, loops)
    return Move(route, weight, delay, plus(weight, delay), to, then)


def _longer(weight: Weight, at: int, loops: Sequence[int]) -> Weight:
    """Extend a weight with the share of each step that can be visited again."""
    if not loops:
        return weight
    own = (min(weight[0], 1), weight[ATTEMPTS], weight[TIME])
    return (*weight, *(each for loop in loops for each in (own if loop == at else (0, 0, 0.0))))


def _endings(
    step: Step,
    at: int,
    outcome: Outcome,
    route: Route | None,
    to: dict[Sort, Weight],
    then: dict[Sort, Weight],
) -> Iterator[tuple[dict[Sort, Weight], Ending]]:
    code = outcome if isinstance(outcome, int) else None
    if route is None:
        result = End("succeeded" if outcome == 0 else "failed")
        yield to, Ending(result.result, step.label(outcome), code, at)
        return
    targets: list[tuple[dict[Sort, Weight], Target]] = [(to, route.to)]
    if route.max is not None:
        targets.append((then, route.then))
    for found, target in targets:
        if isinstance(target, End):
            label = target.label or step.label(outcome)
            yield found, Ending(target.result, label, None if target.label else code, at)
