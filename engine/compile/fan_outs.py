"""Compile a node's fan-out into a FanOut (E505 for a constant that is not a list of items).

Source: docs/language.md, "Fan-out".
"""

from __future__ import annotations

import json

from engine.compile.references import TemplateContext, compile_template, is_input_of_type
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import codes
from engine.expressions.model import EvaluationError, Template
from engine.language.spec import NodeSpec
from engine.plan.fan_out import FanOut, parse_tolerance

__all__ = ["compile_fan_out"]


def compile_fan_out(draft: DocumentDraft, name: str, spec: NodeSpec) -> FanOut | None:
    """Compile the fan-out of a node; None if it has no `for_each`.

    Without a `max_parallel` of its own it takes the pipeline's.
    """
    if spec.for_each is None:
        return None
    place = TemplateContext((*draft.node_path(name), "for_each"), name, "start")
    items = compile_template(draft, place, spec.for_each)
    count = len(spec.for_each) if isinstance(spec.for_each, list) else None
    if count is None and not items.reads:
        count = _count_items(draft, place, items)
    return FanOut(
        items=items,
        max_parallel=spec.max_parallel or draft.spec.pipeline.max_parallel,
        tolerate=parse_tolerance(spec.tolerate or 0),
        is_always_list=count is not None
        or all(is_input_of_type("array", draft.spec, r) for r in items.reads),
        count=count,
    )


def _count_items(draft: DocumentDraft, place: TemplateContext, items: Template) -> int:
    """Count the items of an expression that reads nothing."""
    try:
        found = items.evaluate({})
    except EvaluationError as error:
        draft.report(codes.BAD_EXPRESSION, f"this can never be evaluated: {error}", place.path)
        return 1
    if not isinstance(found, list) or not found:
        shown = json.dumps(found, ensure_ascii=False)
        message = f"this is always {shown}, not a list with items"
        draft.report(codes.BAD_EXPRESSION, message, place.path, 'read a list: "${…}"')
        return 1
    return len(found)
