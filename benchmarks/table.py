"""Points into rows, medians and bars, as a table for a terminal or in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Literal

import attrs

from benchmarks.points import ENGINE, Point

__all__ = ["BAR", "STEEPEST", "Clock", "Row", "floor_of", "growth", "markdown", "row", "text"]

BAR = 3.0
"""The engine's run may cost this many times its floor's."""
STEEPEST = 1.2
"""Time may grow with the size to this power; the floor reaches 1.15, by the collector's work."""

Clock = Literal["wall", "cpu"]


@attrs.frozen
class Row:
    """What the runs of one shape and size came to, in medians; `times` is that of each run's."""

    shape: str
    size: int
    each: Mapping[str, float]
    """Microseconds a node, by peer."""
    times: float
    """Times the floor's."""
    build: float
    """Microseconds a node for load and compile."""
    memory: Mapping[str, float]
    """MB, by peer."""

    @property
    def holds(self) -> bool:
        """Whether the bar is kept."""
        return self.times <= BAR


def floor_of(shape: str) -> str:
    """Whom the engine is held against; for `route` a bare loop of calls would be no floor."""
    return "trio-ready+scope" if shape == "route" else "trio-tasks"


def row(runs: Sequence[Mapping[str, Point]], clock: Clock) -> Row:
    """The row of some runs of one shape and size, each a point for every peer."""

    def each(point: Point) -> float:
        return (point.wall if clock == "wall" else point.cpu) / point.units * 1e6

    first = runs[0][ENGINE]
    floor = floor_of(first.shape)
    return Row(
        first.shape,
        first.size,
        {peer: median(each(run[peer]) for run in runs) for peer in runs[0]},
        median(each(run[ENGINE]) / each(run[floor]) for run in runs),
        median((run[ENGINE].load + run[ENGINE].compile) / run[ENGINE].units * 1e6 for run in runs),
        {peer: median(run[peer].memory for run in runs) for peer in runs[0]},
    )


def growth(rows: Iterable[Row]) -> dict[str, float]:
    """By shape, the power of the size that its time grows with; not for a single size."""
    found: dict[str, list[Row]] = {}
    for each in rows:
        found.setdefault(each.shape, []).append(each)
    return {shape: _power(sizes) for shape, sizes in found.items() if len(sizes) > 1}


def _power(rows: list[Row]) -> float:
    first, last = min(rows, key=_size), max(rows, key=_size)
    return 1 + math.log(last.each[ENGINE] / first.each[ENGINE], last.size / first.size)


def _size(row: Row) -> int:
    return row.size


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    head, *body = _cells(rows)
    ruler = ["---", *["---:"] * (len(head) - 2), "---"]
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ruler, *body))


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_line(line, widths) for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    name, *numbers, word = cells
    middle = (cell.rjust(width) for cell, width in zip(numbers, widths[1:], strict=False))
    return "  ".join([name.ljust(widths[0]), *middle, word]).rstrip()


def _cells(rows: Sequence[Row]) -> list[list[str]]:
    floors = [peer for peer in rows[0].each if peer != ENGINE] if rows else []
    head = ["shape", "N", *floors, ENGINE, "× floor", "build", "MB floor", "MB", f"≤ {BAR:g}×"]
    return [head, *([*_numbers(row, floors), _verdict(row.holds)] for row in rows)]


def _numbers(row: Row, floors: Sequence[str]) -> list[str]:
    floor = floor_of(row.shape)
    return [
        row.shape,
        f"{row.size:,}",
        *(_marked(f"{row.each[peer]:.1f}", peer == floor) for peer in floors),
        f"{row.each[ENGINE]:.1f}",
        f"{row.times:.2f}",
        f"{row.build:.1f}",
        f"{row.memory[floor]:.0f}",
        f"{row.memory[ENGINE]:.0f}",
    ]


def _marked(cell: str, is_floor: bool) -> str:
    return f"{cell} *" if is_floor else cell


def _verdict(holds: bool) -> Literal["yes", "no"]:
    return "yes" if holds else "no"
