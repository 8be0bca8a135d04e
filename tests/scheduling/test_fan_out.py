"""Fan-outs: what the random runs of `test_semantics` do not single out, and lists that are long."""

from __future__ import annotations

import gc
import json
from typing import Any

import pytest
import trio

from engine.errors import InputError
from engine.record.events import Event
from engine.record.result import ABSENT, Outcome, Result
from engine.runtime.options import Options
from engine.runtime.redaction import Redactor
from engine.runtime.trio_runs import run_plan
from engine.scheduling.state import AttemptState, NodeState
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.scheduling.test_scheduler import node, stubborn
from tests.support.plans import plan_of

MANY = 100_000
LIST = {"many": {"type": "array"}}


def doc_of(node: dict[str, Any], **tables: Any) -> dict[str, Any]:
    return {"engine": 1, "inputs": LIST, "nodes": {"fan": {"task": "probe", **node}}, **tables}


def played(node: dict[str, Any], script: Any = None, many: Any = (), **tables: Any) -> Result:
    plan = plan_of(doc_of(node, **tables))
    return simulate(plan, parse_script(script or {}, plan), {"many": list(many)})


def starts(result: Result) -> list[float]:
    return [item.attempts[0].started for item in result.nodes["fan"].items or ()]


# -- what it gives ---------------------------------------------------------------------------------


def test_the_output_is_the_list_of_outputs_in_item_order() -> None:
    keys = {"for_each": "${inputs.many}", "outputs": {"item": "${item}", "at": "${index}"}}
    script = {"fan[0]/fan": [{"duration": 9}]}
    found = played(keys, script, many=["a", "b"]).nodes["fan"]
    assert found.output == [{"item": "a", "at": 0}, {"item": "b", "at": 1}]
    assert (found.result, found.label, found.reason.kind) == ("succeeded", "success", "completed")


def test_an_empty_list_succeeds_without_an_attempt() -> None:
    found = played({"for_each": "${inputs.many}", "deadline": "1s"}).nodes["fan"]
    assert (found.result, found.output, found.items, found.attempts) == ("succeeded", [], (), ())


@pytest.mark.parametrize(
    ("tolerate", "items", "failed", "result"),
    [
        *((0, 3, 0, "succeeded"), (0, 3, 1, "failed"), (2, 3, 2, "succeeded")),
        *((2, 3, 3, "failed"), ("10%", 10, 1, "succeeded"), ("10%", 9, 1, "failed")),
        *(("100%", 4, 4, "succeeded"), ("12.5%", 8, 1, "succeeded"), ("0%", 1, 1, "failed")),
    ],
)
def test_it_fails_if_more_fail_than_are_tolerated(
    tolerate: Any, items: int, failed: int, result: str
) -> None:
    script = {f"fan[{at}]/fan": [{"exit": 1}] for at in range(failed)}
    keys = {"for_each": "${inputs.many}", "tolerate": tolerate}
    found = played(keys, script, many=range(items)).nodes["fan"]
    assert (found.result, found.label) == (
        (result, "success") if result == "succeeded" else (result, "failure")
    )
    assert found.reason.kind == ("completed" if result == "succeeded" else "tolerance")
    assert found.output == [None] * items
    assert found.items is not None
    assert [item.result for item in found.items].count("failed") == failed


def test_what_a_failed_item_gave_stands_with_the_item_alone() -> None:
    script = {"fan[0]/fan": [{"exit": 1, "output": "bad"}], "fan/fan": [{"output": "good"}]}
    keys = {"for_each": ["a", "b"], "tolerate": 1}
    found = played(keys, script)
    assert found.nodes["fan"].output == [None, "good"]
    bad, good = found.to_json()["nodes"]["fan"]["items"]
    assert (bad["output"], "output" in good) == ("bad", False)
    assert json.dumps(found.to_json())


