"""State: what is written when, what a run leaves behind, what is told of it."""

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
from tests.support.plans import plan_of

Doc = dict[str, Any]
COUNT: Doc = {"n": {"type": "integer", "maximum": 9, "initial": 0}}
MORE: Doc = {"n": "${state.n + 1}"}


def shell(**keys: Any) -> Doc:
    return {"task": "shell"} | keys


def played(
    nodes: Doc, script: Doc | None = None, state: Doc = COUNT, **more: Any
) -> tuple[Result, list[Event]]:
    """A simulated run and its events."""
    events: list[Event] = []
    plan = plan_of({"engine": 1, "state": state, "nodes": nodes, **more})
    result = simulate(plan, parse_script(script or {}, plan), on_event=events.append)
    return result, events


def outcomes(result: Result, node: str) -> list[Any]:
    return [attempt.outcome for attempt in result.nodes[node].attempts]


def test_a_run_begins_with_initial_and_leaves_its_state_in_the_result() -> None:
    nodes = {"a": shell(set=MORE), "b": shell(needs=["a"], set=MORE)}
    result, _ = played(nodes, outputs={"seen": "${state.n}"})
    assert (result.state, result.outputs) == ({"n": 2}, {"seen": 2})
    assert result.to_json()["state"] == {"n": 2}


def test_attempts_that_are_retried_write_as_well() -> None:
    a = shell(set=MORE, retry={"attempts": 3})
    result, _ = played({"a": a}, {"a/a": [{"exit": 1}, {"exit": 2}, {"exit": 0}]})
    assert (result.state, outcomes(result, "a")) == ({"n": 3}, [1, 2, 0])


def test_what_ends_without_an_exit_code_writes_nothing() -> None:
    a = shell(set=MORE, timeout="2s", retry={"attempts": 3})
    result, _ = played({"a": a}, {"a/a": [{"outcome": "error"}, {"outcome": "hang"}, {}]})
    assert (result.state, outcomes(result, "a")) == ({"n": 1}, ["error", "timeout", 0])


def test_what_is_cancelled_writes_nothing() -> None:
    nodes = {"a": shell(set=MORE, deadline="2s"), "b": shell(needs={"a": "failure"})}
    result, _ = played(nodes, {"a/a": [{"duration": 5}]})
    assert (result.state, outcomes(result, "a")) == ({"n": 0}, ["cancelled"])


def test_all_values_are_made_of_the_state_before() -> None:
    state = {"x": {"initial": 1}, "y": {"initial": 2}}
    result, _ = played({"a": shell(set={"x": "${state.y}", "y": "${state.x}"})}, state=state)
    assert result.state == {"x": 2, "y": 1}


def test_if_one_value_does_not_fit_none_is_written_and_the_attempt_is_an_error() -> None:
    state = {**COUNT, "x": {"initial": 0}}
    a = shell(set={"x": 1, "n": "${run.attempt + 8}"}, routes={"error": "done:full"})
    a["retry"] = {"attempts": 2, "on": ["error", 3]}
    result, events = played({"a": a}, {"a/a": [{"exit": 3}, {"exit": 0, "output": "x"}]}, state)
    first, second = result.nodes["a"].attempts
    assert (first.outcome, second.outcome, result.state) == (3, "error", {"n": 9, "x": 1})
    assert second.error == "set: `state.n`: 10 is above the maximum 9"
    assert result.nodes["a"].label == "full"
    assert [e.data["output"] for e in events if e.kind == "attempt_ended"] == [None, None]


def test_a_value_that_is_not_there_is_an_error_that_is_retried() -> None:
    a = shell(set={"n": "${steps.a.count}"}, retry={"attempts": 2})
    ends = [{"output": {}}, {"output": {"count": 4}}]
    result, _ = played({"a": a}, {"a/a": ends})
    assert (result.state, outcomes(result, "a")) == ({"n": 4}, ["error", 0])
    assert result.nodes["a"].attempts[0].error == (
        "set: `steps.a.count`: object `steps.a` has no field `count`"
    )


