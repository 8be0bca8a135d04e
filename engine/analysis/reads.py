"""List every read in the expressions of a plan, with the place where it stands.

`with` is evaluated for each attempt of a visited step, and `set` when an attempt has ended with an exit code. `when`
and `for_each` are evaluated when the node's edges let it run. `outputs` of a node are evaluated when its last attempt
ended with an output, those of a pipeline when the run has succeeded.

Source: docs/language.md, "Results", "Expressions", "State".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.base.classes import frozen
from engine.expressions.model import Read
from engine.plan.plan import Key, Node, Plan
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

__all__ = [
    "ReadSite",
    "iter_node_read_sites",
    "iter_output_read_sites",
    "iter_read_sites",
    "key_path_of_site",
    "span_of_site",
]


@frozen
class ReadSite:
    """One read under `key` of a node, or of the pipeline if the node is None.

    `step` is the step that the expression belongs to.
    """

    node: int | None
    step: int | None
    key: Key
    read: Read


def iter_read_sites(plan: Plan) -> Iterator[ReadSite]:
    """Yield every read of a plan in file order; sub-pipelines are not inspected."""
    for node in plan.nodes:
        yield from iter_node_read_sites(node)
    yield from iter_output_read_sites(plan)


def iter_node_read_sites(node: Node) -> Iterator[ReadSite]:
    """Yield the reads of a node."""
    for step, key, template in node.templates():
        yield from (ReadSite(node.index, step, key, read) for read in template.reads)


def iter_output_read_sites(plan: Plan) -> Iterator[ReadSite]:
    """Yield the reads of a plan's own outputs."""
    reads = () if plan.outputs is None else plan.outputs.reads
    return (ReadSite(None, None, "outputs", read) for read in reads)


def key_path_of_site(plan: Plan, site: ReadSite) -> KeyPath:
    """Return the key path of the string that the read stands in."""
    if site.node is None:
        return (*plan.spec.key_path, site.key, *site.read.key_path)
    node = plan.nodes[site.node]
    step = None if site.step is None else node.name_of(site.step)
    return (*plan.key_path_of(node, step), site.key, *site.read.key_path)


def span_of_site(plan: Plan, site: ReadSite) -> Span:
    """Return the span of the path that is read, as it is written."""
    return plan.spec.source.span_within(
        key_path_of_site(plan, site), site.read.start, site.read.end
    )
