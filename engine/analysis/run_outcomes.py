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

from engine.analysis.choices import build_choices, can_fail_unhandled, can_node_succeed
from engine.analysis.node_reachability import can_skip_all_blocking, find_reachable_nodes
from engine.base.memo import memoize
from engine.plan.plan import Plan

__all__ = ["can_never_succeed", "find_always_failing_nodes", "possible_exit_codes"]


@memoize
def find_always_failing_nodes(plan: Plan) -> tuple[int, ...]:
    """Find the nodes that fail unhandled, or never end, in every run that starts them."""
    if all(map(can_node_succeed, plan.nodes)):
        return ()
    return tuple(sorted(build_choices(_cancel_on_failure(plan)).blocking))


@memoize
def can_never_succeed(plan: Plan) -> bool | None:
    """Return whether no run of the plan succeeds; None if the search budget did not suffice."""
    if not find_always_failing_nodes(plan):
        return False
    skipped = can_skip_all_blocking(_cancel_on_failure(plan))
    return None if skipped is None else not skipped


@memoize
def possible_exit_codes(plan: Plan) -> frozenset[int]:
    """Return the exit codes of the plan as a sub-pipeline: 0 `success`, 1 `failure`."""
    parts = [plan, *([plan.finally_plan] if plan.finally_plan else [])]
    codes = {0} if all(can_never_succeed(part) is not True for part in parts) else set()
    return frozenset(codes | {1} if any(map(_can_fail, parts)) else codes)


def _can_fail(plan: Plan) -> bool:
    if plan.outputs is not None and not plan.outputs.is_constant:
        return True
    never = find_reachable_nodes(plan).never
    return any(node.index not in never and can_fail_unhandled(plan, node) for node in plan.nodes)


@memoize
def _cancel_on_failure(plan: Plan) -> Plan:
    """Return the plan with runs that end at the first failure; the successful runs stay the same."""
    return plan if plan.on_failure == "cancel" else attrs.evolve(plan, on_failure="cancel")
