"""Describe how nodes end in one scenario, in words and as notes at their locations."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.scenarios import NodeEnd, Scenario
from engine.analysis.step_reachability import Ending
from engine.diagnostics import RelatedSpan
from engine.plan.plan import Plan

__all__ = ["MAX_SHOWN", "build_scenario_notes", "describe_end"]

MAX_SHOWN = 4
"""Maximum number of nodes, or steps, of a scenario that are described."""


def describe_end(plan: Plan, node: int, end: NodeEnd) -> str:
    """Describe how a node ends, or why it does not run."""
    name = plan.nodes[node].name
    if isinstance(end, Ending):
        return f"`{name}` ends with `{end.label}`"
    return f"the `when` of `{name}` is false" if end == "when" else f"`{name}` is skipped"


def build_scenario_notes(plan: Plan, scenario: Scenario) -> Iterator[RelatedSpan]:
    """Yield a note at each of the last nodes of a scenario."""
    for node, end in [*scenario.items()][-MAX_SHOWN:]:
        yield RelatedSpan(
            describe_end(plan, node, end),
            plan.spec.source.key_span(plan.key_path_of(plan.nodes[node])),
        )
