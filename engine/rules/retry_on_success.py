"""W306: a retry clause that takes exit 0.

Source: docs/language.md, "Retry", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_retry_path

__all__ = ["RULE", "check"]

RULE = Rule("W306", "retry-on-success", "a retry clause that retries a success")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each retry clause that names exit 0, at that name."""
    for node in plan.nodes:
        yield from _check_node(plan, node)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if node.name not in plan.invalid_nodes:
        for at, step in enumerate(node.machine.steps):
            for index, clause in enumerate(step.retry):
                if 0 in clause.on:
                    yield _build_diagnostic(plan, node, at, index)


def _build_diagnostic(plan: Plan, node: Node, at: int, index: int) -> Diagnostic:
    step, name = node.machine.steps[at], node.name_of(at)
    written = plan.spec.nodes[node.name].steps[name].retry[index].on or ()
    place = next(i for i, name in enumerate(written) if _is_zero(step.aliases, name))
    return Diagnostic(
        RULE,
        f"`{name}` is retried although it succeeded: `{step.describe_outcome(0)}` is exit 0",
        plan.spec.source,
        plan.spec.source.value_span((*find_retry_path(plan, node, at, index), "on", place)),
        "to poll, let the task end with a separate exit for `not yet`",
        node.name,
        name,
    )


def _is_zero(aliases: Mapping[str, int], name: str | int) -> bool:
    return name in (0, "0") or (isinstance(name, str) and aliases.get(name) == 0)
