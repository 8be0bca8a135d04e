"""E401: a node that never runs, whatever the exits.

Source: docs/language.md, "Edges and joins", "Results".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.analysis.choices import endings_of
from engine.analysis.node_reachability import decide
from engine.analysis.search import Cause, Clash, Dead, Shut, Stuck
from engine.diagnostics import Diagnostic, Note, Rule
from engine.plan.plan import Condition, Edge, Node, Plan
from engine.rules.locations import edge_span, needs_span

__all__ = ["RULE", "check"]

RULE = Rule("E401", "unreachable-node", "a node that never runs")

_SHOWN = 3

Never = Mapping[int, Cause]


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each node that never runs, in order."""
    never = decide(plan).never
    if not never:
        return
    unclear = plan.behind(plan.flawed)
    for index in sorted(never.keys() - unclear):
        node, cause = plan.nodes[index], never[index]
        place = (*plan.place(node), "when")
        shut = isinstance(cause, Shut)
        yield Diagnostic(
            RULE,
            f"`{node.name}` never runs: {_why(plan, never, cause)}",
            plan.spec.source,
            plan.spec.source.value(place) if shut else needs_span(plan, node),
            _help(plan, cause),
            node.name,
            None,
            tuple(_notes(plan, cause)),
        )


def _why(plan: Plan, never: Never, cause: Cause) -> str:
    match cause:
        case Shut():
            return "its `when` is never true"
        case Stuck(stuck):
            return f"it waits for `{plan.nodes[stuck].name}`, which {_stuck(plan.nodes[stuck])}"
        case Dead(edges):
            asks = [f"{_ask(plan, edge)}, {_dead(plan, never, edge)}" for edge in edges[:_SHOWN]]
            more = f", or {len(edges) - _SHOWN} more" if len(edges) > _SHOWN else ""
            return f"it needs {', or '.join(asks)}{more}"
        case Clash(_, paths, only):
            ways = _listed([_way(plan, path) for path in sorted(paths, key=len)])
            start = (
                "it needs" if only else "each way to it contradicts itself, such as when it needs"
            )
            return f"{start} {ways}"


def _stuck(node: Node) -> str:
    if endings_of(node, ()):
        return "can only fail, and a failure that nothing handles cancels the rest"
    return "never ends"


def _dead(plan: Plan, never: Never, edge: Edge) -> str:
    if edge.source in never:
        return "which never runs"
    if edge.condition.kind == "finished":
        return f"which {_stuck(plan.nodes[edge.source])}"
    return "which it never does"


def _way(plan: Plan, path: tuple[Edge, ...]) -> str:
    return ", which needs ".join(_ask(plan, edge) for edge in path)


def _ask(plan: Plan, edge: Edge) -> str:
    return f"`{plan.nodes[edge.source].name}` {_verb(edge.condition)}"


def _verb(condition: Condition) -> str:
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


def _listed(parts: list[str]) -> str:
    """Join parts as `a, b and c`; a part with a clause of its own gets a comma before `and`."""
    closed = [part + "," if ", which" in part else part for part in parts[:-1]]
    return " and ".join([*closed, parts[-1]])


def _help(plan: Plan, cause: Cause) -> str | None:
    match cause:
        case Shut():
            return "remove the node, or make its `when` depend on a value"
        case Clash(node, _, _):
            return f"`{plan.nodes[node].name}` ends in only one way in a run: require only one"
        case _:
            return None


def _notes(plan: Plan, cause: Cause) -> Iterator[Note]:
    match cause:
        case Clash(_, paths, _):
            for path in paths:
                source, target = (plan.nodes[at].name for at in (path[-1].source, path[-1].target))
                ask = f"`{target}` needs `{source}` {_verb(path[-1].condition)}"
                yield Note(ask, edge_span(plan, path[-1]))
        case Dead(edges):
            yield from (Note("never satisfied", edge_span(plan, edge)) for edge in edges)
        case Stuck(stuck):
            node = plan.nodes[stuck]
            yield Note(f"`{node.name}` is here", plan.spec.source.key(plan.place(node)))
        case _:
            return
