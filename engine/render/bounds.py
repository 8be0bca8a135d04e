"""Render worst cases as text and as JSON.

A bound that no run exceeds, but that perhaps none reaches, has `≤` before it ("at most"); a missing
bound is `-`. In JSON it is null, and `exact` says whether a run reaches the bound. Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from engine.analysis.bounds import Bound, Bounds, NodeBound, UnboundedStep
from engine.render.text import (
    Painter,
    Styled,
    TextPiece,
    escape_unprintable,
    format_elapsed,
    format_table,
    make_painter,
    wrap_text,
)

__all__ = ["bounds_to_json", "render_bounds"]

_COLUMNS = ("node/step", "visits", "attempts", "time")


def render_bounds(
    path: str, bounds: Bounds | None, *, width: int | None = None, color: bool = False
) -> str:
    """Render the worst case of one file: a table, the critical path, and what has no bound."""
    paint = make_painter(color)
    if bounds is None:
        return f"{escape_unprintable(path)}: no worst case, because it does not pass the check"
    name = paint(Styled("head", escape_unprintable(bounds.plan.name)))
    lines = [f"{name}  worst case of {escape_unprintable(path)}"]
    lines += format_table(_COLUMNS, list(_iter_rows(bounds)), paint, right=_COLUMNS[1:])
    return "\n".join([*lines, *_iter_notes(bounds, paint, width)])


def bounds_to_json(diagnostics: str, bounds: Mapping[str, Bounds | None]) -> str:
    """Render one JSON object with `diagnostics` and `worst_case`.

    `diagnostics` is the list as it is without worst cases; `worst_case` is by path, null for a spec that does not pass the check.
    """
    found = {
        "diagnostics": json.loads(diagnostics),
        "worst_case": {path: each and _bounds_to_data(each) for path, each in bounds.items()},
    }
    return json.dumps(found, indent=2)


# -- text ------------------------------------------------------------------------------------------


def _iter_rows(bounds: Bounds) -> Iterator[tuple[TextPiece, ...]]:
    for node in bounds.nodes:
        yield _build_row(node.node.name, node.whole)
        if node.item is not None:
            often = "any number" if math.isinf(node.items) else f"{node.items}"
            yield _build_row(f"  per item, of {often}", node.item)
        if len(node.steps) > 1:
            for name, own in zip(node.node.step_names, node.steps, strict=True):
                yield _build_row(f"  {name}", own)
    yield _build_row("critical path", bounds.critical, "dim")
    yield _build_row("run", bounds.run, "head")


def _build_row(name: str, bound: Bound, style: str = "") -> tuple[TextPiece, ...]:
    counts = "" if bound.exact else "≤ "
    cells = (
        escape_unprintable(name),
        _format_count(counts, bound.visits),
        _format_count(counts, bound.attempts),
        _format_time(bound),
    )
    return tuple(Styled(style, cell) for cell in cells) if style else cells


def _format_count(prefix: str, count: float) -> str:
    return "-" if math.isinf(count) else f"{prefix}{count}"


def _format_time(bound: Bound) -> str:
    if math.isinf(bound.seconds):
        return "-"
    return ("" if bound.exact_time else "≤ ") + format_elapsed(bound.seconds)


def _iter_notes(bounds: Bounds, paint: Painter, width: int | None) -> Iterator[str]:
    names = [node.node.name for node in bounds.nodes]
    yield from _wrap_line("critical path: " + " → ".join(names[at] for at in bounds.path), width)
    idle = [node.node.name for node in bounds.nodes if not node.runs]
    if idle:
        yield from _wrap_line("never runs: " + ", ".join(idle), width)
    if bounds.uncounted:
        shown = ", ".join(bounds.uncounted)
        yield from _wrap_line(f"no upper bound on the number of items: {shown}", width)
    endless = [each for each in bounds.endless if not each.list]
    if endless:
        shown = ", ".join(_step_path(each) for each in endless)
        yield from _wrap_line(f"no upper bound on time, no timeout: {shown}", width)
    if not (bounds.run.exact and bounds.run.exact_time):
        yield paint(Styled("dim", "≤ upper bound: no run exceeds it, and perhaps none reaches it"))


def _wrap_line(text: str, width: int | None) -> list[str]:
    return (
        [escape_unprintable(text)] if width is None else wrap_text(escape_unprintable(text), width)
    )


def _step_path(endless: UnboundedStep) -> str:
    step = endless.node.name_of(endless.step)
    own = endless.node.name if step == endless.node.name else f"{endless.node.name}/{step}"
    return f"{own}/{endless.inside}" if endless.inside else own


# -- JSON ------------------------------------------------------------------------------------------


def _bounds_to_data(bounds: Bounds) -> dict[str, Any]:
    names = [node.node.name for node in bounds.nodes]
    return {
        "pipeline": bounds.plan.name,
        "run": _bound_to_data(bounds.run),
        "critical_path": {
            **_bound_to_data(bounds.critical),
            "nodes": [names[at] for at in bounds.path],
        },
        "nodes": {node.node.name: _node_to_data(node) for node in bounds.nodes},
        "without_timeout": [_step_path(each) for each in bounds.endless if not each.list],
        "of_any_length": list(bounds.uncounted),
    }


def _node_to_data(bound: NodeBound) -> dict[str, Any]:
    steps = zip(bound.node.step_names, bound.steps, strict=True)
    fan = (
        {}
        if bound.item is None
        else {"items": _finite_or_none(bound.items), "item": _bound_to_data(bound.item)}
    )
    return {
        "runs": bound.runs,
        **_bound_to_data(bound.whole),
        **fan,
        "steps": {name: _bound_to_data(own) for name, own in steps},
    }


def _finite_or_none(count: float) -> float | None:
    return None if math.isinf(count) else count


def _bound_to_data(bound: Bound) -> dict[str, Any]:
    endless = math.isinf(bound.seconds)
    return {
        "visits": _finite_or_none(bound.visits),
        "attempts": _finite_or_none(bound.attempts),
        "seconds": None if endless else bound.seconds,
        "exact": bound.exact,
        "exact_seconds": bound.exact_time and not endless,
    }
