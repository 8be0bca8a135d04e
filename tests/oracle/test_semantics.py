"""T1, T2 and T4: the trio runtime under a virtual clock does what the oracle says, in every case, whatever the scheduling."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.errors import EngineError
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.oracle import simulator
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases, tiny_cases

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))


def agree(case: Case, cancel_at: float | None = None) -> None:
    """Run a case both ways and compare all that is defined."""
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        expected = simulator.simulate(doc, script, inputs, cancel_at=cancel_at)
    except simulator.NeverEnds:
        with pytest.raises(EngineError, match="never end"):
            simulate(plan, parse_script(script, plan), inputs, cancel_at=cancel_at)
        return
    result = simulate(plan, parse_script(script, plan), inputs, cancel_at=cancel_at)
    assert comparable(result) == comparable(expected)


@given(tiny_cases())
@settings(RELAXED, max_examples=200)
def test_small_pipelines_run_as_the_oracle_says(case: Case) -> None:
    agree(case)


@given(cases())
@settings(RELAXED, max_examples=200)
def test_pipelines_run_as_the_oracle_says(case: Case) -> None:
    agree(case)


@given(cases(), st.sampled_from([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0]))
@settings(RELAXED, max_examples=200)
def test_cancelled_at_any_time_pipelines_end_as_the_oracle_says(case: Case, at: float) -> None:
    agree(case, cancel_at=at)
