"""The rules over a plan, one file each with its page (.md) beside it; RULES lists them all.

A rule is a function from a Plan to Diagnostics. It checks that plan alone, not the plans inside it, and reports nothing
that errors in the plan's `invalid_nodes` could make untrue. The examples of a page are its tests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from engine.diagnostics import Diagnostic, Rule
from engine.diagnostics.codes import CODES
from engine.plan.plan import Plan
from engine.rules import (
    dead_route,
    deadline_too_short,
    infinite_retry,
    limit_exceeded,
    missing_value,
    never_succeeds,
    no_way_out,
    not_decided,
    retry_on_success,
    state_race,
    type_mismatch,
    unbounded_attempts,
    unbounded_time,
    unknown_field,
    unreachable_node,
    unreachable_step,
    unrouted_exit,
    unused,
)

__all__ = ["ALL_RULES", "RULES", "RuleCheck", "read_page"]

RuleCheck = Callable[[Plan], Iterator[Diagnostic]]

RULES: tuple[tuple[Rule, RuleCheck], ...] = (
    (infinite_retry.RULE, infinite_retry.check),
    (unreachable_step.RULE, unreachable_step.check),
    (no_way_out.RULE, no_way_out.check),
    (unrouted_exit.RULE, unrouted_exit.check),
    (dead_route.RULE, dead_route.check),
    (retry_on_success.RULE, retry_on_success.check),
    (unreachable_node.RULE, unreachable_node.check),
    (never_succeeds.RULE, never_succeeds.check),
    (missing_value.RULE, missing_value.check),
    (type_mismatch.RULE, type_mismatch.check),
    (unknown_field.RULE, unknown_field.check),
    (state_race.RULE, state_race.check),
    (limit_exceeded.RULE, limit_exceeded.check),
    (deadline_too_short.RULE, deadline_too_short.check),
    (unbounded_time.RULE, unbounded_time.check),
    (unbounded_attempts.RULE, unbounded_attempts.check),
    (unused.RULE, unused.check),
    (not_decided.RULE, not_decided.check),
)

ALL_RULES: tuple[Rule, ...] = tuple(
    sorted((*CODES, *(rule for rule, _ in RULES)), key=lambda rule: rule.code[1:])
)
"""All rules in order of their codes, including those of loading and compiling."""


def read_page(rule: Rule) -> str:
    """Return the Markdown text of a rule's page."""
    path = Path(__file__).parent / f"{rule.name.replace('-', '_')}.md"
    return path.read_text(encoding="utf-8")
