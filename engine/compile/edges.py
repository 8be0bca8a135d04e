"""Add to nodes the edges that `needs` and references imply.

Reports E201, E203.
Source: docs/language.md, "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.analysis.choices import endings_of
from engine.analysis.step_reachability import ends_of
from engine.compile.references import nodes_read
from engine.compile.reporter import Draft
from engine.diagnostics import codes
from engine.language.invalid_names import ambiguous
from engine.language.spec import NeedSpec, Spec
from engine.plan.plan import PLAIN, Condition, Edge, Node
from engine.toml.key_paths import KeyPath

__all__ = ["with_edges"]

_ENDING = (
    *("start", "steps", "task", "pipeline", "exits", "routes", "timeout", "on_interrupt"),
    *("deadline", "for_each", "tolerate"),
)
"""The keys of a node that decide which labels it can end with."""


def with_edges(draft: Draft, nodes: Sequence[Node], names: Mapping[str, int]) -> list[Node]:
    """Add the incoming edges to the nodes of a document, those of `needs` first.

    `indexes` are the indexes of all nodes by name.
    """
    return [node.with_edges(tuple(_incoming(draft, nodes, node, names))) for node in nodes]


def _incoming(
    draft: Draft, nodes: Sequence[Node], node: Node, names: Mapping[str, int]
) -> list[Edge]:
    written = list(_written(draft, nodes, node, names))
    told = {edge.source for edge in written}
    implied = [
        Edge(names[source], node.index, PLAIN["always" if guarded else "success"], written=False)
        for source, guarded in nodes_read(draft, [made for *_, made in node.templates()]).items()
        if names[source] not in told
    ]
    return sorted(written, key=_by_source) + sorted(implied, key=_by_source)


def _by_source(edge: Edge) -> int:
    return edge.source


def _written(
    draft: Draft, nodes: Sequence[Node], node: Node, names: Mapping[str, int]
) -> Iterator[Edge]:
    for source, need in draft.spec.nodes[node.name].needs.items():
        if source not in names:
            path, key = _need_place(draft, node.name, source)
            if message := _at_another_time(draft.spec, source):
                draft.report(codes.UNKNOWN_NAME, message, path, "remove it", key=key)
                continue
            draft.unknown(
                codes.UNKNOWN_NAME,
                f"there is no node `{source}`",
                path,
                source,
                [name for name in names if name != node.name],
                key=key,
                relies=[draft.node(source)],
            )
            continue
        condition = _condition(draft, node, nodes[names[source]], need)
        yield Edge(names[source], node.index, condition, written=True)


def _at_another_time(spec: Spec, source: str) -> str | None:
    """Describe why a node cannot need a node of the other phase, before or in `[finally]`; None if it can."""
    if source in spec.before:
        return f"`{source}` has always ended when the nodes in `finally` start"
    if source in spec.finally_:
        return f"`{source}` runs after all other nodes have ended: no node can wait for it"
    return None


def _need_place(draft: Draft, node: str, source: str) -> tuple[KeyPath, bool]:
    """Return the key path of an entry of `needs`, and whether the entry is a table's key.

    Otherwise the entry is an item of an array.
    """
    path: KeyPath = (*draft.node(node), "needs")
    order = list(draft.spec.nodes[node].needs)
    in_array = (*path, order.index(source))
    if draft.spec.source.has((*draft.spec.at, *in_array)):
        return in_array, False
    return (*path, source), True


def _condition(draft: Draft, node: Node, source: Node, need: NeedSpec) -> Condition:
    if isinstance(need, str):
        return PLAIN[need]
    labels = _labels(source)
    relies = [(*draft.node(source.name), key) for key in _ENDING]
    known_bodies = all(body.task or body.plan for body in source.bodies)
    known_bodies = known_bodies and not ambiguous(draft.spec, source.name)
    for index, label in enumerate(need):
        if label not in labels and known_bodies:
            place = (*draft.node(node.name), "needs", source.name, index)
            known = sorted(
                known for known in labels if isinstance(known, str) and not known.isdigit()
            )
            message = f"`{source.name}` can never end with the label `{label}`"
            draft.unknown(codes.UNKNOWN_EXIT, message, place, str(label), known, relies=relies)
    strings = frozenset(label for label in need if isinstance(label, str))
    return Condition(
        "labels", strings, frozenset(label for label in need if isinstance(label, int))
    )


def _labels(node: Node) -> set[str | int]:
    """Return every label, and every exit number that can become a label, with which the node alone can end."""
    if node.fan is not None:
        return {ending.label for ending in endings_of(node, ())}
    found: set[str | int] = {"timeout"} if node.deadline is not None else set()
    if node.may_misread:
        found.add("error")
    for end in ends_of(node.machine):
        found.add(end.label)
        if end.code is not None:
            found.add(end.code)
            found |= {
                name
                for name, code in node.machine.steps[end.step].aliases.items()
                if code == end.code
            }
    return found
