"""E503: a path into an output that its schema rules out.

Source: docs/language.md, "Expressions", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.output_types import PathError, check_paths
from engine.analysis.reads import ReadSite, span_of_site
from engine.base.suggestions import closest_match
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Plan
from engine.toml.key_paths import format_path

__all__ = ["RULE", "check"]

RULE = Rule("E503", "unknown-field", "a field that the schema does not have")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each read of a field that the schema does not have.

    A default does not excuse a field that an object cannot have.
    """
    for site, wrong in check_paths(plan):
        if _is_reported(site, wrong):
            yield _build_diagnostic(plan, site, wrong)


def _is_reported(site: ReadSite, wrong: PathError) -> bool:
    if wrong.at == 1 and site.read.path[0] in ("inputs", "state", "run"):
        return False  # a name that is not there: E201
    return wrong.kind == "unknown" or (wrong.kind == "none" and not site.read.may_be_absent)


def _build_diagnostic(plan: Plan, site: ReadSite, wrong: PathError) -> Diagnostic:
    inside, part = format_path(site.read.path[: wrong.at]), site.read.path[wrong.at]
    what = f"item {part}" if isinstance(part, int) else f"field `{part}`"
    node = None if site.node is None else plan.nodes[site.node]
    step = None if node is None or site.step is None else node.name_of(site.step)
    return Diagnostic(
        RULE,
        f"`{inside}` is of type {' or '.join(wrong.kinds)} and has no {what}"
        if wrong.kind == "none"
        else f"`{inside}` has no {what}",
        plan.spec.source,
        span_of_site(plan, site),
        _build_help(part, wrong),
        None if node is None else node.name,
        step,
    )


def _build_help(part: str | int, wrong: PathError) -> str | None:
    guess = closest_match(str(part), wrong.known)
    if guess:
        return f"did you mean `{guess}`?"
    listed = ", ".join(f"`{name}`" for name in wrong.known)
    return f"known here: {listed}" if listed else None
