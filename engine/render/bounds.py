"""Render worst cases as text and as JSON.

A bound that no run exceeds, but that perhaps none reaches, has `≤` before it ("at most"); a missing
bound is `-`. In JSON it is null, and `exact` says whether a run reaches the bound. Source: docs/language.md, "Worst case".
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from engine.analysis.bounds import Bound, Bounds, Endless, NodeBound
from engine.render.text import Paint, Piece, Styled, elapsed, painter, printable, table, wrap

__all__ = ["as_json", "report"]

_HEAD = ("node/step", "visits", "attempts", "time")


def report(
    path: str, bounds: Bounds | None, *, width: int | None = None, color: bool = False
) -> str:
    """Render the worst case of one file: a table, the critical path, and what has no bound."""
    paint = painter(color)
    if bounds is None:
        return f"{printable(path)}: no worst case, because it does not pass the check"
    name = paint(Styled("head", printable(bounds.plan.name)))
    lines = [f"{name}  worst case of {printable(path)}"]
    lines += table(_HEAD, list(_rows(bounds)), paint, right=_HEAD[1:])
    return "\n".join([*lines, *_notes(bounds, paint, width)])


def as_json(diagnostics: str, bounds: Mapping[str, Bounds | None]) -> str:
    """Render one JSON object with `diagnostics` and `worst_case`.

    `diagnostics` is the list as it is without worst cases; `worst_case` is by path, null for a spec that does not pass the check.
    """
    found = {
        "diagnostics": json.loads(diagnostics),
        "worst_case": {path: each and _data(each) for path, each in bounds.items()},
    }
    return json.dumps(found, indent=2)


# -- text ------------------------------------------------------------------------------------------


def _rows(bounds: Bounds) -> Iterator[tuple[Piece, ...]]:
    for node in bounds.nodes:
        yield _row(node.node.name, node.whole)
        if node.item is not None:
            often = "any number" if math.isinf(node.items) else f"{node.items}"
            yield _row(f"  per item, of {often}", node.item)
        if len(node.steps) > 1:
            for name, own in zip(node.node.step_names, node.steps, strict=True):
                yield _row(f"  {name}", own)
    yield _row("critical path", bounds.critical, "dim")
    yield _row("run", bounds.run, "head")


def _row(name: str, bound: Bound, style: str = "") -> tuple[Piece, ...]:
    counts = "" if bound.exact else "≤ "
    cells = (
        printable(name),
        _count(counts, bound.visits),
        _count(counts, bound.attempts),
        _time(bound),
    )
    return tuple(Styled(style, cell) for cell in cells) if style else cells


def _count(about: str, count: float) -> str:
    return "-" if math.isinf(count) else f"{about}{count}"


def _time(bound: Bound) -> str:
    if math.isinf(bound.seconds):
        return "-"
    return ("" if bound.exact_time else "≤ ") + elapsed(bound.seconds)


def _notes(bounds: Bounds, paint: Paint, width: int | None) -> Iterator[str]:
    names = [node.node.name for node in bounds.nodes]
    yield from _line("critical path: " + " → ".join(names[at] for at in bounds.path), width)
    idle = [node.node.name for node in bounds.nodes if not node.runs]
    if idle:
        yield from _line("never runs: " + ", ".join(idle), width)
    if bounds.uncounted:
        shown = ", ".join(bounds.uncounted)
        yield from _line(f"no upper bound on the number of items: {shown}", width)
    endless = [each for each in bounds.endless if not each.list]
    if endless:
        shown = ", ".join(_place(each) for each in endless)
        yield from _line(f"no upper bound on time, no timeout: {shown}", width)
    if not (bounds.run.exact and bounds.run.exact_time):
        yield paint(Styled("dim", "≤ upper bound: no run exceeds it, and perhaps none reaches it"))


def _line(text: str, width: int | None) -> list[str]:
    return [printable(text)] if width is None else wrap(printable(text), width)


def _place(endless: Endless) -> str:
    step = endless.node.name_of(endless.step)
    own = endless.node.name if step == endless.node.name else f"{endless.node.name}/{step}"
    return f"{own}/{endless.inside}" if endless.inside else own


# -- JSON ------------------------------------------------------------------------------------------


def _data(bounds: Bounds) -> dict[str, Any]:
    names = [node.node.name for node in bounds.nodes]
    return {
        "pipeline": bounds.plan.name,
        "run": _figures(bounds.run),
        "critical_path": {
            **_figures(bounds.critical),
            "nodes": [names[at] for at in bounds.path],
        },
        "nodes": {node.node.name: _node(node) for node in bounds.nodes},
        "without_timeout": [_place(each) for each in bounds.endless if not each.list],
        "of_any_length": list(bounds.uncounted),
    }


def _node(bound: NodeBound) -> dict[str, Any]:
    steps = zip(bound.node.step_names, bound.steps, strict=True)
    fan = (
        {} if bound.item is None else {"items": _finite(bound.items), "item": _figures(bound.item)}
    )
    return {
        "runs": bound.runs,
        **_figures(bound.whole),
        **fan,
        "steps": {name: _figures(own) for name, own in steps},
    }


def _finite(count: float) -> float | None:
    return None if math.isinf(count) else count


def _figures(bound: Bound) -> dict[str, Any]:
    endless = math.isinf(bound.seconds)
    return {
        "visits": _finite(bound.visits),
        "attempts": _finite(bound.attempts),
        "seconds": None if endless else bound.seconds,
        "exact": bound.exact,
        "exact_seconds": bound.exact_time and not endless,
    }
