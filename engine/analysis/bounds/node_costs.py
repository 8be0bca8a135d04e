"""Node -> Options: how it can end, what that does to its edges, and the most a run weighs then.

Endings are told apart by what they do, not by what they are called: by the mask of the conditions
they satisfy (see `choices`) and by whether the failure goes unhandled. A deadline can strike amid
any run of the node and cuts its time. A `when` that cannot be evaluated ends the node before its
first attempt. Source: LANGUAGE.md sections 6 to 8.
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
    """Endings that do the same: `mask` of conditions satisfied, `lost`: failed and not handled."""

    mask: int
    lost: bool
    weight: Weight


@attrs.frozen
class Options:
    """All a node can do; `weight` is the most of all, `full` its seconds without the deadline,
    `steps` what falls to each step."""

    ways: tuple[Option, ...]
    weight: Weight
    full: float
    steps: tuple[Weight, ...]
    exact: bool
    timed: bool = True
    """Whether some run takes so long, as far as its own items go."""
    item: Weight | None = None
    """What one item of a fan-out comes to."""


def alike(plan: Plan, node: Node) -> object | None:
    """What all options of a plain node follow from: one task without routes, no labels asked for."""
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
    """The options of a node that holds at most `width` places at once, given what visits weigh; a
    fan-out has at most so many items. It ends at most `linger` seconds after it is told to."""
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
    """The options of a fan-out: how its items can end tells how it can."""
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
