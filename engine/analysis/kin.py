"""Which nodes of a plan a rule cannot tell apart but by their names, so that it looks at one of them.

For what a node is by itself, those are the nodes of one mould. For what its references give, it
counts what is read and asked for, and how those that are read can end and what they give: times
and retries do not. A node in which something is wrong stands alone, as one without a mould does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from operator import attrgetter
from typing import TypeVar

from engine.analysis.memo import per_plan
from engine.plan.machine import Machine
from engine.plan.plan import Node, Plan

__all__ = ["everywhere", "first_ones", "moulded", "readers"]

T = TypeVar("T")
Finds = Callable[[Plan, Node], Iterable[T]]
_routing = attrgetter("codes", "names", "aliases", "routes", "default", "times_out")
Groups = tuple[tuple[Node, ...], ...]


@per_plan
def _sorts(plan: Plan) -> list[Hashable]:
    """For each node its mould, or itself."""
    if plan.flawed:
        return [node if node.name in plan.flawed else node.mould or node for node in plan.nodes]
    return [node.mould or node for node in plan.nodes]


@per_plan
def moulded(plan: Plan) -> Groups:
    """All nodes, those of one mould together, in order."""
    return _grouped(plan, _sorts(plan))


@per_plan
def _reading(plan: Plan) -> Groups:
    """All nodes, those together that read alike from nodes that are alike in what they give."""
    reads: dict[Hashable, Hashable] = {}
    gives: dict[Hashable, Hashable] = {}
    sorts = _sorts(plan)
    for first, *_ in moulded(plan):
        sort = sorts[first.index]
        reads[sort] = _reads(plan, first) if sort is first.mould else sort
        gives[sort] = _gives(first) if sort is first.mould else sort
    # Numbers, for these are looked up for every node.
    given = _numbered(gives[sort] for sort in sorts)
    read = _numbered(reads[sort] for sort in sorts)
    keys = [(read[n.index], *[given[at] for at in n.fillings]) for n in plan.nodes]
    return _grouped(plan, keys)


def _numbered(keys: Iterable[Hashable]) -> list[int]:
    known: dict[Hashable, int] = {}
    return [known.setdefault(key, len(known)) for key in keys]


def _grouped(plan: Plan, keys: Iterable[Hashable]) -> Groups:
    found: dict[Hashable, list[Node]] = defaultdict(list)
    for node, key in zip(plan.nodes, keys, strict=True):
        found[key].append(node)
    return tuple(map(tuple, found.values()))


def _reads(plan: Plan, node: Node) -> Hashable:
    """What counts for what its references give."""
    assert node.mould is not None
    if node.when is not None or node.outputs is not None:
        return node.mould
    needs = tuple(plan.spec.nodes[node.name].needs.values())
    tasks = tuple(body.task for body in node.bodies)
    own = _shape(node.machine) if len(tasks) > 1 else ""
    return (node.mould.given, needs, node.join, *map(id, tasks), own)


def _gives(node: Node) -> Hashable:
    """What counts for those that read it."""
    if node.when is not None or node.outputs is not None:
        return node.mould
    tasks = tuple(id(body.task) for body in node.bodies)
    return _shape(node.machine), node.deadline is None, tasks


def _shape(machine: Machine) -> str:
    """How a machine goes, but for its retries and for names that count only inside it."""
    single = len(machine.steps) == 1
    steps = [(*_routing(step), "" if single else step.name) for step in machine.steps]
    return repr((steps, machine.start))


def first_ones(plan: Plan) -> Iterator[Node]:
    """The first node of each mould."""
    return (nodes[0] for nodes in moulded(plan))


def everywhere(plan: Plan, finds: Finds[T]) -> Iterator[T]:
    """What `finds` gives for each node, which it looks at by itself; if that is nothing for the
    first of a mould, the others are not asked."""
    return _asked(plan, moulded(plan), finds)


def readers(plan: Plan, finds: Finds[T]) -> Iterator[T]:
    """The same, where what a node reads is looked at too."""
    return _asked(plan, _reading(plan), finds)


def _asked(plan: Plan, groups: Groups, finds: Finds[T]) -> Iterator[T]:
    for first, *others in groups:
        found = list(finds(plan, first))
        if found:
            yield from found
            for node in others:
                yield from finds(plan, node)
