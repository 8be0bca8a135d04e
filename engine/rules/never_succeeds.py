"""E402: a pipeline that can never succeed. A pipeline with an unbounded machine is left to E301.

Source: docs/language.md, "Results".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.run_outcomes import failing, never_succeeds
from engine.diagnostics import Diagnostic, Note, Rule
from engine.plan.plan import Plan

__all__ = ["RULE", "check"]

RULE = Rule("E402", "never-succeeds", "a pipeline that can never succeed")

_SHOWN = 3


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report the first node that fails unhandled however it ends, if no run can succeed."""
    if plan.flawed or plan.loops or not never_succeeds(plan):
        return
    nodes = [plan.nodes[at] for at in failing(plan)]
    first = nodes[0]
    names = ", ".join(f"`{node.name}`" for node in nodes[:_SHOWN])
    more = f" and {len(nodes) - _SHOWN} more" if len(nodes) > _SHOWN else ""
    which = "it" if len(nodes) == 1 else "one of them"
    source = plan.spec.source
    yield Diagnostic(
        RULE,
        f"no run of `{plan.name}` can succeed: {names}{more} can only fail, no node handles that, "
        f"and every run includes {which}",
        source,
        source.key(plan.place(first)),
        "handle the failure (`needs` with `failure` or its label), or set `allow_failure = true`",
        first.name,
        None,
        tuple(
            Note(f"`{node.name}` can only fail", source.key(plan.place(node)))
            for node in nodes[1:_SHOWN]
        ),
    )
