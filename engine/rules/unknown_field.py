"""E503: a path into an output that its schema rules out.

Source: docs/language.md, "Expressions", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.output_types import Wrong, wrong_paths
from engine.analysis.reads import Site, span_of
from engine.base.suggestions import nearest
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Plan
from engine.toml.key_paths import show

__all__ = ["RULE", "check"]

RULE = Rule("E503", "unknown-field", "a field that the schema does not have")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each read of a field that the schema does not have.

    A default does not excuse a field that an object cannot have.
    """
    for site, wrong in wrong_paths(plan):
        if _tells(site, wrong):
            yield _finding(plan, site, wrong)


def _tells(site: Site, wrong: Wrong) -> bool:
    if wrong.at == 1 and site.read.path[0] in ("inputs", "state", "run"):
        return False  # a name that is not there: E201
    return wrong.kind == "unknown" or (wrong.kind == "none" and not site.read.guarded)


def _finding(plan: Plan, site: Site, wrong: Wrong) -> Diagnostic:
    inside, part = show(site.read.path[: wrong.at]), site.read.path[wrong.at]
    what = f"item {part}" if isinstance(part, int) else f"field `{part}`"
    node = None if site.node is None else plan.nodes[site.node]
    step = None if node is None or site.step is None else node.name_of(site.step)
    return Diagnostic(
        RULE,
        f"`{inside}` is of type {' or '.join(wrong.kinds)} and has no {what}"
        if wrong.kind == "none"
        else f"`{inside}` has no {what}",
        plan.spec.source,
        span_of(plan, site),
        _cure(part, wrong),
        None if node is None else node.name,
        step,
    )


def _cure(part: str | int, wrong: Wrong) -> str | None:
    guess = nearest(str(part), wrong.known)
    if guess:
        return f"did you mean `{guess}`?"
    listed = ", ".join(f"`{name}`" for name in wrong.known)
    return f"known here: {listed}" if listed else None
