"""Plan -> Sites: every read of its expressions, with the place where it stands.

`with` is read for each attempt of a visited step, `set` when one has ended with an exit code, `when`
and `for_each` when the node's edges let it run, `outputs` of a node when its last attempt ended
with an output, those of a pipeline when it has succeeded. Source: LANGUAGE.md sections 6, 8 and 9.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.base.classes import frozen
from engine.expressions.model import Read
from engine.plan.plan import Key, Node, Plan
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

__all__ = ["Site", "place_of", "sites", "sites_at_end", "sites_in", "span_of"]


@frozen
class Site:
    """One read in `key` of a node, or (None) of the pipeline; `step`: whose it is."""

    node: int | None
    step: int | None
    key: Key
    read: Read


def sites(plan: Plan) -> Iterator[Site]:
    """Every read of a plan, in the order of the file; its sub-pipelines are not looked into."""
    for node in plan.nodes:
        yield from sites_in(node)
    yield from sites_at_end(plan)


def sites_in(node: Node) -> Iterator[Site]:
    """The reads of a node."""
    for step, key, template in node.templates():
        yield from (Site(node.index, step, key, read) for read in template.reads)


def sites_at_end(plan: Plan) -> Iterator[Site]:
    """The reads of a plan's own outputs."""
    reads = () if plan.outputs is None else plan.outputs.reads
    return (Site(None, None, "outputs", read) for read in reads)


def place_of(plan: Plan, site: Site) -> KeyPath:
    """The key path of the string that the read stands in."""
    if site.node is None:
        return (*plan.spec.at, site.key, *site.read.at)
    node = plan.nodes[site.node]
    step = None if site.step is None else node.name_of(site.step)
    return (*plan.place(node, step), site.key, *site.read.at)


def span_of(plan: Plan, site: Site) -> Span:
    """The path as it is written."""
    return plan.spec.source.within(place_of(plan, site), site.read.start, site.read.end)
