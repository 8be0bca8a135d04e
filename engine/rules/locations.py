"""Where the parts of a plan that rules talk about are written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.analysis.reads import span_of
from engine.expressions.model import Template
from engine.plan.machine import Route
from engine.plan.plan import Edge, Node, Plan
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

if TYPE_CHECKING:
    from engine.analysis.races import Access

__all__ = [
    "access_span",
    "edge_span",
    "needs_span",
    "retry_path",
    "route_path",
    "step_path",
    "step_span",
    "templates",
]


def step_span(plan: Plan, node: Node, step: int) -> Span:
    """The name of a step, or of the node it is written in."""
    return plan.spec.source.key(step_path(plan, node, step))


def step_path(plan: Plan, node: Node, step: int) -> KeyPath:
    """The key path of a step's table."""
    return plan.place(node, node.name_of(step))


def route_path(plan: Plan, node: Node, step: int, route: Route) -> KeyPath:
    """The key path of a route."""
    return (*step_path(plan, node, step), "routes", route.key)


def retry_path(plan: Plan, node: Node, step: int, clause: int) -> KeyPath:
    """The key path of a clause of `retry`, which may be an item of an array or the whole of it."""
    path = (*step_path(plan, node, step), "retry")
    return (*path, clause) if plan.spec.source.has((*path, clause)) else path


def needs_span(plan: Plan, node: Node) -> Span:
    """The `needs` of a node, or its name where it has none."""
    place = (*plan.place(node), "needs")
    source = plan.spec.source
    return source.key(place) if plan.spec.nodes[node.name].needs else source.key(place[:-1])


def edge_span(plan: Plan, edge: Edge) -> Span:
    """Where an edge comes from: its entry in `needs`, or the first reference that implies it."""
    source, target = plan.nodes[edge.source].name, plan.nodes[edge.target]
    text = plan.spec.source
    if not edge.written:
        for path, start, end in _reads(plan, target, source):
            return text.within(path, start, end)
    needs = (*plan.place(target), "needs")
    if text.has((*needs, source)):
        return text.value((*needs, source))
    return text.value((*needs, list(plan.spec.nodes[target.name].needs).index(source)))


def _reads(plan: Plan, node: Node, name: str) -> Iterator[tuple[KeyPath, int, int]]:
    for place, template in templates(plan, node):
        for read in template.reads:
            if read.path[0] == name:
                yield (*place, *read.at), read.start, read.end


def templates(plan: Plan, node: Node) -> Iterator[tuple[KeyPath, Template]]:
    """The templates of a node, each with its place."""
    for at, key, template in node.templates():
        step = None if at is None else node.name_of(at)
        yield (*plan.place(node, step), key), template


def access_span(plan: Plan, access: Access) -> Span:
    """Where a state is read, or its name in the `set` that writes it."""
    if access.site is not None:
        return span_of(plan, access.site)
    node = plan.nodes[access.node]
    step = None if access.step is None else node.name_of(access.step)
    return plan.spec.source.key((*plan.place(node, step), "set", access.name))
