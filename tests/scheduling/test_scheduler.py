"""What strikes while something else is under way, and in which order what happens at one instant is told."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.scheduling.scheduler import AttemptState
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.oracle import simulator
from tests.support.plans import comparable, plan_of

SLOW = 5.0
"""Seconds that a body takes to stop."""


def stubborn(doc: dict[str, Any], cancel_at: float | None = None) -> tuple[Result, list[Event]]:
    """A run whose bodies never end by themselves, and take `SLOW` seconds to stop."""
    events: list[Event] = []

    async def perform(attempt: AttemptState) -> Outcome:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(SLOW)

    async def main() -> Result:
        options = Options(perform=perform, exact=True, on_event=events.append)
        async with open_run(plan_of(doc), None, options) as run:
            if cancel_at is not None:
                await trio.sleep_until(cancel_at)
                run.cancel("asked")
            return await run.result()

    return trio.run(main, clock=MockClock(autojump_threshold=0)), events


def node(**keys: Any) -> dict[str, Any]:
    return {"task": "probe", "timeout": "2s"} | keys


def test_a_deadline_in_a_child_counts_though_its_parent_is_cancelled_before_the_body_has_stopped() -> (
    None
):
    """The deadline of `a`, which waits for a retry, strikes at the same instant and cancels the run."""
    inner = {"nodes": {"x": {"task": "probe", "deadline": "2s"}}}
    nodes = {
        "a": {"task": "probe", "deadline": "2s", "retry": {"attempts": 2, "delay": "9s"}},
        "b": {"pipeline": "c"},
    }
    doc = {
        "engine": 1,
        "pipeline": {"on_failure": "cancel"},
        "nodes": nodes,
        "pipelines": {"c": inner},
    }
    script = {"a/a": [{"exit": 1}], "b/b/x/x": [{"outcome": "hang"}]}
    plan = plan_of(doc)
    result = simulate(plan, parse_script(script, plan))
    (attempt,) = result.nodes["b"].attempts
    assert attempt.run is not None
    assert (attempt.run.status, attempt.run.nodes["x"].reason.kind) == ("failed", "deadline")
    assert comparable(result) == comparable(simulator.simulate(doc, script, {}))


CHILD = {"c": {"nodes": {"x": {"task": "probe"}}}}
NODES = {
    "a task": {"nodes": {"a": node()}},
    "a sub-pipeline": {
        "nodes": {"a": {"pipeline": "c", "timeout": "2s"}},
        "pipelines": CHILD,
    },
}


@pytest.mark.parametrize("doc", NODES.values(), ids=NODES)
def test_a_deadline_that_strikes_while_a_timeout_stops_the_body_counts(doc: dict[str, Any]) -> None:
    a = doc["nodes"]["a"] | {"deadline": "4s", "routes": {"timeout": "done"}}
    result, _ = stubborn({"engine": 1, **doc, "nodes": {"a": a}})
    found = result.nodes["a"]
    assert (found.result, found.reason.kind, found.label) == ("failed", "deadline", "timeout")
    assert [(each.outcome, each.ended) for each in found.attempts] == [("cancelled", 7.0)]


@pytest.mark.parametrize("doc", NODES.values(), ids=NODES)
def test_a_timeout_whose_body_has_stopped_by_the_deadline_is_one(doc: dict[str, Any]) -> None:
    a = doc["nodes"]["a"] | {"deadline": "7s", "routes": {"timeout": "done"}}
    result, _ = stubborn({"engine": 1, **doc, "nodes": {"a": a}})
    assert result.nodes["a"].reason.kind == "routed"


@pytest.mark.parametrize("doc", NODES.values(), ids=NODES)
@pytest.mark.parametrize(("at", "why"), [(None, "deadline"), (4.0, "requested")])
def test_what_cancels_the_run_then_counts_too(
    doc: dict[str, Any], at: float | None, why: str
) -> None:
    a = doc["nodes"]["a"] | {"retry": {"attempts": 3}}
    pipeline = {} if at else {"deadline": "4s"}
    result, _ = stubborn({"engine": 1, **doc, "nodes": {"a": a}, "pipeline": pipeline}, at)
    found = result.nodes["a"]
    assert (result.status, found.result, found.reason.kind) == ("cancelled", "cancelled", why)
    assert [each.outcome for each in found.attempts] == ["cancelled"]


def test_a_request_after_the_nodes_deadline_does_not_take_it_back() -> None:
    result, _ = stubborn({"engine": 1, "nodes": {"a": node(deadline="3s")}}, cancel_at=4.0)
    assert result.nodes["a"].reason.kind == "deadline"


def test_a_request_is_told_with_its_own_time() -> None:
    doc = {"engine": 1, "nodes": {"a": {"task": "probe"}}}
    _, events = stubborn(doc, cancel_at=4.0)
    assert [event.time for event in events if event.kind == "cancel_asked"] == [4.0]


def test_what_is_decided_at_one_instant_is_decided_in_the_order_of_the_file() -> None:
    never = {"task": "probe", "when": "1 == 2"}
    nodes = {"c": never, "a": never, "b": never, "after_b": never | {"needs": ["b"]}}
    nodes |= {"after_c": never | {"needs": ["c"]}}
    events: list[Event] = []
    simulate(plan_of({"engine": 1, "nodes": nodes}), on_event=events.append)
    settled = [event.path for event in events if event.kind == "node_settled"]
    assert settled == ["c", "a", "b", "after_b", "after_c"]


def test_of_failures_at_one_instant_the_first_in_the_file_is_the_runs() -> None:
    wrong = {"task": "probe", "when": "inputs.s.x"}
    doc = {"engine": 1, "inputs": {"s": {}}, "nodes": {"b": wrong, "a": wrong}}
    result = simulate(plan_of(doc), inputs={"s": {}})
    assert result.message.startswith("`b` failed")