def test_a_step_sees_its_own_output_and_that_of_others_in_set() -> None:
    one = shell(set={"n": "${steps.one}"}, routes={"success": "two"})
    two = shell(set={"n": "${steps.one + steps.two + run.visit}"})
    script = {"a/one": [{"output": 2}], "a/two": [{"output": 3}]}
    result, _ = played({"a": {"start": "one", "steps": {"one": one, "two": two}}}, script)
    assert result.state == {"n": 6}


def test_a_sub_pipeline_that_failed_has_no_output_in_set() -> None:
    child = {"nodes": {"x": shell()}, "outputs": {"y": 7}}
    a = {"pipeline": "child", "set": {"n": "${steps.a.y ?? 1}"}, "retry": {"attempts": 2}}
    script = {"a/a/x/x": [{"exit": 1}, {"exit": 0}]}
    _, events = played({"a": a}, script, pipelines={"child": child})
    assert [e.data["state"] for e in events if e.kind == "state_set"] == [{"n": 1}, {"n": 7}]


def test_each_run_of_a_sub_pipeline_has_its_own_state() -> None:
    child = {"state": COUNT, "nodes": {"x": shell(set=MORE)}, "outputs": {"n": "${state.n}"}}
    a = {"pipeline": "child", "routes": {"success": "b"}}
    b = {"pipeline": "child", "set": {"n": "${state.n + steps.a.n + steps.b.n}"}}
    nodes = {"m": {"start": "a", "steps": {"a": a, "b": b}}}
    result, events = played(nodes, pipelines={"child": child})
    runs = [attempt.run for attempt in result.nodes["m"].attempts]
    assert [run.state for run in runs if run] == [{"n": 1}, {"n": 1}]
    assert result.state == {"n": 2}
    assert [e.path for e in events if e.kind == "state_set"] == ["m/a/x/x", "m/b/x/x", "m/b"]


def test_what_is_written_is_told_right_after_the_attempt_that_wrote_it() -> None:
    _, events = played({"a": shell(set=MORE)})
    kinds = [event.kind for event in events]
    assert kinds[2:4] == ["attempt_ended", "state_set"]
    told = {"event": "state_set", "time": 1.0, "path": "a/a", "state": {"n": 1}}
    assert events[3].to_json() == told


def test_a_literal_dollar_and_brace_stands_in_initial_and_in_set() -> None:
    state = {"x": {"initial": ["$${a}"]}, "y": {"initial": ""}}
    result, _ = played({"a": shell(set={"y": "$${b}"})}, state=state)
    assert result.state == {"x": ["${a}"], "y": "${b}"}


def test_a_state_is_read_when_and_where_it_is_needed() -> None:
    state = {"go": {"type": "boolean", "initial": False}}
    nodes = {
        "a": shell(set={"go": True}),
        "b": shell(needs=["a"], when="state.go", outputs={"was": "${state.go}"}),
        "c": shell(needs=["b"]) | {"with": {"x": "${state}"}},
    }
    result, _ = played(nodes, state=state)
    assert result.nodes["b"].output == {"was": True}
    assert result.status == "succeeded"


def test_secrets_in_a_state_stay_hidden() -> None:
    seen: list[Event] = []

    async def perform(attempt: AttemptState) -> Outcome:
        return Outcome(0, None)

    async def main() -> Result:
        doc = {
            "engine": 1,
            "state": {"x": {"initial": ""}},
            "nodes": {"a": shell(set={"x": "key ${secrets.KEY}"})},
        }
        options = Options(perform=perform, secrets={"KEY": "hunter22"}, on_event=seen.append)
        async with open_run(plan_of(doc), None, options) as run:
            return await run.result()

    result = trio.run(main, clock=MockClock(autojump_threshold=0))
    [told] = [event.data for event in seen if event.kind == "state_set"]
    assert told == {"state": {"x": "key ***"}}
    assert result.state == {"x": "key ***"}


@pytest.mark.parametrize("duration", [1, 3])
def test_nodes_that_race_are_what_the_check_refuses_them_for(duration: int) -> None:
    """Without an edge the slower one has the last word: the check is needed."""
    nodes = {"a": shell(set={"n": 1}), "b": shell(set={"n": 2})}
    result, _ = played(nodes, {"a/a": [{"duration": duration}], "b/b": [{"duration": 2}]})
    assert result.state == {"n": 2 if duration == 1 else 1}
