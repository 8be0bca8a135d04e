"""T6 in the core: wherever the journal is cut, the run made again from it gives what it would have given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from engine.errors import JournalError
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.control import Control
from engine.runtime.execution import execute
from engine.runtime.options import Options
from engine.runtime.preparation import prepare
from engine.scheduling.replay import Replayed, replay
from engine.scheduling.scheduler import AttemptState, Scheduler
from engine.scheduling.values import RunValues
from engine.testing.scripts import parse_script
from engine.testing.simulation import build_scripted_bodies
from tests.oracle.test_confluence import defined, ordered, timeless
from tests.runtime.test_cancel import play
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=80)


def folded(plan: Plan, inputs: Any, events: Sequence[Event], told: list[Event]) -> Replayed:
    """The scheduler of a run of `play` made again from its events."""
    values = prepare(plan, inputs, Options()).values

    def make(listen: Any) -> Scheduler:
        return Scheduler(plan, values, "r", 0, listen)

    return replay(make, events, told.append)


def forgiving(plan: Plan) -> Plan:
    """The plan, with bodies that are run again when they are lost, whatever its steps say."""
    for node in plan.nodes:
        for body in node.bodies:
            object.__setattr__(body, "on_interrupt", "rerun")
            if body.plan is not None:
                forgiving(body.plan)
    return plan


class Lives:
    """A run that is killed and resumed: its journal, and how each of its attempts ends."""

    def __init__(self, plan: Plan, script: Any, inputs: Any) -> None:
        self.plan, self.inputs = plan, inputs
        self.ends: dict[str, Outcome] = {}
        self._bodies = build_scripted_bodies(parse_script(script, plan))

    async def first(self, attempt: AttemptState) -> Outcome:
        outcome: Outcome = await self._bodies(attempt)
        self.ends[attempt.key] = outcome
        return outcome

    async def again(self, attempt: AttemptState) -> Outcome:
        await trio.sleep(1)
        return self.ends[attempt.key]

    def live(self, perform: Any, before: Sequence[Event] = ()) -> tuple[Result, list[Event]]:
        events: list[Event] = []
        options = Options(run_id="r", seed=0, perform=perform, exact=True)
        prepared = attrs.evolve(prepare(self.plan, self.inputs, options), events=tuple(before))

        async def main() -> Result:
            return await execute(prepared, Control(), events.append)

        return trio.run(main, clock=MockClock(autojump_threshold=0)), events


@given(cases().map(timeless).map(ordered), st.lists(st.floats(0, 1), min_size=1, max_size=3))
@RELAXED
def test_cut_anywhere_and_resumed_a_run_gives_what_it_would_have_given(
    case: Case, cuts: list[float]
) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    lives = Lives(plan, script, inputs)
    forgiving(plan)
    expected, journal = lives.live(lives.first)
    for cut in cuts:
        before = journal[: 1 + int(cut * (len(journal) - 1))]
        ended = [e.data["key"] for e in before if e.kind == "attempt_ended"]
        result, after = lives.live(lives.again, before)
        assert defined(comparable(result)) == defined(comparable(expected))
        assert not {e.data["key"] for e in after if e.kind == "attempt_ended"} & set(ended)
        journal = [*before, *after]


@given(cases(), st.integers(0, 60))
@RELAXED
def test_the_journal_of_a_run_that_ended_gives_its_result_whatever_struck_it(
    case: Case, number: int
) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        played = play(plan, script, inputs, at_event=number)
    except Exception as error:
        if "never end" not in str(error):
            raise
        return
    told: list[Event] = []
    again = folded(plan, inputs, played.events, told)
    assert not told
    assert not again.fresh
    assert not again.unresolved
    assert played.result is not None
    assert again.scheduler.result is not None
    assert again.scheduler.result.to_json() == played.result.to_json()


@given(cases(), st.integers(0, 60), st.integers(0, 200))
@RELAXED
def test_events_before_and_after_a_cut_are_those_of_one_run(
    case: Case, number: int, cut: int
) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        played = play(plan, script, inputs, at_event=number)
    except Exception as error:
        if "never end" not in str(error):
            raise
        return
    events = played.events
    told: list[Event] = []
    again = folded(plan, inputs, events[: cut + 1], told)
    # What the scheduler does by itself at that instant is what it did; the rest it waits for.
    known = [(e.kind, e.path) for e in events[: cut + 1] if e.kind != "attempt_noted"]
    assert [(e.kind, e.path) for e in events][: len(known)] == known
    begun = {a.key for a in (*again.fresh, *again.unresolved)}
    ended = {e.data["key"] for e in events[: cut + 1] if e.kind == "attempt_ended"}
    assert not begun & ended


CHAIN = {"engine": 1, "nodes": {"a": {"task": "probe"}, "b": {"task": "probe", "needs": ["a"]}}}


def test_a_journal_of_another_spec_is_refused() -> None:
    played = play(plan_of(CHAIN), {}, {})
    other = plan_of({"engine": 1, "nodes": {"b": {"task": "probe"}}})
    with pytest.raises(JournalError, match="event 2 is `attempt_started` of `a/a`"):
        folded(other, {}, played.events, [])


def test_a_timeout_counts_anew_for_a_body_that_is_run_again() -> None:
    doc = {"engine": 1, "nodes": {"a": {"task": "probe", "timeout": "5s"}}}
    plan = plan_of(doc)
    lives = Lives(plan, {"a/a": [{"duration": 4}]}, {})
    _, journal = lives.live(lives.first)
    result, after = lives.live(lives.first, journal[:2])
    assert result.status == "succeeded"
    assert after[0].kind == "attempt_rerun"


@pytest.mark.parametrize(
    ("says", "attempts", "label"),
    [
        ("rerun", [0], "success"),
        ("fail", ["error"], "error"),
        ("route", ["interrupted"], "success"),
    ],
)
def test_what_was_lost_is_what_its_step_says(says: str, attempts: list[Any], label: str) -> None:
    steps = {
        "one": {
            "task": "probe",
            "on_interrupt": says,
            "retry": {"attempts": 3},
            "routes": {"interrupted": "two"},
        },
        "two": {"task": "probe"},
    }
    if says != "route":
        steps["one"]["routes"] = {"failure": "two"}
    plan = plan_of({"engine": 1, "nodes": {"a": {"start": "one", "steps": steps}}})
    lives = Lives(plan, {}, {})
    _, journal = lives.live(lives.first)
    before = journal[:2]
    assert [event.kind for event in before] == ["run_started", "attempt_started"]
    result, _ = lives.live(lives.first, before)
    node = result.nodes["a"]
    assert [a.outcome for a in node.attempts if a.step == "one"] == attempts
    assert node.label == label


@pytest.mark.parametrize(("on", "again"), [(None, 1), (["interrupted"], 2), (["*"], 2), ([1], 1)])
def test_what_is_interrupted_is_tried_again_only_by_a_clause_that_says_so(
    on: list[Any] | None, again: int
) -> None:
    retry: dict[str, Any] = {"attempts": 2} | ({} if on is None else {"on": on})
    step = {"task": "probe", "on_interrupt": "route", "retry": retry}
    lives = Lives(plan_of({"engine": 1, "nodes": {"a": step}}), {}, {})
    _, journal = lives.live(lives.first)
    result, _ = lives.live(lives.first, journal[:2])
    assert len(result.nodes["a"].attempts) == again


def test_values_of_a_run_are_given_not_kept() -> None:
    """A fold needs the values of the run: they are the caller's, not the journal's."""
    played = play(plan_of(CHAIN), {}, {})

    def make(listen: Any) -> Scheduler:
        return Scheduler(plan_of(CHAIN), RunValues({}), "r", 0, listen)

    assert replay(make, played.events[:3]).unresolved == ()
