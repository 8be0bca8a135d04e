"""Compute how a node can end, what that does to its edges, and the maximum weight of its runs then.

Endings are distinguished by their effects, not by their names: by the mask of the conditions they satisfy (see
`engine.analysis.choices`) and by whether the failure goes unhandled. A deadline can expire during any run of the node
and caps its time. A `when` that cannot be evaluated ends the node before its first attempt.

Source: docs/language.md, "Results", "Edges and joins", "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import attrs

from engine.analysis.bounds.fan_outs import ItemCosts, holds_slot
from engine.analysis.bounds.machine_paths import Budget, MachineCost, compute_machine_cost
from engine.analysis.bounds.weights import (
    NOTHING,
    TIME,
    Visit,
    Weight,
    cap_weight,
    scale_weight,
    take_maximum,
)
from engine.analysis.choices import Effects, build_effects, list_endings
from engine.analysis.step_reachability import Ending
from engine.plan.fan_out import FanOut
from engine.plan.plan import Node, Plan, may_fail_to_evaluate

__all__ = ["NodeOption", "NodeOptions", "build_cost_key", "compute_options"]


@attrs.frozen
class NodeOption:
    """A group of endings with equal effects.

    `mask` holds the conditions satisfied; `is_unhandled` is whether the node fails and nothing handles it.
    """

    mask: int
    is_unhandled: bool
    weight: Weight


@attrs.frozen
class NodeOptions:
    """All ways in which a node can end.

    `weight` is the maximum of all, `full` the node's seconds without its deadline, `steps` the share of each step.
    """

    alternatives: tuple[NodeOption, ...]
    weight: Weight
    full: float
    steps: tuple[Weight, ...]
    exact: bool
    is_time_exact: bool = True
    """Whether some run takes that long, as far as the node's own items are concerned."""
    item: Weight | None = None
    """The cost of one item of a fan-out."""


def build_cost_key(plan: Plan, node: Node) -> object | None:
    """Return the key that determines all options of a plain node; None for other nodes.

    A plain node has one task without routes, and no edge that names its labels.
    """
    [step, *more_steps], body = node.machine.steps, node.bodies[0]
    kinds = tuple(edge.condition.kind for edge in plan.targets[node.index])
    if more_steps or step.routes or step.default or body.plan or "labels" in kinds:
        return None
    if node.when is not None or node.outputs is not None or node.fan is not None:
        return None
    asks = body.task is not None and body.task.may_request_delay
    attempt = (step.codes, step.reserved_outcomes, step.retry, body.timeout, asks)
    return attempt, node.deadline, node.allow_failure, tuple(dict.fromkeys(kinds))


def compute_options(
    plan: Plan,
    node: Node,
    visits: Sequence[Visit],
    width: int,
    budget: Budget,
    most: float,
    linger: float = 0.0,
) -> NodeOptions:
    """Compute the options of a node that holds at most `width` slots at once, from the weights of its visits.

    A fan-out has at most `most` items. The node ends at most `linger` seconds after a stop request.
    """
    effects = build_effects(plan, node)
    if node.fan is not None:
        return _compute_fan_out_options(effects, node.fan, visits, width, budget, most, linger)

    def kinds_of(ending: Ending, output: bool) -> list[tuple[int, bool]]:
        unmapped = effects.unmapped_ending
        also = [effects.evaluate(unmapped)] if output and unmapped else []
        return [effects.evaluate(ending), *also]

    course = compute_machine_cost(
        node.machine, visits, kinds_of, effects.distinguished_codes, budget
    )
    return _build_options(effects, course, width, linger)


def _compute_fan_out_options(
    effects: Effects,
    fan: FanOut,
    visits: Sequence[Visit],
    width: int,
    budget: Budget,
    most: float,
    linger: float,
) -> NodeOptions:
    """Compute the options of a fan-out from the ways its items can end."""
    node = effects.node
    unmapped = may_fail_to_evaluate(node.outputs)

    def kinds_of(ending: Ending, output: bool) -> list[str]:
        return [ending.result, *(["failed"] if output and unmapped else [])]

    course = compute_machine_cost(node.machine, visits, kinds_of, frozenset(), budget)
    good, bad = (course.endings.get(result) for result in ("succeeded", "failed"))
    whole = any(body.plan is not None for body in node.bodies)
    items = ItemCosts(fan, most, good, bad, holds_slot(node), whole)
    results = {"succeeded": items.cost_of_success(), "failed": items.cost_of_failure()}
    found = {result: fanned for result, fanned in results.items() if fanned is not None}
    endings: dict[tuple[int, bool], Weight] = {}
    for ending in list_endings(node, ()):
        if ending.label in ("success", "failure") and ending.result in found:
            _record_option(endings, effects.evaluate(ending), found[ending.result].weight)
    steps = tuple(scale_weight(own, most) for own in course.steps)
    options = _build_options(effects, MachineCost(endings, steps, course.exact), width, linger)
    one = _max_weight(each for each in (good, bad) if each is not None)
    return attrs.evolve(
        options, is_time_exact=all(each.is_time_exact for each in found.values()), item=one
    )


def _build_options(effects: Effects, course: MachineCost, width: int, linger: float) -> NodeOptions:
    deadline = effects.node.deadline
    cap = math.inf if deadline is None else deadline + linger
    ways = {kind: cap_weight(weight, cap, width) for kind, weight in course.endings.items()}
    most = _max_weight(ways.values())
    if effects.timeout_ending:
        _record_option(ways, effects.evaluate(effects.timeout_ending), most)
    if effects.unevaluated_ending:
        _record_option(ways, effects.evaluate(effects.unevaluated_ending), NOTHING)
    options = tuple(NodeOption(mask, lost, weight) for (mask, lost), weight in ways.items())
    steps = tuple((*own[:2], min(own[2], cap)) for own in course.steps)
    full = max((weight[TIME] for weight in course.endings.values()), default=0.0)
    return NodeOptions(options, most, full, steps, course.exact)


def _max_weight(weights: Iterable[Weight]) -> Weight:
    found = NOTHING
    for weight in weights:
        found = take_maximum(found, weight)
    return found


def _record_option(
    ways: dict[tuple[int, bool], Weight], kind: tuple[int, bool], weight: Weight
) -> None:
    ways[kind] = take_maximum(ways[kind], weight) if kind in ways else weight
