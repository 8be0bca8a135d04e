"""E601: a worst case over `[limits]`.

Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.base.durations import format_duration
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Plan

if TYPE_CHECKING:
    from engine.analysis.bounds import Bounds, NodeBound

__all__ = ["RULE", "check"]

RULE = Rule("E601", "limit-exceeded", "a worst case that exceeds `[limits]`")

_MAX_SHOWN = 3
"""Maximum number of nodes named as the largest."""


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each limit that a run can exceed."""
    limits = plan.spec.limits
    if limits.attempts is None and limits.duration is None:
        return
    from engine.analysis.bounds import compute_bounds  # most specs have no limits

    found = compute_bounds(plan)
    if found is None:
        return
    if limits.attempts is not None and limits.attempts < found.run.attempts < math.inf:
        figure = f"{_describe_precision(found.run.exact)}{found.run.attempts} attempts"
        most = _describe_largest(found, [each.whole.attempts for each in found.nodes], str)
        yield _build_diagnostic(
            plan, "attempts", f"{figure}, but only {limits.attempts} are allowed", most
        )
    seconds = found.run.seconds
    if limits.duration is not None and limits.duration < seconds < math.inf:
        figure = f"{_describe_precision(found.run.exact_time)}{format_duration(seconds)}"
        most = _describe_largest(
            found, [each.whole.seconds for each in found.nodes], format_duration
        )
        allowed = format_duration(limits.duration)
        yield _build_diagnostic(plan, "duration", f"{figure}, but only {allowed} is allowed", most)


def _describe_precision(is_exact: bool) -> str:
    return "" if is_exact else "up to "


def _describe_largest(found: Bounds, figures: list[float], shown: object) -> str:
    """Describe the nodes with the largest figures, the largest first."""
    assert callable(shown)
    ran = [each for each in found.nodes if each.runs]
    ran.sort(key=lambda each: -figures[each.node.index])
    return ", ".join(
        _describe_node(each, shown(figures[each.node.index])) for each in ran[:_MAX_SHOWN]
    )


def _describe_node(each: NodeBound, figure: str) -> str:
    return f"`{each.node.name}` {figure}"


def _build_diagnostic(plan: Plan, key: str, message: str, most: str) -> Diagnostic:
    place = (*plan.spec.key_path, "limits", key)
    return Diagnostic(
        RULE,
        f"a run can take {message}",
        plan.spec.source,
        plan.spec.source.value_span(place),
        f"the largest shares: {most}",
    )
