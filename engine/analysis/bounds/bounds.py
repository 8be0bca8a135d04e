"""Compute the worst case of a plan as values, for rules and for display.

`engine.analysis.bounds.pipeline_costs` explains the meaning of the figures and proves the bounds.

Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from engine.analysis.bounds.heaviest_runs import HeaviestRun, NodeChain
from engine.analysis.bounds.pipeline_costs import PipelineCosts
from engine.analysis.bounds.weights import ATTEMPTS, TIME, VISITS, Weight
from engine.base.memo import memoize
from engine.plan.plan import Node, Plan, StepBody

__all__ = ["Bound", "Bounds", "NodeBound", "UnboundedStep", "compute_bounds"]


@attrs.frozen
class Bound:
    """The maximum of each figure by itself; infinite where nothing bounds it.

    If it is exact, some assignment of exits reaches it; otherwise no run exceeds it.
    """

    visits: float
    attempts: float
    seconds: float
    exact: bool = True
    exact_time: bool = True


@attrs.frozen
class NodeBound:
    """The worst case of one node and of its steps, in order; `runs` is whether any run starts it.

    In a fan-out `item` is the bound of one of at most `items` items, and the figures of a step are those of all items.
    `full` is the node's seconds without its deadline, `children` those of the sub-pipelines of its steps without a timeout.
    """

    node: Node
    runs: bool
    whole: Bound
    steps: tuple[Bound, ...]
    full: float
    children: tuple[float | None, ...]
    item: Bound | None = None
    items: float = 1


@attrs.frozen
class UnboundedStep:
    """A step whose attempts have no bound in time: it has no timeout, or something in it has none.

    `inside` is the path of the step in the sub-pipeline that lacks a timeout. `pool` is a pool that the node holds while
    its sub-pipeline waits for another. `list` is set if the number of items has no bound.
    """

    node: Node
    step: int
    inside: str = ""
    pool: str = ""
    list: bool = False


@attrs.frozen(eq=False)
class Bounds:
    """The worst case of a whole plan.

    `path` are the nodes of the longest chain; `full` is the seconds of a run without its deadline. `endless` is empty where
    time is bounded; `uncounted`, the paths of fan-outs whose lists may have any length, is empty where attempts are.
    """

    plan: Plan
    nodes: tuple[NodeBound, ...]
    path: tuple[int, ...]
    critical: Bound
    run: Bound
    full: float
    endless: tuple[UnboundedStep, ...]
    uncounted: tuple[str, ...] = ()


@memoize
def compute_bounds(plan: Plan) -> Bounds | None:
    """Compute the worst case of a plan as the outermost run.

    None if the plan has errors, or a machine in it is not bounded.
    """
    return None if _has_unknown_cost(plan) else _compute_bounds(PipelineCosts(plan, frozenset()))


def _has_unknown_cost(plan: Plan) -> bool:
    return any(part.loops or part.invalid_nodes for part in plan.walk_plans())


def _compute_bounds(measure: PipelineCosts) -> Bounds:
    """Compute all figures for the outermost run, its `[finally]` included."""
    found = _compute_bounds_without_finally(measure)
    return (
        found
        if measure.closing is None
        else _add_finally(found, _compute_bounds_without_finally(measure.closing))
    )


def _add_finally(found: Bounds, closing: Bounds) -> Bounds:
    """Add the figures of nodes that begin when all others have ended."""
    behind = len(found.nodes)
    return attrs.evolve(
        found,
        nodes=(*found.nodes, *closing.nodes),
        path=(*found.path, *(behind + at for at in closing.path)),
        critical=_add_bounds(found.critical, closing.critical),
        run=_add_bounds(found.run, closing.run),
        endless=(*found.endless, *closing.endless),
        uncounted=(*found.uncounted, *closing.uncounted),
    )


def _add_bounds(one: Bound, other: Bound) -> Bound:
    return Bound(
        one.visits + other.visits,
        one.attempts + other.attempts,
        one.seconds + other.seconds,
        one.exact and other.exact,
        one.exact_time and other.exact_time,
    )


def _compute_bounds_without_finally(measure: PipelineCosts) -> Bounds:
    """Return the figures of the nodes without those of `[finally]`."""
    most = measure.heaviest_run("any")
    assert most is not None
    cap = measure.deadline
    nodes = tuple(_bound_node(measure, node, most) for node in measure.plan.nodes)
    exact = measure.is_exact(most)
    timed = exact and all(measure.check_exactness(measure.plan.nodes[node])[1] for node in most.ran)
    chain, total, full = most.trail[0], most.total, measure.seconds(most)
    seconds = min(full, cap)
    critical = _make_bound(chain, min(chain[TIME], cap), exact, timed)
    met = measure.never_waits or seconds <= critical.seconds
    run = _make_bound(total, seconds, exact, timed and met)
    endless = tuple(_iter_unbounded_steps(measure, most)) if math.isinf(seconds) else ()
    uncounted = tuple(_iter_unbounded_fan_outs(measure, most))
    path = _unlink_path(most.trail[1])
    return Bounds(measure.plan, nodes, path, critical, run, full, endless, uncounted)


def _iter_unbounded_fan_outs(measure: PipelineCosts, most: HeaviestRun) -> Iterator[str]:
    """Yield the fan-outs without a bound on their items, in sub-pipelines too."""
    for node in measure.plan.nodes:
        if node.index not in most.ran:
            continue
        if math.isinf(measure.items[node.index]):
            yield node.name
        for step, body in zip(node.step_names, node.bodies, strict=True):
            child = measure.children[id(body.plan)] if body.plan else None
            inner = child.heaviest_run("any") if child else None
            if child and inner:
                yield from (
                    f"{node.name}/{step}/{path}" for path in _iter_unbounded_fan_outs(child, inner)
                )


def _bound_node(measure: PipelineCosts, node: Node, most: HeaviestRun) -> NodeBound:
    found = measure.options[node.index]
    exact, timed = measure.check_exactness(node)
    whole = _make_bound(found.weight, found.weight[TIME], exact, timed)
    steps = tuple(_make_bound(own, own[TIME], exact, timed) for own in found.steps)
    children = tuple(_compute_sub_pipeline_seconds(measure, body) for body in node.bodies)
    each, items = found.item, measure.items[node.index]
    item = None if each is None else _make_bound(each, each[TIME], exact, timed)
    return NodeBound(node, node.index in most.ran, whole, steps, found.full, children, item, items)


def _compute_sub_pipeline_seconds(measure: PipelineCosts, body: StepBody) -> float | None:
    """Return the seconds of the longest run of a step's sub-pipeline."""
    load = measure.load_of_body(body)
    if load is None:
        return None
    return max(run[TIME] for run in (load.succeeded, load.failed) if run)


