"""Compute where the outcomes of a step's visit lead, and what the visit weighs.

Weights are extended here: behind the sums of a whole run stand the visits, attempts and seconds of each step in a loop,
so that one search finds the maximum of all of them.

Source: docs/language.md, "Routes".
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from engine.analysis.bounds.weights import (
    ATTEMPTS,
    TIME,
    Visit,
    Weight,
    add_weights,
    take_maximum,
    weigh_wait,
)
from engine.analysis.step_reachability import Ending, list_outcomes
from engine.plan.machine import End, OutcomeCode, Route, Step, Target

__all__ = ["WEIGHT_FIGURES", "EndingKind", "EndingKindsOf", "Transition", "build_transitions"]

WEIGHT_FIGURES = 6
"""The index in a weight where the sums of steps begin; each step of `loops` has three."""

EndingKind = Any
"""A hashable value that distinguishes kinds of endings."""

EndingKindsOf = Callable[[Ending, bool], Sequence[EndingKind]]
"""Returns the kinds of an ending, given whether its last attempt has an output."""


@attrs.frozen
class Transition:
    """The transition of all outcomes that take one route; None if they take none.

    `weight` is that of the visit, `on` includes the `delay` of the route. `to` and `then` give the weight of the visit
    by kind of ending, where these targets are ends.
    """

    route: Route | None
    weight: Weight
    delay: Weight
    on: Weight
    to: Mapping[EndingKind, Weight]
    then: Mapping[EndingKind, Weight]


def build_transitions(
    step: Step,
    at: int,
    visit: Visit,
    kinds_of: EndingKindsOf,
    apart: frozenset[int],
    loops: Sequence[int],
) -> tuple[Transition, ...]:
    """Return the transitions of a step in the order of outcomes; codes in `apart` are distinguished."""
    taken: dict[str | None, list[tuple[OutcomeCode, Weight]]] = {}
    for outcome in list_outcomes(step, apart):
        weight = visit.get(outcome, visit.get(None))
        if weight is not None:
            route = step.find_route(outcome)
            key = None if route is None else route.key
            taken.setdefault(key, []).append((outcome, _extend_weight(weight, at, loops)))
    child = None not in visit
    return tuple(
        _build_transition(step, at, found, kinds_of, child, loops) for found in taken.values()
    )


def _build_transition(
    step: Step,
    at: int,
    taken: list[tuple[OutcomeCode, Weight]],
    kinds_of: EndingKindsOf,
    child: bool,
    loops: Sequence[int],
) -> Transition:
    route = step.find_route(taken[0][0])
    weight = taken[0][1]
    to: dict[EndingKind, Weight] = {}
    then: dict[EndingKind, Weight] = {}
    for outcome, each in taken:
        weight = take_maximum(weight, each)
        output = isinstance(outcome, int) and not (child and outcome == 1)
        for found, ending in _record_endings(step, at, outcome, route, to, then):
            for kind in kinds_of(ending, output):
                found[kind] = take_maximum(found[kind], each) if kind in found else each
    delay = _extend_weight(weigh_wait(route.delay if route else 0.0), at, loops)
    return Transition(route, weight, delay, add_weights(weight, delay), to, then)


def _extend_weight(weight: Weight, at: int, loops: Sequence[int]) -> Weight:
    """Extend a weight with the share of each step that can be visited again."""
    if not loops:
        return weight
    own = (min(weight[0], 1), weight[ATTEMPTS], weight[TIME])
    return (*weight, *(each for loop in loops for each in (own if loop == at else (0, 0, 0.0))))


def _record_endings(
    step: Step,
    at: int,
    outcome: OutcomeCode,
    route: Route | None,
    to: dict[EndingKind, Weight],
    then: dict[EndingKind, Weight],
) -> Iterator[tuple[dict[EndingKind, Weight], Ending]]:
    code = outcome if isinstance(outcome, int) else None
    if route is None:
        result = End("succeeded" if outcome == 0 else "failed")
        yield to, Ending(result.result, step.describe_outcome(outcome), code, at)
        return
    targets: list[tuple[dict[EndingKind, Weight], Target]] = [(to, route.to)]
    if route.max is not None:
        targets.append((then, route.then))
    for found, target in targets:
        if isinstance(target, End):
            label = target.label or step.describe_outcome(outcome)
            yield found, Ending(target.result, label, None if target.label else code, at)
