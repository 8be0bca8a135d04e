"""Describe how nodes end in one scenario, in words and as notes at their locations."""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.scenarios import Fate, Fates
from engine.analysis.step_reachability import Ending
from engine.diagnostics import Note
from engine.plan.plan import Plan

__all__ = ["SHOWN", "ends", "fate_notes"]

SHOWN = 4
"""Maximum number of nodes, or steps, of a scenario that are described."""


def ends(plan: Plan, node: int, fate: Fate) -> str:
    """Describe how a node ends, or why it does not run."""
    name = plan.nodes[node].name
    if isinstance(fate, Ending):
        return f"`{name}` ends with `{fate.label}`"
    return f"the `when` of `{name}` is false" if fate == "when" else f"`{name}` is skipped"


def fate_notes(plan: Plan, run: Fates) -> Iterator[Note]:
    """Yield a note at each of the last nodes of a scenario."""
    for node, fate in [*run.items()][-SHOWN:]:
        yield Note(ends(plan, node, fate), plan.spec.source.key(plan.place(plan.nodes[node])))
