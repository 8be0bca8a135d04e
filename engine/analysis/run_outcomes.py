"""Decide whether runs of a plan can succeed, whether they can fail, and what prevents it.

A run succeeds if and only if no node of it fails unhandled, and such endings are exactly what
`engine.analysis.choices` leaves out under `on_failure = "cancel"`. So a run can succeed if some run skips every node
that is blocking there. It can fail if a node that can run has an ending that nothing handles (this ending neither
makes nor prevents a node before it from running), or if the plan's outputs may fail to evaluate. Exact up to the search
budget of `engine.analysis.node_reachability`.

Source: docs/language.md, "Results", "Diagnostics".
"""

from __future__ import annotations

import attrs

from engine.analysis.choices import can_succeed, choices_of, spoils
from engine.analysis.node_reachability import decide, skips_all
from engine.base.memo import once
from engine.plan.plan import Plan

__all__ = ["child_codes", "failing", "never_succeeds"]


@once
def failing(plan: Plan) -> tuple[int, ...]:
    """Find the nodes that fail unhandled, or never end, in every run that starts them."""
    if all(map(can_succeed, plan.nodes)):
        return ()
    return tuple(sorted(choices_of(_careful(plan)).stuck))


@once
def never_succeeds(plan: Plan) -> bool | None:
    """Return whether no run of the plan succeeds; None if the search budget did not suffice."""
    if not failing(plan):
        return False
    skipped = skips_all(_careful(plan))
    return None if skipped is None else not skipped


@once
def child_codes(plan: Plan) -> frozenset[int]:
    """Return the exit codes of the plan as a sub-pipeline: 0 `success`, 1 `failure`."""
    parts = [plan, *([plan.closing] if plan.closing else [])]
    codes = {0} if all(never_succeeds(part) is not True for part in parts) else set()
    return frozenset(codes | {1} if any(map(_can_fail, parts)) else codes)


def _can_fail(plan: Plan) -> bool:
    if plan.outputs is not None and not plan.outputs.constant:
        return True
    never = decide(plan).never
    return any(node.index not in never and spoils(plan, node) for node in plan.nodes)


@once
def _careful(plan: Plan) -> Plan:
    """Return the plan with runs that end at the first failure; the successful runs stay the same."""
    return plan if plan.on_failure == "cancel" else attrs.evolve(plan, on_failure="cancel")
