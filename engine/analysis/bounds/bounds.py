"""Plan -> Bounds: the worst case of a plan as values, for rules and for people.

What it means and why it holds is said in `measure`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import attrs

from engine.analysis.bounds.heaviest_runs import Link, Most
from engine.analysis.bounds.pipeline_costs import Measure
from engine.analysis.bounds.weights import ATTEMPTS, TIME, VISITS, Weight
from engine.base.memo import once
from engine.plan.plan import Body, Node, Plan

__all__ = ["Bound", "Bounds", "Endless", "NodeBound", "bounds_of"]


@attrs.frozen
class Bound:
    """The most that something comes to, each figure by itself; infinite where nothing bounds it.

    Exact: some assignment of exits comes to it. Else nothing comes to more.
    """

    visits: float
    attempts: float
    seconds: float
    exact: bool = True
    exact_time: bool = True


@attrs.frozen
class NodeBound:
    """One node, and its steps in order; `runs` is whether any run starts it. Of a fan-out `item` is one
    of at most `items`, and what falls to a step is that of all items.

    `full` is its seconds without its deadline, `children` those of the sub-pipelines of its steps
    without a timeout.
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
class Endless:
    """A step whose attempts have no end by the clock: it has no timeout, or what it holds has none.

    `inside` is the path of the step in the sub-pipeline that lacks it; `pool` one that the node
    holds while its sub-pipeline waits for another; `list` tells that it is the number of items that
    has no bound.
    """

    node: Node
    step: int
    inside: str = ""
    pool: str = ""
    list: bool = False


@attrs.frozen(eq=False)
class Bounds:
    """All of a plan. `path` are the nodes of the longest chain, `full` is the seconds of a run without
    its deadline; `endless` is empty where time is bounded, `uncounted` (the paths of fan-outs whose
    lists may be of any length) where attempts are."""

    plan: Plan
    nodes: tuple[NodeBound, ...]
    path: tuple[int, ...]
    critical: Bound
    run: Bound
    full: float
    endless: tuple[Endless, ...]
    uncounted: tuple[str, ...] = ()


@once
def bounds_of(plan: Plan) -> Bounds | None:
    """The worst case of a plan as the outermost run; None if a machine in it is not bounded, or it has errors."""
    return None if _untold(plan) else _bounds(Measure(plan, frozenset()))


def _untold(plan: Plan) -> bool:
    return any(part.loops or part.flawed for part in plan.within())


def _bounds(measure: Measure) -> Bounds:
    """All figures, for the outermost run, what is to be done at its end included."""
    found = _alone(measure)
    return found if measure.closing is None else _both(found, _alone(measure.closing))


def _both(found: Bounds, closing: Bounds) -> Bounds:
    """Nodes that begin when all others have ended: the figures add up."""
    behind = len(found.nodes)
    return attrs.evolve(
        found,
        nodes=(*found.nodes, *closing.nodes),
        path=(*found.path, *(behind + at for at in closing.path)),
        critical=_sum(found.critical, closing.critical),
        run=_sum(found.run, closing.run),
        endless=(*found.endless, *closing.endless),
        uncounted=(*found.uncounted, *closing.uncounted),
    )


def _sum(one: Bound, other: Bound) -> Bound:
    return Bound(
        one.visits + other.visits,
        one.attempts + other.attempts,
        one.seconds + other.seconds,
        one.exact and other.exact,
        one.exact_time and other.exact_time,
    )


def _alone(measure: Measure) -> Bounds:
    """The figures of its nodes but for those of `[finally]`."""
    most = measure.most("any")
    assert most is not None
    cap = measure.deadline
    nodes = tuple(_node(measure, node, most) for node in measure.plan.nodes)
    exact = measure.exactly(most)
    timed = exact and all(measure.sound(measure.plan.nodes[node])[1] for node in most.ran)
    chain, total, full = most.trail[0], most.total, measure.seconds(most)
    seconds = min(full, cap)
    critical = _bound(chain, min(chain[TIME], cap), exact, timed)
    met = measure.free or seconds <= critical.seconds
    run = _bound(total, seconds, exact, timed and met)
    endless = tuple(_endless(measure, most)) if math.isinf(seconds) else ()
    uncounted = tuple(_uncounted(measure, most))
    path = _path(most.trail[1])
    return Bounds(measure.plan, nodes, path, critical, run, full, endless, uncounted)


def _uncounted(measure: Measure, most: Most) -> Iterator[str]:
    """The fan-outs without a bound of their items, in sub-pipelines too."""
    for node in measure.plan.nodes:
        if node.index not in most.ran:
            continue
        if math.isinf(measure.items[node.index]):
            yield node.name
        for step, body in zip(node.step_names, node.bodies, strict=True):
            child = measure.children[id(body.plan)] if body.plan else None
            inner = child.most("any") if child else None
            if child and inner:
                yield from (f"{node.name}/{step}/{path}" for path in _uncounted(child, inner))


def _node(measure: Measure, node: Node, most: Most) -> NodeBound:
    found = measure.options[node.index]
    exact, timed = measure.sound(node)
    whole = _bound(found.weight, found.weight[TIME], exact, timed)
    steps = tuple(_bound(own, own[TIME], exact, timed) for own in found.steps)
    children = tuple(_child(measure, body) for body in node.bodies)
    each, items = found.item, measure.items[node.index]
    item = None if each is None else _bound(each, each[TIME], exact, timed)
    return NodeBound(node, node.index in most.ran, whole, steps, found.full, children, item, items)


def _child(measure: Measure, body: Body) -> float | None:
    """The longest run of a step's sub-pipeline."""
    load = measure.load_of(body)
    if load is None:
        return None
    return max(run[TIME] for run in (load.succeeded, load.failed) if run)


def _endless(measure: Measure, most: Most) -> Iterator[Endless]:
    """The steps that keep a run from having a bound in time."""
    locked = []
    for node in measure.plan.nodes:
        found = measure.options[node.index]
        if node.index not in most.ran or node.deadline is not None:
            continue
        for at, (body, own) in enumerate(zip(node.bodies, found.steps, strict=True)):
            if body.plan is not None and node.pool is not None and measure.locks(node):
                locked.append(Endless(node, at, "", node.pool))
            if math.isinf(own[TIME]) and math.isinf(measure.items[node.index]):
                yield Endless(node, at, list=True)
            elif math.isinf(own[TIME]):
                yield Endless(node, at, "" if body.plan is None else _inside(measure, body.plan))
    yield from locked


def _inside(measure: Measure, plan: Plan) -> str:
    """The path of the first step of a sub-pipeline that has no end by the clock."""
    child = measure.children[id(plan)]
    most = child.most("any")
    first = next(_endless(child, most), None) if most else None
    if first is None:
        return ""
    here = f"{first.node.name}/{first.node.name_of(first.step)}"
    return f"{here}/{first.inside}" if first.inside else here


def _bound(weight: Weight, seconds: float, exact: bool, timed: bool) -> Bound:
    visits, attempts = (
        each if math.isinf(each) else int(each) for each in (weight[VISITS], weight[ATTEMPTS])
    )
    return Bound(visits, attempts, seconds, exact, timed)


def _path(link: Link) -> tuple[int, ...]:
    found = []
    while link:
        node, link = link
        found.append(node)
    return tuple(reversed(found))
