"""The property tests of the checker with many more examples, new ones each time: `python -m tests.support.soak 1000000`.

All properties have their turn, `BATCH` examples each, so that whenever it is stopped each has been tried about as often.
`--seed` begins with another batch, or once more with the one that a failure named.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import Any

from hypothesis import HealthCheck, given, seed, settings

from tests.analysis.test_bounds import (
    a_run_keeps_to_it,
    crowded,
    few_places_keep_to_it,
    machine_costs_agree,
    pipeline_costs_agree,
)
from tests.analysis.test_missing_outputs import nodes_agree, reads_hold, scripted, steps_agree
from tests.analysis.test_races import races_agree
from tests.analysis.test_reachability import machine_agrees, pipeline_agrees, verdicts_agree
from tests.support.small_strategies import (
    costly_machines,
    costly_pipelines,
    machines,
    pipelines,
    racing_pipelines,
    reading_machines,
    reading_pipelines,
)
from tests.support.strategies import cases

BATCH = 100
"""Examples of one property before it is the next one's turn; what Hypothesis remembers of them is let go then."""

PROPERTIES: tuple[tuple[Any, Callable[[Any], None]], ...] = (
    (machines(), machine_agrees),
    (pipelines(), pipeline_agrees),
    (pipelines(), verdicts_agree),
    (reading_machines(), steps_agree),
    (reading_pipelines(), nodes_agree),
    (racing_pipelines(), races_agree),
    (scripted(reading_machines()), reads_hold),
    (scripted(reading_pipelines()), reads_hold),
    (costly_machines(), machine_costs_agree),
    (costly_pipelines(), pipeline_costs_agree),
    (cases(), a_run_keeps_to_it),
    (crowded(), few_places_keep_to_it),
)


def main() -> None:
    """Run each property on so many examples; raises on the first that does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.soak", description=__doc__)
    parser.add_argument("examples", type=int, nargs="?", default=2000, help="of each property")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, help="the first batch")
    asked = parser.parse_args()
    until, tried = time.monotonic() + 60 * asked.minutes, 0
    for number, size in enumerate(batches(asked.examples), asked.seed):
        for strategy, agrees in PROPERTIES:
            if time.monotonic() > until:
                return
            try:
                batch(strategy, agrees, number, size)
            except Exception:
                print(f"{agrees.__name__} does not hold: batch {number}", flush=True)
                raise
            tried += size
        print(f"{tried} examples of {len(PROPERTIES)} properties hold", flush=True)


def batches(examples: int) -> Iterator[int]:
    """The sizes of the batches."""
    for start in range(0, examples, BATCH):
        yield min(BATCH, examples - start)


def batch(strategy: Any, agrees: Callable[[Any], None], number: int, size: int) -> None:
    """One property on the examples of a batch, the same ones each time."""
    relaxed = settings(
        max_examples=size,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    seed(number)(relaxed(given(strategy)(agrees)))()


if __name__ == "__main__":
    main()