@pytest.mark.parametrize("value", ["text", 3, None, {"x": 1}])
def test_what_is_no_list_fails_the_node(value: Any) -> None:
    nodes = {"a": {"task": "probe"}, "fan": {"task": "probe", "for_each": "${a}"}}
    plan = plan_of({"engine": 1, "nodes": nodes})
    script = parse_script({"a/a": [{"output": value}]}, plan)
    found = simulate(plan, script).nodes["fan"]
    assert (found.reason.kind, found.label, found.items) == ("evaluation", "error", None)
    assert "expected an array, found" in found.reason.message


# -- limits ----------------------------------------------------------------------------------------


def test_so_many_at_a_time_and_the_pipelines_limit_without_one() -> None:
    keys = {"for_each": "${inputs.many}"}
    assert starts(played({**keys, "max_parallel": 2}, many=range(5))) == [0, 0, 1, 1, 2]
    limited = played(keys, many=range(5), pipeline={"max_parallel": 3})
    assert starts(limited) == [0, 0, 0, 1, 1]


def test_an_item_that_waits_holds_no_place() -> None:
    retry = {"attempts": 2, "delay": "10s"}
    keys = {"for_each": "${inputs.many}", "max_parallel": 1, "retry": retry}
    found = played(keys, {"fan[0]/fan": [{"exit": 1}, {}]}, many=range(3))
    first, *others = found.nodes["fan"].items or ()
    assert [attempt.started for attempt in first.attempts] == [0, 11]
    assert [item.attempts[0].started for item in others] == [1, 2]


def test_items_of_sub_pipelines_are_opened_so_many_at_a_time() -> None:
    child = {"inputs": {"x": {}}, "nodes": {"n": {"task": "probe"}}}
    nodes = {"fan": {"pipeline": "c", "for_each": "${inputs.many}", "with": {"x": "${item}"}}}
    doc = {"engine": 1, "inputs": LIST, "nodes": nodes, "pipelines": {"c": child}}
    plan = plan_of({**doc, "pipeline": {"max_parallel": 2}})
    found = simulate(plan, None, {"many": [1, 2, 3]})
    assert starts(found) == [0, 0, 1]


# -- cancelling ------------------------------------------------------------------------------------


def test_with_cancel_the_rest_of_the_items_is_cancelled_with_the_rest_of_the_run() -> None:
    script = {"fan[1]/fan": [{"exit": 1, "duration": 0.5}]}
    keys = {"for_each": "${inputs.many}", "max_parallel": 2}
    cancel = {"pipeline": {"on_failure": "cancel"}}
    found = played(keys, script, many=range(4), **cancel).nodes["fan"]
    assert (found.result, found.reason.kind, found.output) == ("failed", "tolerance", ABSENT)
    assert [(item.result, item.reason.kind) for item in found.items or ()] == [
        ("cancelled", "failure"),
        ("failed", "unrouted"),
        *[("cancelled", "failure")] * 2,
    ]
    lenient = played({**keys, "allow_failure": True}, script, many=range(4), **cancel)
    assert lenient.nodes["fan"].output == [None] * 4


def test_its_deadline_is_that_of_all_items() -> None:
    keys = {"for_each": "${inputs.many}", "max_parallel": 1, "deadline": "2500ms"}
    found = played(keys, many=range(4)).nodes["fan"]
    assert (found.reason.kind, found.label, found.output) == ("deadline", "timeout", ABSENT)
    results = [(item.result, len(item.attempts)) for item in found.items or ()]
    assert results == [("succeeded", 1), ("succeeded", 1), ("cancelled", 1), ("cancelled", 0)]
    assert {item.reason.kind for item in found.items or ()} == {"completed", "deadline"}


def test_a_deadline_that_strikes_while_timeouts_stop_items_counts() -> None:
    fan = node(for_each=["a", "b"], deadline="4s", routes={"timeout": "done"})
    found = stubborn({"engine": 1, "nodes": {"fan": fan}})[0].nodes["fan"]
    assert (found.result, found.reason.kind, found.label) == ("failed", "deadline", "timeout")
    assert [(each.outcome, each.ended) for each in found.all_attempts()] == [("cancelled", 7.0)] * 2


