"""W604: `[limits] attempts` is set, and a list may be of any length.

Source: docs/language.md, "Fan-out", "Worst case".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Plan

__all__ = ["RULE", "check"]

RULE = Rule(
    "W604",
    "unbounded-attempts",
    "an `attempts` limit that cannot be checked, because a list has no maximum length",
)


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each fan-out that leaves the worst case of attempts unbounded."""
    if plan.spec.limits.attempts is None:
        return
    from engine.analysis.bounds import compute_bounds  # most specs have no limits

    found = compute_bounds(plan)
    source = plan.spec.source
    for path in found.uncounted if found else ():
        name = path.partition("/")[0]
        place = plan.key_path_of(plan.nodes_by_name[name])
        own = path == name
        yield Diagnostic(
            RULE,
            f"`{path}` runs for each item of a list of unbounded length",
            source,
            source.value_span((*place, "for_each")) if own else source.key_span(place),
            "add `maxItems` to the schema of that list",
            name,
            None,
        )
