"""E402: a pipeline that can never succeed. A pipeline with an unbounded machine is left to E301.

Source: docs/language.md, "Results".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.run_outcomes import can_never_succeed, find_always_failing_nodes
from engine.diagnostics import Diagnostic, RelatedSpan, Rule
from engine.plan.plan import Plan

__all__ = ["RULE", "check"]

RULE = Rule("E402", "never-succeeds", "a pipeline that can never succeed")

_MAX_SHOWN = 3


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report the first node that fails unhandled however it ends, if no run can succeed."""
    if plan.invalid_nodes or plan.loops or not can_never_succeed(plan):
        return
    nodes = [plan.nodes[at] for at in find_always_failing_nodes(plan)]
    first = nodes[0]
    names = ", ".join(f"`{node.name}`" for node in nodes[:_MAX_SHOWN])
    more = f" and {len(nodes) - _MAX_SHOWN} more" if len(nodes) > _MAX_SHOWN else ""
    which = "it" if len(nodes) == 1 else "one of them"
    source = plan.spec.source
    yield Diagnostic(
        RULE,
        f"no run of `{plan.name}` can succeed: {names}{more} can only fail, no node handles that, "
        f"and every run includes {which}",
        source,
        source.key_span(plan.key_path_of(first)),
        "handle the failure (`needs` with `failure` or its label), or set `allow_failure = true`",
        first.name,
        None,
        tuple(
            RelatedSpan(f"`{node.name}` can only fail", source.key_span(plan.key_path_of(node)))
            for node in nodes[1:_MAX_SHOWN]
        ),
    )
