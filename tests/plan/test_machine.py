"""The machine's transition, in what the oracle leaves out: jitter, waits a task asks for, permanent failures."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plan.machine import (
    MAX_REQUESTED_DELAY,
    Clause,
    Enter,
    Machine,
    Retry,
    Route,
    Step,
    Stop,
    advance,
    begin,
)
from engine.testing.scripts import ScriptedEnd
from engine.testing.simulation import simulate
from tests.support.plans import plan_of

TRY_THRICE = Machine((Step("a", retry=(Clause(3, matches_all=True, delay=1.0, factor=2.0),)),))


def middle() -> float:
    return 0.5


def test_a_permanent_failure_is_not_retried_but_routed() -> None:
    step = Step(
        "a",
        retry=(Clause(3, matches_all=True),),
        routes={"error": Route("error", 0, max=1, counter=0)},
    )
    _, move = advance(
        Machine((step,), counters=1),
        begin(Machine((step,), counters=1)),
        "error",
        middle,
        permanent=True,
    )
    assert isinstance(move, Enter)


@pytest.mark.parametrize(
    ("clause", "outcome", "again"),
    [
        (Clause(3, on=frozenset([4])), 4, True),
        (Clause(3, matches_all=True), 4, False),
        (Clause(3, matches_all=True, on=frozenset([5])), 4, False),
        (Clause(3, on=frozenset(["error"])), "error", False),
    ],
)
def test_a_permanent_exit_is_retried_if_a_clause_names_it(
    clause: Clause, outcome: Any, again: bool
) -> None:
    machine = Machine((Step("a", retry=(clause,)),))
    _, move = advance(machine, begin(machine), outcome, middle, permanent=True)
    assert isinstance(move, Retry) == again


def test_a_wait_the_task_asks_for_is_taken_if_longer() -> None:
    _, move = advance(TRY_THRICE, begin(TRY_THRICE), "error", middle, requested_delay=7.0)
    assert move == Retry(7.0)


def test_a_wait_the_task_asks_for_is_not_taken_if_shorter() -> None:
    _, move = advance(TRY_THRICE, begin(TRY_THRICE), "error", middle, requested_delay=0.5)
    assert move == Retry(1.0)


def test_a_wait_the_task_asks_for_is_capped_by_max_delay() -> None:
    machine = Machine((Step("a", retry=(Clause(3, matches_all=True, delay=1.0, max_delay=4.0),)),))
    _, move = advance(machine, begin(machine), "error", middle, requested_delay=1000.0)
    assert move == Retry(4.0)


def test_a_wait_the_task_asks_for_is_capped_by_five_minutes_without_max_delay() -> None:
    _, move = advance(TRY_THRICE, begin(TRY_THRICE), "error", middle, requested_delay=1000.0)
    assert move == Retry(MAX_REQUESTED_DELAY)


@given(st.floats(0, 0.999), st.floats(0, 1), st.integers(1, 10))
def test_jitter_stays_within_its_share(draw: float, jitter: float, retry: int) -> None:
    clause = Clause(11, matches_all=True, delay=2.0, factor=1.5, jitter=jitter)
    plain = 2.0 * 1.5 ** (retry - 1)
    waited = clause.delay_before(retry, lambda: draw, None)
    assert plain * (1 - jitter) - 1e-9 <= waited <= plain * (1 + jitter) + 1e-9


def test_a_delay_that_would_overflow_is_capped() -> None:
    assert (
        Clause(1000, matches_all=True, delay=1.0, factor=1e9, max_delay=30.0).delay_before(
            999, middle, None
        )
        == 30.0
    )


def test_no_delay_stays_none_however_it_grows() -> None:
    clause = Clause(100, matches_all=True, factor=1e9)
    assert clause.delay_before(99, middle, None) == 0.0
    assert clause.delay_before(99, middle, 7.0) == 7.0


def test_a_factor_that_grows_without_end_kills_no_run() -> None:
    retry = {"attempts": 100, "factor": 1e9, "on": ["failure"]}
    plan = plan_of({"engine": 1, "nodes": {"a": {"task": "probe", "retry": retry}}})
    result = simulate(plan, {"a/a": (ScriptedEnd(1, retry_after=1.0),)})
    assert len(result.nodes["a"].attempts) == 100


def test_jitter_depends_on_the_seed_and_not_on_what_else_runs() -> None:
    node = {"task": "probe", "retry": {"attempts": 3, "delay": "1s", "jitter": 0.5}}
    script = {"a/a": (ScriptedEnd(1), ScriptedEnd(1), ScriptedEnd(0))}
    alone = simulate(plan_of({"engine": 1, "nodes": {"a": node}}), script, seed="s")
    beside = simulate(plan_of({"engine": 1, "nodes": {"b": node, "a": node}}), script, seed="s")
    other = simulate(plan_of({"engine": 1, "nodes": {"a": node}}), script, seed="t")
    times = [attempt.started for attempt in alone.nodes["a"].attempts]
    assert times == [attempt.started for attempt in beside.nodes["a"].attempts]
    assert times != [attempt.started for attempt in other.nodes["a"].attempts]


def test_an_exit_that_no_name_is_given_is_called_by_its_number() -> None:
    machine = Machine((Step("a", codes=None),))
    _, move = advance(machine, begin(machine), 75, middle)
    assert move == Stop("failed", "unrouted", "75", 75)
