"""W602: a deadline or timeout that is shorter than the worst case.

Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.base.durations import format_duration
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Node, Plan
from engine.toml.key_paths import KeyPath

if TYPE_CHECKING:
    from engine.analysis.bounds import Bounds

__all__ = ["RULE", "check"]

RULE = Rule(
    "W602", "deadline-too-short", "a deadline or timeout that is shorter than the worst case"
)


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each deadline, and each timeout of a sub-pipeline, below its worst case."""
    if plan.deadline is None and not any(map(_has_deadline, plan.nodes)):
        return
    from engine.analysis.bounds import compute_bounds  # most specs have no limits

    found = compute_bounds(plan)
    if found is None:
        return
    if plan.deadline is not None and plan.deadline < found.full < math.inf:
        place = (*plan.spec.key_path, "pipeline", "deadline")
        about = "" if found.run.exact_time else "up to "
        yield _build_diagnostic(plan, place, f"a run can take {about}{format_duration(found.full)}")
    for node in plan.nodes:
        yield from _check_node(plan, node, found)


def _has_deadline(node: Node) -> bool:
    return node.deadline is not None or any(body.plan and body.timeout for body in node.bodies)


def _check_node(plan: Plan, node: Node, found: Bounds) -> Iterator[Diagnostic]:
    bound = found.nodes[node.index]
    about = "" if bound.whole.exact_time else "up to "
    if node.deadline is not None and node.deadline < bound.full < math.inf:
        message = f"`{node.name}` can take {about}{format_duration(bound.full)}"
        yield _build_diagnostic(plan, (*plan.key_path_of(node), "deadline"), message, node.name)
    for name, body, child in zip(node.step_names, node.bodies, bound.children, strict=True):
        if child is not None and body.timeout is not None and body.timeout < child < math.inf:
            message = f"the sub-pipeline of `{name}` can take {about}{format_duration(child)}"
            place = (*plan.key_path_of(node, name), "timeout")
            yield _build_diagnostic(plan, place, message, node.name, name)


def _build_diagnostic(
    plan: Plan, place: KeyPath, message: str, node: str | None = None, step: str | None = None
) -> Diagnostic:
    text = plan.spec.source
    help = "raise it, or shorten timeouts, retries and delays"
    message = f"{message}, but its {place[-1]} is shorter"
    return Diagnostic(RULE, message, text, text.value_span(place), help, node, step)
