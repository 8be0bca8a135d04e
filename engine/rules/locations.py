"""Find the locations of the parts of a plan that rules report."""

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
    """Return the span of a step's name, or of its node's name if the step is inline."""
    return plan.spec.source.key(step_path(plan, node, step))


def step_path(plan: Plan, node: Node, step: int) -> KeyPath:
    """Return the key path of a step's table."""
    return plan.place(node, node.name_of(step))


def route_path(plan: Plan, node: Node, step: int, route: Route) -> KeyPath:
    """Return the key path of a route."""
    return (*step_path(plan, node, step), "routes", route.key)


def retry_path(plan: Plan, node: Node, step: int, clause: int) -> KeyPath:
    """Return the key path of a retry clause, which is an array item or the whole of `retry`."""
    path = (*step_path(plan, node, step), "retry")
    return (*path, clause) if plan.spec.source.has((*path, clause)) else path


def needs_span(plan: Plan, node: Node) -> Span:
    """Return the span of a node's `needs`, or of its name if it has none."""
    place = (*plan.place(node), "needs")
    source = plan.spec.source
    return source.key(place) if plan.spec.nodes[node.name].needs else source.key(place[:-1])


def edge_span(plan: Plan, edge: Edge) -> Span:
    """Return the span of an edge: its entry in `needs`, or the first reference that implies it."""
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
    """Yield the templates of a node, each with its key path."""
    for at, key, template in node.templates():
        step = None if at is None else node.name_of(at)
        yield (*plan.place(node, step), key), template


def access_span(plan: Plan, access: Access) -> Span:
    """Return the span where a state is read, or of its name in the `set` that writes it."""
    if access.site is not None:
        return span_of(plan, access.site)
    node = plan.nodes[access.node]
    step = None if access.step is None else node.name_of(access.step)
    return plan.spec.source.key((*plan.place(node, step), "set", access.name))
