"""What ended before need not run again: a run that takes it over gives the same, and runs only the rest."""

from __future__ import annotations

from typing import Any

import attrs
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.control import Control
from engine.runtime.execution import execute
from engine.runtime.options import Options
from engine.runtime.preparation import prepare
from engine.scheduling.carry_over import (
    CarriedOver,
    carry_over_events,
    main_node_of,
    recorded_ends,
    since_last_restart,
)
from engine.scheduling.scheduler import AttemptState
from tests.oracle.test_confluence import defined, ordered, timeless
from tests.scheduling.test_replay import Lives
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=80)


def anew(lives: Lives, known: CarriedOver) -> tuple[Result, set[str], list[Event]]:
    """The run begun once more: its result, the attempts whose bodies ran, its events."""
    ran: set[str] = set()
    events: list[Event] = []

    async def perform(attempt: AttemptState) -> Outcome:
        ran.add(attempt.key)
        return await lives.again(attempt)

    options = Options(run_id="r", seed=0, perform=perform, exact=True)
    prepared = attrs.evolve(
        prepare(lives.plan, lives.inputs, options), carried_over=known, start_time=100.0
    )

    async def main() -> Result:
        return await execute(prepared, Control(), events.append)

    return trio.run(main, clock=MockClock(autojump_threshold=0)), ran, events


@given(cases().map(timeless).map(ordered), st.integers(0, 9))
@RELAXED
def test_only_what_is_not_taken_over_runs_again(case: Case, number: int) -> None:
    doc, script, inputs = case
    lives = Lives(plan_of(doc), script, inputs)
    expected, journal = lives.live(lives.first)
    names = list(lives.plan.index)
    start = names[number % len(names)]
    again = {lives.plan.nodes[at].name for at in lives.plan.descendants([start])}
    more = list(carry_over_events(recorded_ends(journal), again, {}, None, 7.0, "a test"))
    own, known = since_last_restart([*journal, *more])
    assert own == []
    result, ran, events = anew(lives, known)
    assert defined(comparable(result)) == defined(comparable(expected))
    ended = {e.data["key"] for e in journal if e.kind == "attempt_ended"} & lives.ends.keys()
    assert ran == {key for key in ended if main_node_of(key) in again}
    assert all(event.time >= 100 for event in events)
    if start not in lives.plan.index:
        return
    whole = since_last_restart(
        [*journal, *carry_over_events(recorded_ends(journal), (), {}, None, 7.0, "")]
    )[1]
    result, ran, events = anew(lives, whole)
    assert not ran
    assert {event.time for event in events} == {100.0}  # nothing known is waited for


CHAIN = {
    "engine": 1,
    "nodes": {
        "a": {"task": "probe"},
        "b": {"task": "probe", "needs": ["a"], "retry": {"attempts": 2}},
        "c": {"task": "probe", "needs": ["b"]},
    },
}


def test_an_attempt_that_is_marked_ends_as_the_mark_says() -> None:
    lives = Lives(plan_of(CHAIN), {"b/b": [{"exit": 1}]}, {})
    result, journal = lives.live(lives.first)
    assert result.status == "failed"
    lives.ends["c/c/1.1"] = Outcome(0, None)
    more = list(carry_over_events(recorded_ends(journal), (), {"b/b/1.2": 0}, None, 0.0, ""))
    result, ran, _ = anew(lives, since_last_restart(more)[1])
    assert (result.status, ran) == ("succeeded", {"c/c/1.1"})


def test_nodes_that_a_rerun_leaves_out_are_skipped() -> None:
    lives = Lives(plan_of(CHAIN), {}, {})
    _, journal = lives.live(lives.first)
    more = list(carry_over_events(recorded_ends(journal), ("b", "c"), {}, ("a", "b"), 0.0, ""))
    result, ran, _ = anew(lives, since_last_restart(more)[1])
    assert ran == {"b/b/1.1"}
    assert (result.nodes["c"].result, result.nodes["c"].reason.kind) == ("skipped", "when")


def test_a_timeout_that_is_known_is_one() -> None:
    doc = {
        "engine": 1,
        "nodes": {"a": {"task": "probe", "timeout": "1s", "routes": {"timeout": "done"}}},
    }
    lives = Lives(plan_of(doc), {"a/a": [{"outcome": "hang"}]}, {})
    expected, journal = lives.live(lives.first)
    result, ran, _ = anew(
        lives,
        since_last_restart(list(carry_over_events(recorded_ends(journal), (), {}, None, 0.0, "")))[
            1
        ],
    )
    assert not ran
    assert defined(comparable(result)) == defined(comparable(expected))