def _iter_unbounded_steps(measure: PipelineCosts, most: HeaviestRun) -> Iterator[UnboundedStep]:
    """Yield the steps that keep a run from having a bound in time."""
    locked = []
    for node in measure.plan.nodes:
        found = measure.options[node.index]
        if node.index not in most.ran or node.deadline is not None:
            continue
        for at, (body, own) in enumerate(zip(node.bodies, found.steps, strict=True)):
            if body.plan is not None and node.pool is not None and measure.can_block_pools(node):
                locked.append(UnboundedStep(node, at, "", node.pool))
            if math.isinf(own[TIME]) and math.isinf(measure.items[node.index]):
                yield UnboundedStep(node, at, list=True)
            elif math.isinf(own[TIME]):
                yield UnboundedStep(
                    node,
                    at,
                    "" if body.plan is None else _find_unbounded_inside(measure, body.plan),
                )
    yield from locked


def _find_unbounded_inside(measure: PipelineCosts, plan: Plan) -> str:
    """Return the path of the first step of a sub-pipeline that has no bound in time."""
    child = measure.children[id(plan)]
    most = child.heaviest_run("any")
    first = next(_iter_unbounded_steps(child, most), None) if most else None
    if first is None:
        return ""
    here = f"{first.node.name}/{first.node.name_of(first.step)}"
    return f"{here}/{first.inside}" if first.inside else here


def _make_bound(weight: Weight, seconds: float, exact: bool, timed: bool) -> Bound:
    visits, attempts = (
        each if math.isinf(each) else int(each) for each in (weight[VISITS], weight[ATTEMPTS])
    )
    return Bound(visits, attempts, seconds, exact, timed)


def _unlink_path(link: NodeChain) -> tuple[int, ...]:
    found = []
    while link:
        node, link = link
        found.append(node)
    return tuple(reversed(found))
