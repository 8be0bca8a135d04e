"""W603: `[limits] duration` is set, and a step has no timeout.

Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Plan
from engine.rules.locations import find_step_span

if TYPE_CHECKING:
    from engine.analysis.bounds import UnboundedStep

__all__ = ["RULE", "check"]

_LIST_HELP = "add `maxItems` to the schema of that list, or a `deadline` to the node"
RULE = Rule(
    "W603",
    "unbounded-time",
    "a `duration` limit that cannot be checked, because a step has no timeout",
)


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each step that leaves the worst case of time unbounded."""
    if plan.spec.limits.duration is None:
        return
    from engine.analysis.bounds import compute_bounds  # most specs have no limits

    found = compute_bounds(plan)
    for endless in found.endless if found else ():
        name = endless.node.name_of(endless.step)
        yield Diagnostic(
            RULE,
            _explain(endless, name),
            plan.spec.source,
            find_step_span(plan, endless.node, endless.step),
            _LIST_HELP if endless.list else 'set a timeout: `timeout = "5m"`',
            endless.node.name,
            name,
        )


def _explain(endless: UnboundedStep, name: str) -> str:
    if endless.list:
        return f"`{endless.node.name}` runs for each item of a list of unbounded length"
    if endless.pool:
        return f"`{name}` holds pool `{endless.pool}` while its sub-pipeline waits for another pool"
    if endless.inside:
        return f"`{name}` has no timeout, and neither has `{endless.inside}` in its sub-pipeline"
    return f"`{name}` has no timeout, so the time of a run has no bound"
