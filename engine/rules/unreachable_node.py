"""E401: a node that never runs, whatever the exits.

Source: docs/language.md, "Edges and joins", "Results".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.analysis.choices import list_endings
from engine.analysis.node_reachability import find_reachable_nodes
from engine.analysis.search import BlockedBy, Conflict, DeadEdges, UnreachableReason, WhenFalse
from engine.diagnostics import Diagnostic, RelatedSpan, Rule
from engine.plan.plan import Condition, Edge, Node, Plan
from engine.rules.locations import find_edge_span, find_needs_span

__all__ = ["RULE", "check"]

RULE = Rule("E401", "unreachable-node", "a node that never runs")

_MAX_SHOWN = 3

UnreachableNodes = Mapping[int, UnreachableReason]


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each node that never runs, in order."""
    never = find_reachable_nodes(plan).never
    if not never:
        return
    unclear = plan.descendants(plan.invalid_nodes)
    for index in sorted(never.keys() - unclear):
        node, cause = plan.nodes[index], never[index]
        place = (*plan.key_path_of(node), "when")
        shut = isinstance(cause, WhenFalse)
        yield Diagnostic(
            RULE,
            f"`{node.name}` never runs: {_explain(plan, never, cause)}",
            plan.spec.source,
            plan.spec.source.value_span(place) if shut else find_needs_span(plan, node),
            _build_help(plan, cause),
            node.name,
            None,
            tuple(_iter_notes(plan, cause)),
        )


def _explain(plan: Plan, never: UnreachableNodes, cause: UnreachableReason) -> str:
    match cause:
        case WhenFalse():
            return "its `when` is never true"
        case BlockedBy(stuck):
            return f"it waits for `{plan.nodes[stuck].name}`, which {_describe_blocked_end(plan.nodes[stuck])}"
        case DeadEdges(edges):
            asks = [
                f"{_describe_edge(plan, edge)}, {_explain_dead_edge(plan, never, edge)}"
                for edge in edges[:_MAX_SHOWN]
            ]
            more = f", or {len(edges) - _MAX_SHOWN} more" if len(edges) > _MAX_SHOWN else ""
            return f"it needs {', or '.join(asks)}{more}"
        case Conflict(_, paths, only):
            ways = _join_parts([_describe_path(plan, path) for path in sorted(paths, key=len)])
            start = (
                "it needs" if only else "each way to it contradicts itself, such as when it needs"
            )
            return f"{start} {ways}"


def _describe_blocked_end(node: Node) -> str:
    if list_endings(node, ()):
        return "can only fail, and a failure that nothing handles cancels the rest"
    return "never ends"


def _explain_dead_edge(plan: Plan, never: UnreachableNodes, edge: Edge) -> str:
    if edge.source in never:
        return "which never runs"
    if edge.condition.kind == "finished":
        return f"which {_describe_blocked_end(plan.nodes[edge.source])}"
    return "which it never does"


def _describe_path(plan: Plan, path: tuple[Edge, ...]) -> str:
    return ", which needs ".join(_describe_edge(plan, edge) for edge in path)


def _describe_edge(plan: Plan, edge: Edge) -> str:
    return f"`{plan.nodes[edge.source].name}` {_describe_condition(edge.condition)}"


def _describe_condition(condition: Condition) -> str:
    match condition.kind:
        case "success":
            return "to succeed"
        case "failure":
            return "to fail"
        case "finished":
            return "to finish"
        case _:
            labels = [*sorted(condition.names), *map(str, sorted(condition.codes))]
            return "to end with " + " or ".join(f"`{label}`" for label in labels)


def _join_parts(parts: list[str]) -> str:
    """Join parts as `a, b and c`; a part with a clause of its own gets a comma before `and`."""
    closed = [part + "," if ", which" in part else part for part in parts[:-1]]
    return " and ".join([*closed, parts[-1]])


def _build_help(plan: Plan, cause: UnreachableReason) -> str | None:
    match cause:
        case WhenFalse():
            return "remove the node, or make its `when` depend on a value"
        case Conflict(node, _, _):
            return f"`{plan.nodes[node].name}` ends in only one way in a run: require only one"
        case _:
            return None


def _iter_notes(plan: Plan, cause: UnreachableReason) -> Iterator[RelatedSpan]:
    match cause:
        case Conflict(_, paths, _):
            for path in paths:
                source, target = (plan.nodes[at].name for at in (path[-1].source, path[-1].target))
                ask = f"`{target}` needs `{source}` {_describe_condition(path[-1].condition)}"
                yield RelatedSpan(ask, find_edge_span(plan, path[-1]))
        case DeadEdges(edges):
            yield from (
                RelatedSpan("never satisfied", find_edge_span(plan, edge)) for edge in edges
            )
        case BlockedBy(stuck):
            node = plan.nodes[stuck]
            yield RelatedSpan(
                f"`{node.name}` is here", plan.spec.source.key_span(plan.key_path_of(node))
            )
        case _:
            return
