"""One point: one peer runs one shape of one size, once, in a process of its own.

`measure` starts that process, `python -m benchmarks.points PEER SHAPE SIZE`; it prints the point as
JSON. The run is timed inside the event loop, after a small run of the same kind that warms the code
up; loading and compiling the engine's spec are timed apart. Raises unless every body was called as
often as it should be.
"""

from __future__ import annotations

import gc
import json
import resource
import subprocess
import sys
from collections.abc import Awaitable, Callable
from time import perf_counter, process_time

import attrs
import trio

from benchmarks.floors import FLOORS
from benchmarks.shapes import SHAPES, Counter, Work, document, registry
from engine.plan.plan import Plan

__all__ = ["ENGINE", "PEERS", "Point", "measure", "perform"]

ENGINE = "engine"
PEERS = (*FLOORS, ENGINE)
"""Who can run a shape: the floors, then the engine."""
_WARM = 20

Took = tuple[float, float]
"""Seconds by the clock on the wall, and of the processor."""


@attrs.frozen
class Point:
    """Seconds of the parts, and the most memory the process had, in MB.

    `wall` and `cpu` are of the run; `load` is TOML to Spec, `compile` Spec to Plan, both 0 for
    floors.
    """

    peer: str
    shape: str
    size: int
    units: int
    wall: float
    cpu: float
    load: float
    compile: float
    memory: float


def measure(peer: str, shape: str, size: int) -> Point:
    """The point, from a fresh process."""
    command = [sys.executable, "-m", "benchmarks.points", peer, shape, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    return Point(**json.loads(done.stdout))


def perform(peer: str, shape: str, size: int) -> Point:
    """The point, in this process."""
    work = SHAPES[shape](size)
    run = _engine if peer == ENGINE else _floor
    (wall, cpu), load, compiled = run(peer, work)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Point(peer, shape, size, work.units, wall, cpu, load, compiled, memory)


def build(work: Work, counter: Counter) -> tuple[Plan, float, float]:
    """The work's Plan by way of TOML, and the seconds that loading and compiling took."""
    import tomli_w

    from engine.compile.compiler import compile as compile_spec
    from engine.language.loader import load_spec
    from engine.toml.source import Source

    source = Source("benchmark.toml", tomli_w.dumps(document(work)))
    start = perf_counter()
    spec, found = load_spec(source)
    loaded = perf_counter()
    if spec is None or found.errors:
        raise ValueError(f"the benchmark's spec does not load: {found}")
    plan, found = compile_spec(spec, registry(counter))
    if plan is None:
        raise ValueError(f"the benchmark's spec does not compile: {found}")
    return plan, loaded - start, perf_counter() - loaded


def _floor(peer: str, work: Work) -> tuple[Took, float, float]:
    counter = Counter()
    return _timed(lambda: FLOORS[peer](work, counter), work, counter), 0.0, 0.0


def _engine(peer: str, work: Work) -> tuple[Took, float, float]:
    from engine.runtime.options import Options
    from engine.runtime.trio_runs import run_plan

    counter = Counter()
    plan, load, compiled = build(work, counter)

    async def run() -> None:
        result = await run_plan(plan, {}, Options())
        if result.status != "succeeded":
            raise ValueError(f"the benchmark's run {result.status}: {result.message}")

    return _timed(run, work, counter), load, compiled


def _timed(run: Callable[[], Awaitable[None]], work: Work, counter: Counter) -> Took:
    async def main() -> Took:
        wall, cpu = perf_counter(), process_time()
        await run()
        return perf_counter() - wall, process_time() - cpu

    gc.collect()
    took = trio.run(main)
    if counter.calls != work.total:
        raise ValueError(f"bodies were called {counter.calls} times, not {work.total}")
    return took


def main(peer: str, shape: str, size: str) -> None:
    """Print a point."""
    perform(peer, shape, _WARM)
    print(json.dumps(attrs.asdict(perform(peer, shape, int(size)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
