"""Plan -> Diagnostics: runs the rules over a plan and the plans inside it. Source: LANGUAGE.md section 16."""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostics
from engine.plan import Plan
from engine.rules import RULES

__all__ = ["check", "plans_in"]


def check(plan: Plan) -> Diagnostics:
    """All findings of all rules, on every pipeline once, in order."""
    return Diagnostics.of(
        found for part in plans_in(plan) for _, rule in RULES for found in rule(part)
    )


def plans_in(plan: Plan) -> Iterator[Plan]:
    """A plan and those of its sub-pipelines, each once, outermost first."""
    seen: set[int] = set()
    stack = [plan]
    while stack:
        part = stack.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        stack += part.parts
        stack += [body.plan for node in part.nodes for body in node.bodies if body.plan]
