"""`python -m benchmarks`: runs every shape at every size and says whether the bars hold.

Exit status 1 if one does not.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

import attrs

from benchmarks.points import PEERS, Point, measure
from benchmarks.shapes import SHAPES
from benchmarks.table import STEEPEST, Row, growth, markdown, row, text

SIZES = (1_000, 10_000, 100_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and judge."""
    args = _arguments(argv)
    rows, points = [], []
    for shape in args.shapes:
        for size in args.sizes:
            runs = [_run(shape, size) for _ in range(args.runs)]
            rows.append(row(runs, args.clock))
            points += [attrs.asdict(point) for run in runs for point in run.values()]
    if args.json is not None:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(points, file, indent=1)
    print(markdown(rows) if args.markdown else text(rows))
    return _judge(rows)


def _run(shape: str, size: int) -> dict[str, Point]:
    """Every peer once, one right after the other, the engine last."""
    print(f"{shape} {size:,} …", file=sys.stderr, flush=True)
    return {peer: measure(peer, shape, size) for peer in PEERS}


def _judge(rows: Sequence[Row]) -> int:
    powers = growth(rows)
    if powers:
        shown = ", ".join(f"{shape} N^{power:.2f}" for shape, power in powers.items())
        print(f"\ntime grows as: {shown} (linear: at most N^{STEEPEST:g})")
    missed = [f"{row.shape} at {row.size:,}" for row in rows if not row.holds]
    missed += [f"growth of {shape}" for shape, power in powers.items() if power > STEEPEST]
    print(f"\nbars missed: {', '.join(missed)}" if missed else "\nall bars hold")
    return 1 if missed else 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Microseconds a node (route: a step) of the engine and of trio by hand; "
        "* marks the floor that × is taken of.",
    )
    parser.add_argument("--sizes", type=_numbers, default=SIZES, metavar="N,N")
    parser.add_argument("--shapes", type=_shapes, default=tuple(SHAPES), metavar="NAME,NAME")
    parser.add_argument("--runs", type=int, default=3, help="of which the median counts")
    parser.add_argument(
        "--clock",
        choices=("wall", "cpu"),
        default="wall",
        help="cpu: for a machine that others use too; nothing in a run sleeps",
    )
    parser.add_argument("--json", metavar="FILE", help="every single point")
    parser.add_argument("--markdown", action="store_true", help="print the table for a page")
    return parser.parse_args(argv)


def _numbers(given: str) -> tuple[int, ...]:
    return tuple(int(part) for part in given.split(","))


def _shapes(given: str) -> tuple[str, ...]:
    names = tuple(given.split(","))
    unknown = [name for name in names if name not in SHAPES]
    if unknown:
        raise argparse.ArgumentTypeError(f"no shape `{unknown[0]}`; there are {', '.join(SHAPES)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
