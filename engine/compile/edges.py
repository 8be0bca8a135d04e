"""Add to nodes the edges that `needs` and references imply.

Reports E201, E203.
Source: docs/language.md, "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.analysis.choices import list_endings
from engine.analysis.step_reachability import reachable_endings
from engine.compile.references import find_nodes_read
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import codes
from engine.language.invalid_names import has_reserved_name
from engine.language.spec import NeedSpec, Spec
from engine.plan.plan import BASIC_CONDITIONS, Condition, Edge, Node
from engine.toml.key_paths import KeyPath

__all__ = ["add_edges"]

_LABEL_KEYS = (
    *("start", "steps", "task", "pipeline", "exits", "routes", "timeout", "on_interrupt"),
    *("deadline", "for_each", "tolerate"),
)
"""The keys of a node that decide which labels it can end with."""


def add_edges(
    draft: DocumentDraft, nodes: Sequence[Node], indexes: Mapping[str, int]
) -> list[Node]:
    """Add the incoming edges to the nodes of a document, those of `needs` first.

    `indexes` are the indexes of all nodes by name.
    """
    return [node.with_edges(tuple(_build_incoming(draft, nodes, node, indexes))) for node in nodes]


def _build_incoming(
    draft: DocumentDraft, nodes: Sequence[Node], node: Node, indexes: Mapping[str, int]
) -> list[Edge]:
    written = list(_compile_needs(draft, nodes, node, indexes))
    explicit = {edge.source for edge in written}
    implied = [
        Edge(
            indexes[source],
            node.index,
            BASIC_CONDITIONS["always" if guarded else "success"],
            is_explicit=False,
        )
        for source, guarded in find_nodes_read(
            draft, [made for *_, made in node.templates()]
        ).items()
        if indexes[source] not in explicit
    ]
    return sorted(written, key=_get_source) + sorted(implied, key=_get_source)


def _get_source(edge: Edge) -> int:
    return edge.source


def _compile_needs(
    draft: DocumentDraft, nodes: Sequence[Node], node: Node, indexes: Mapping[str, int]
) -> Iterator[Edge]:
    for source, need in draft.spec.nodes[node.name].needs.items():
        if source not in indexes:
            path, key = _locate_need(draft, node.name, source)
            if message := _explain_other_phase(draft.spec, source):
                draft.report(codes.UNKNOWN_NAME, message, path, "remove it", at_key=key)
                continue
            draft.report_unknown(
                codes.UNKNOWN_NAME,
                f"there is no node `{source}`",
                path,
                source,
                [name for name in indexes if name != node.name],
                at_key=key,
                depends_on=[draft.node_path(source)],
            )
            continue
        condition = _compile_condition(draft, node, nodes[indexes[source]], need)
        yield Edge(indexes[source], node.index, condition, is_explicit=True)


def _explain_other_phase(spec: Spec, source: str) -> str | None:
    """Describe why a node cannot need a node of the other phase, before or in `[finally]`; None if it can."""
    if source in spec.finished_nodes:
        return f"`{source}` has always ended when the nodes in `finally` start"
    if source in spec.finally_:
        return f"`{source}` runs after all other nodes have ended: no node can wait for it"
    return None


def _locate_need(draft: DocumentDraft, node: str, source: str) -> tuple[KeyPath, bool]:
    """Return the key path of an entry of `needs`, and whether the entry is a table's key.

    Otherwise the entry is an item of an array.
    """
    path: KeyPath = (*draft.node_path(node), "needs")
    order = list(draft.spec.nodes[node].needs)
    in_array = (*path, order.index(source))
    if draft.spec.source.has_path((*draft.spec.key_path, *in_array)):
        return in_array, False
    return (*path, source), True


def _compile_condition(draft: DocumentDraft, node: Node, source: Node, need: NeedSpec) -> Condition:
    if isinstance(need, str):
        return BASIC_CONDITIONS[need]
    labels = _find_possible_labels(source)
    relies = [(*draft.node_path(source.name), key) for key in _LABEL_KEYS]
    known_bodies = all(body.task or body.plan for body in source.bodies)
    known_bodies = known_bodies and not has_reserved_name(draft.spec, source.name)
    for index, label in enumerate(need):
        if label not in labels and known_bodies:
            place = (*draft.node_path(node.name), "needs", source.name, index)
            known = sorted(
                known for known in labels if isinstance(known, str) and not known.isdigit()
            )
            message = f"`{source.name}` can never end with the label `{label}`"
            draft.report_unknown(
                codes.UNKNOWN_EXIT, message, place, str(label), known, depends_on=relies
            )
    strings = frozenset(label for label in need if isinstance(label, str))
    return Condition(
        "labels", strings, frozenset(label for label in need if isinstance(label, int))
    )


def _find_possible_labels(node: Node) -> set[str | int]:
    """Return every label, and every exit number that can become a label, with which the node alone can end."""
    if node.fan is not None:
        return {ending.label for ending in list_endings(node, ())}
    found: set[str | int] = {"timeout"} if node.deadline is not None else set()
    if node.may_fail_to_evaluate:
        found.add("error")
    for end in reachable_endings(node.machine):
        found.add(end.label)
        if end.code is not None:
            found.add(end.code)
            found |= {
                name
                for name, code in node.machine.steps[end.step].aliases.items()
                if code == end.code
            }
    return found
