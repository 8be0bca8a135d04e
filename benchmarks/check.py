"""`python -m benchmarks.check`: checking a large spec beside reading its text with tomli alone.

Rows of nodes, each with a route table, a retry and references to two nodes of the row before; texts
and numbers vary from node to node. Every point is a process of its own, warmed up with a small spec;
processor time with the collector at rest, least of the runs. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from time import process_time

import attrs

__all__ = ["PEERS", "Point", "Row", "judged", "main", "perform", "spec_text"]

TIMES = 6.0
"""The whole check may take this many times what tomli takes for the text."""
MEMORY = 3.0
"""Its process may have this many times the memory of one that has tomli's tables."""
STEEPEST = 1.2
"""A check of N nodes may grow at most as N to this power."""
_WIDTH = 100
_WARM = 200
_SEED = 20

_NODE = """\
[nodes.n{at}]
task = "shell"
with = {{ argv = ["./work", "--part", "{at}", {reads}] }}
timeout = "{timeout}m"
exits = {{ stale = {code} }}
routes = {{ stale = "done:stale", 9 = "fail:odd", "*" = "fail" }}
retry = {{ attempts = {attempts}, delay = "{delay}s", factor = 2.0 }}
"""


def spec_text(size: int) -> str:
    """A spec of `size` nodes in which nothing is wrong."""
    draw = Random(_SEED)
    return "engine = 1\n" + "".join(_node(draw, at) for at in range(size))


def _node(draw: Random, at: int) -> str:
    row = at // _WIDTH
    before = range((row - 1) * _WIDTH, row * _WIDTH)
    reads = [f"${{n{each}.stdout}}" for each in draw.sample(before, 2)] if row else [f"-{at}"]
    return _NODE.format(
        at=at,
        reads=", ".join(map(json.dumps, reads)),
        timeout=draw.randint(1, 9),
        code=draw.randint(3, 5),
        attempts=draw.randint(2, 4),
        delay=draw.randint(1, 3),
    )


@attrs.frozen
class Point:
    """µs a node, and the most memory that the process had, in MB."""

    peer: str
    size: int
    each: float
    memory: float


def _tomli(text: str) -> None:
    import tomli

    tomli.loads(text)


def _check(text: str) -> None:
    from engine import api
    from engine.toml.source import Source

    found = api.check(Source("benchmark.toml", text))
    if found:
        raise ValueError(f"the benchmark's spec is not sound: {found[0]}")


PEERS: Mapping[str, Callable[[str], None]] = {"tomli": _tomli, "engine check": _check}


def perform(peer: str, size: int) -> Point:
    """The point, in this process."""
    from engine.base.gc_pause import gc_paused

    text, small, run = spec_text(size), spec_text(_WARM), PEERS[peer]
    with gc_paused():
        run(small)
        start = process_time()
        run(text)
        took = process_time() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Point(peer, size, took / size * 1e6, memory)


def measure(peer: str, size: int) -> Point:
    """The point, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.check", "--point", peer, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Point(**json.loads(done.stdout))


@attrs.frozen
class Row:
    """Both peers at one size."""

    tomli: Point
    check: Point

    @property
    def times(self) -> float:
        """How many times tomli's time the check took."""
        return self.check.each / self.tomli.each


def _rows(sizes: Sequence[int], runs: int) -> Iterator[Row]:
    for size in sizes:
        found = [[measure(peer, size) for peer in PEERS] for _ in range(runs)]
        tomli, check = (min(each, key=lambda p: p.each) for each in zip(*found, strict=True))
        yield Row(tomli, check)


def judged(rows: Sequence[Row]) -> tuple[str, bool]:
    """The table as Markdown with what it comes to, and whether the bars hold."""
    lines = [
        "| nodes | tomli µs | check µs | × | tomli MB | check MB |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        each = f"{row.tomli.each:.1f} | {row.check.each:.1f} | {row.times:.2f}"
        memory = f"{row.tomli.memory:.0f} | {row.check.memory:.0f}"
        lines.append(f"| {row.check.size:,} | {each} | {memory} |")
    first, last = rows[0].check, rows[-1].check
    growth = last.each / first.each
    allowed = (last.size / first.size) ** (STEEPEST - 1)
    lines += ["", f"a node costs {growth:.2f} times as much at {last.size:,} (bar {allowed:.2f})"]
    most = max(row.check.memory / row.tomli.memory for row in rows)
    holds = growth <= allowed and rows[0].times <= TIMES and most <= MEMORY
    lines.append(f"check / tomli at {first.size:,}: {rows[0].times:.2f} (bar {TIMES:g})")
    lines.append(f"memory, check / tomli: {most:.2f} (bar {MEMORY:g})")
    return "\n".join(lines), holds


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and judge."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check")
    parser.add_argument("--sizes", default="10000,100000", help="default: 10000,100000")
    parser.add_argument("--runs", type=int, default=3, help="of each point; default: 3")
    parser.add_argument("--point", nargs=2, metavar=("PEER", "SIZE"), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.point:
        print(json.dumps(attrs.asdict(perform(args.point[0], int(args.point[1])))))
        return 0
    text, holds = judged([*_rows([int(size) for size in args.sizes.split(",")], args.runs)])
    print(text)
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
