"""Compute how a node can end, what that does to its edges, and the maximum weight of its runs then.

Endings are told apart by their effects, not by their names: by the mask of the conditions they satisfy (see
`engine.analysis.choices`) and by whether the failure goes unhandled. A deadline can expire during any run of the node
and caps its time. A `when` that cannot be evaluated ends the node before its first attempt.

Source: docs/language.md, "Results", "Edges and joins", "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from engine.analysis.bounds.fan_outs import Items, solid
from engine.analysis.bounds.machine_paths import Budget, Course, course_of
from engine.analysis.bounds.weights import NOTHING, TIME, Visit, Weight, capped, more, times
from engine.analysis.choices import Effects, effects_of, endings_of
from engine.analysis.step_reachability import Ending
from engine.plan.fan_out import Fan
from engine.plan.plan import Node, Plan, misreads

__all__ = ["Option", "Options", "alike", "options_of"]


@attrs.frozen
class Option:
    """A group of endings with equal effects.

    `mask` holds the conditions satisfied; `is_unhandled` is whether the node fails and nothing handles it.
    """

    mask: int
    lost: bool
    weight: Weight


@attrs.frozen
class Options:
    """All ways in which a node can end.

    `weight` is the maximum of all, `full` the node's seconds without its deadline, `steps` the share of each step.
    """

    ways: tuple[Option, ...]
    weight: Weight
    full: float
    steps: tuple[Weight, ...]
    exact: bool
    timed: bool = True
    """Whether some run takes that long, as far as the node's own items are concerned."""
    item: Weight | None = None
    """The cost of one item of a fan-out."""


def alike(plan: Plan, node: Node) -> object | None:
    """Return the key that determines all options of a plain node; None for other nodes.

    A plain node has one task without routes, and no edge that names its labels.
    """
    [step, *more_steps], body = node.machine.steps, node.bodies[0]
    kinds = tuple(edge.condition.kind for edge in plan.targets[node.index])
    if more_steps or step.routes or step.default or body.plan or "labels" in kinds:
        return None
    if node.when is not None or node.outputs is not None or node.fan is not None:
        return None
    asks = body.task is not None and body.task.may_ask
    attempt = (step.codes, step.reserved, step.retry, body.timeout, asks)
    return attempt, node.deadline, node.allow_failure, tuple(dict.fromkeys(kinds))


def options_of(
    plan: Plan,
    node: Node,
    visits: Sequence[Visit],
    width: int,
    budget: Budget,
    most: float,
    linger: float = 0.0,
) -> Options:
    """Compute the options of a node that holds at most `width` slots at once, from the weights of its visits.

    A fan-out has at most `most` items. The node ends at most `linger` seconds after a stop request.
    """
    effects = effects_of(plan, node)
    if node.fan is not None:
        return _fanned(effects, node.fan, visits, width, budget, most, linger)

    def sorts(ending: Ending, output: bool) -> list[tuple[int, bool]]:
        unmapped = effects.unmapped
        also = [effects.of(unmapped)] if output and unmapped else []
        return [effects.of(ending), *also]

    course = course_of(node.machine, visits, sorts, effects.apart, budget)
    return _options(effects, course, width, linger)


def _fanned(
    effects: Effects,
    fan: Fan,
    visits: Sequence[Visit],
    width: int,
    budget: Budget,
    most: float,
    linger: float,
) -> Options:
    """Compute the options of a fan-out from the ways its items can end."""
    node = effects.node
    unmapped = misreads(node.outputs)

    def sorts(ending: Ending, output: bool) -> list[str]:
        return [ending.result, *(["failed"] if output and unmapped else [])]

    course = course_of(node.machine, visits, sorts, frozenset(), budget)
    good, bad = (course.endings.get(result) for result in ("succeeded", "failed"))
    whole = any(body.plan is not None for body in node.bodies)
    items = Items(fan, most, good, bad, solid(node), whole)
    results = {"succeeded": items.won(), "failed": items.lost()}
    found = {result: fanned for result, fanned in results.items() if fanned is not None}
    endings: dict[tuple[int, bool], Weight] = {}
    for ending in endings_of(node, ()):
        if ending.label in ("success", "failure") and ending.result in found:
            _add(endings, effects.of(ending), found[ending.result].weight)
    steps = tuple(times(own, most) for own in course.steps)
    options = _options(effects, Course(endings, steps, course.exact), width, linger)
    one = _most(each for each in (good, bad) if each is not None)
    return attrs.evolve(options, timed=all(each.timed for each in found.values()), item=one)


def _options(effects: Effects, course: Course, width: int, linger: float) -> Options:
    deadline = effects.node.deadline
    cap = math.inf if deadline is None else deadline + linger
    ways = {sort: capped(weight, cap, width) for sort, weight in course.endings.items()}
    most = _most(ways.values())
    if effects.timeout:
        _add(ways, effects.of(effects.timeout), most)
    if effects.unread:
        _add(ways, effects.of(effects.unread), NOTHING)
    options = tuple(Option(mask, lost, weight) for (mask, lost), weight in ways.items())
    steps = tuple((*own[:2], min(own[2], cap)) for own in course.steps)
    full = max((weight[TIME] for weight in course.endings.values()), default=0.0)
    return Options(options, most, full, steps, course.exact)


def _most(weights: Iterable[Weight]) -> Weight:
    found = NOTHING
    for weight in weights:
        found = more(found, weight)
    return found


def _add(ways: dict[tuple[int, bool], Weight], sort: tuple[int, bool], weight: Weight) -> None:
    ways[sort] = more(ways[sort], weight) if sort in ways else weight
