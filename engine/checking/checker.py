"""Plan -> Diagnostics: runs the rules over a plan and the plans inside it. Source: LANGUAGE.md section 16."""

from __future__ import annotations

from engine.diagnostics import Diagnostics
from engine.plan.plan import Plan
from engine.rules import RULES

__all__ = ["check"]


def check(plan: Plan) -> Diagnostics:
    """All findings of all rules, on every pipeline once, in order."""
    return Diagnostics.of(
        found for part in plan.within() for _, rule in RULES for found in rule(part)
    )
