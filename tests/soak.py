"""The property tests of the checker with many more examples: `python -m tests.soak 20000`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings

from tests.small import (
    costly_machines,
    costly_pipelines,
    machines,
    pipelines,
    reading_machines,
    reading_pipelines,
)
from tests.strategies import cases
from tests.test_bounds import (
    a_run_keeps_to_it,
    crowded,
    few_places_keep_to_it,
    machine_costs_agree,
    pipeline_costs_agree,
)
from tests.test_feasibility import machine_agrees, pipeline_agrees, verdicts_agree
from tests.test_produced import nodes_agree, reads_hold, scripted, steps_agree


def main(examples: int) -> None:
    """Run each property on so many examples; raises on the first that does not hold."""
    relaxed = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    properties: tuple[tuple[Any, Callable[[Any], None]], ...] = (
        (machines(), machine_agrees),
        (pipelines(), pipeline_agrees),
        (pipelines(), verdicts_agree),
        (reading_machines(), steps_agree),
        (reading_pipelines(), nodes_agree),
        (scripted(reading_machines()), reads_hold),
        (scripted(reading_pipelines()), reads_hold),
        (costly_machines(), machine_costs_agree),
        (costly_pipelines(), pipeline_costs_agree),
        (cases(), a_run_keeps_to_it),
        (crowded(), few_places_keep_to_it),
    )
    for strategy, agrees in properties:
        relaxed(given(strategy)(agrees))()
        print(f"{agrees.__name__}: {examples} examples hold")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