def test_a_request_after_its_deadline_does_not_take_it_back() -> None:
    fan = node(for_each=["a", "b"], deadline="3s")
    result, _ = stubborn({"engine": 1, "nodes": {"fan": fan}}, cancel_at=4.0)
    assert result.nodes["fan"].reason.kind == "deadline"


def test_a_request_while_it_gives_up_does_not_take_it_back() -> None:
    """The first item cannot be given what it asks for; the others take their time to stop."""
    fan = node(for_each=["a", {"y": 1}, {"y": 2}], **{"with": {"x": "${item.y}"}})
    doc = {"engine": 1, "pipeline": {"on_failure": "cancel"}, "nodes": {"fan": fan}}
    result, _ = stubborn(doc, cancel_at=4.0)
    found = result.nodes["fan"]
    assert (found.result, found.reason.kind) == ("failed", "tolerance")
    assert [item.reason.kind for item in found.items or ()] == ["unrouted", "failure", "failure"]


# -- scripts and secrets ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fan[x]/fan", "there is no step `fan[x]/fan`"),
        ("fan[0]", "`fan` is a node: script its steps, such as `fan/fan`"),
        ("one[0]/one", "`one` is not a fan-out: it has no items"),
    ],
)
def test_a_script_names_items_of_fan_outs_alone(path: str, message: str) -> None:
    doc = doc_of({"for_each": ["a"]})
    doc["nodes"]["one"] = {"task": "probe"}
    with pytest.raises(InputError) as caught:
        parse_script({path: [{"exit": 0}]}, plan_of(doc))
    assert any(message in problem for problem in caught.value.problems)


def test_secrets_in_items_are_hidden() -> None:
    script = {
        "fan/fan": [{"output": "hush-hush"}],
        "fan[1]/fan": [{"outcome": "error", "message": "hush-hush"}],
    }
    found = played({"for_each": ["a", "b"], "tolerate": 1}, script)
    assert "hush-hush" in json.dumps(found.to_json())
    assert "hush-hush" not in json.dumps(Redactor(["hush-hush"]).redact_result(found).to_json())


# -- long lists ------------------------------------------------------------------------------------


def of_many(items: int, events: list[Event] | None = None) -> tuple[Result, int]:
    """A run of a fan-out over many items, and the most live nodes that were seen at once."""
    most = 0
    seen = 0

    async def perform(attempt: AttemptState) -> Outcome:
        nonlocal most, seen
        seen += 1
        if seen % 10_000 == 1:
            gc.collect()
            most = max(most, sum(isinstance(each, NodeState) for each in gc.get_objects()))
        await trio.lowlevel.checkpoint()
        return Outcome(1 if attempt.node.own_names["index"] % 7 == 0 else 0, attempt.inputs["x"])

    keys = {"for_each": "${inputs.many}", "tolerate": "50%", "with": {"x": "${index}"}}
    plan = plan_of(doc_of(keys, pipeline={"max_parallel": 16}))
    hear = events.append if events is not None else None
    options = Options(perform=perform, on_event=hear, seed=1)
    return trio.run(run_plan, plan, {"many": [0] * items}, options), most


def test_a_hundred_thousand_items_are_never_alive_at_once() -> None:
    found, most = of_many(MANY)
    fan = found.nodes["fan"]
    assert fan.output == [None if at % 7 == 0 else at for at in range(MANY)]
    assert fan.items is not None
    assert len(fan.items) == MANY
    assert 16 <= most < 100


def test_events_of_items_tell_how_many_have_ended() -> None:
    events: list[Event] = []
    of_many(50, events)
    settled = [event for event in events if event.kind == "item_settled"]
    assert [event.data["done"] for event in settled] == list(range(1, 51))
    assert {event.data["items"] for event in settled} == {50}
    assert settled[-1].data["failed"] == 8
