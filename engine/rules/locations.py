"""Find the locations of the parts of a plan that rules report."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.analysis.reads import span_of_site
from engine.expressions.model import Template
from engine.plan.machine import Route
from engine.plan.plan import Edge, Node, Plan
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

if TYPE_CHECKING:
    from engine.analysis.races import Access

__all__ = [
    "find_access_span",
    "find_edge_span",
    "find_needs_span",
    "find_retry_path",
    "find_route_path",
    "find_step_path",
    "find_step_span",
    "iter_templates",
]


def find_step_span(plan: Plan, node: Node, step: int) -> Span:
    """Return the span of a step's name, or of its node's name if the step is inline."""
    return plan.spec.source.key_span(find_step_path(plan, node, step))


def find_step_path(plan: Plan, node: Node, step: int) -> KeyPath:
    """Return the key path of a step's table."""
    return plan.key_path_of(node, node.name_of(step))


def find_route_path(plan: Plan, node: Node, step: int, route: Route) -> KeyPath:
    """Return the key path of a route."""
    return (*find_step_path(plan, node, step), "routes", route.key)


def find_retry_path(plan: Plan, node: Node, step: int, clause: int) -> KeyPath:
    """Return the key path of a retry clause, which is an array item or the whole of `retry`."""
    path = (*find_step_path(plan, node, step), "retry")
    return (*path, clause) if plan.spec.source.has_path((*path, clause)) else path


def find_needs_span(plan: Plan, node: Node) -> Span:
    """Return the span of a node's `needs`, or of its name if it has none."""
    place = (*plan.key_path_of(node), "needs")
    source = plan.spec.source
    return (
        source.key_span(place) if plan.spec.nodes[node.name].needs else source.key_span(place[:-1])
    )


def find_edge_span(plan: Plan, edge: Edge) -> Span:
    """Return the span of an edge: its entry in `needs`, or the first reference that implies it."""
    source, target = plan.nodes[edge.source].name, plan.nodes[edge.target]
    text = plan.spec.source
    if not edge.is_explicit:
        for path, start, end in _iter_reads(plan, target, source):
            return text.span_within(path, start, end)
    needs = (*plan.key_path_of(target), "needs")
    if text.has_path((*needs, source)):
        return text.value_span((*needs, source))
    return text.value_span((*needs, list(plan.spec.nodes[target.name].needs).index(source)))


def _iter_reads(plan: Plan, node: Node, name: str) -> Iterator[tuple[KeyPath, int, int]]:
    for place, template in iter_templates(plan, node):
        for read in template.reads:
            if read.path[0] == name:
                yield (*place, *read.key_path), read.start, read.end


def iter_templates(plan: Plan, node: Node) -> Iterator[tuple[KeyPath, Template]]:
    """Yield the templates of a node, each with its key path."""
    for at, key, template in node.templates():
        step = None if at is None else node.name_of(at)
        yield (*plan.key_path_of(node, step), key), template


def find_access_span(plan: Plan, access: Access) -> Span:
    """Return the span where a state is read, or of its name in the `set` that writes it."""
    if access.site is not None:
        return span_of_site(plan, access.site)
    node = plan.nodes[access.node]
    step = None if access.step is None else node.name_of(access.step)
    return plan.spec.source.key_span((*plan.key_path_of(node, step), "set", access.name))
