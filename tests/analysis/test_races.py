"""E506: exactly the nodes that some run has both of and nothing orders, against `brute`."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from engine.analysis import races as module
from engine.analysis.races import find_races
from engine.checking.checker import check_plan
from engine.plan.plan import Plan
from tests.oracle import exhaustive
from tests.support.plans import plan_of
from tests.support.small_strategies import racing_pipelines

Doc = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
PROBE: Doc = {"task": "probe"}
STATE: Doc = {"x": {"initial": 0}}


def told(plan: Plan) -> dict[tuple[str, str], str]:
    """By state and node the one before it that it is said to race with."""
    return {
        (race.one.name, plan.nodes[race.other.node].name): plan.nodes[race.one.node].name
        for race in find_races(plan).found
    }


def races_agree(doc: Doc) -> None:
    """The nodes that race are those that some execution has both of and no edges order."""
    plan = plan_of(doc)
    found, expected = told(plan), exhaustive.races(doc)
    assert find_races(plan).undecided == ()
    assert found.keys() == expected.keys()
    assert all(one in expected[key] for key, one in found.items())


@given(racing_pipelines())
@settings(RELAXED, max_examples=500)
def test_races_are_exactly_those_of_nodes_that_some_run_has_both_of(doc: Doc) -> None:
    races_agree(doc)


def doc_of(nodes: dict[str, Doc], **more: Any) -> Doc:
    return {"engine": 1, "state": STATE, "nodes": nodes, **more}


def writer(**more: Any) -> Doc:
    return {**PROBE, "set": {"x": 1}, **more}


def messages(doc: Doc) -> list[str]:
    return [each.message for each in check_plan(plan_of(doc)) if each.rule.code in ("E506", "N001")]


def test_the_run_that_has_both_is_told_where_it_is_not_the_common_one() -> None:
    nodes = {
        "a": PROBE,
        "b": writer(needs={"a": "failure"}),
        "c": PROBE,
        "d": writer(needs={"c": ["needs_review"]}),
    }
    assert messages(doc_of(nodes)) == [
        (
            "`d` and `b` both write `state.x`, and neither waits for the other: both run when "
            "`a` ends with `error` and `c` ends with `needs_review`"
        )
    ]


def test_a_node_that_only_fails_is_in_one_run_with_others_though_it_cancels_it() -> None:
    failing = writer(routes={"success": "fail"})
    doc = doc_of({"a": failing, "b": writer()}, pipeline={"on_failure": "cancel"})
    assert told(plan_of(doc)) == {("x", "b"): "a"}
    doc["nodes"]["b"]["needs"] = {"c": "success"}
    doc["nodes"]["c"] = {**PROBE, "needs": {"d": "success"}}
    doc["nodes"]["d"] = {**PROBE, "routes": {"success": "fail"}}
    assert told(plan_of(doc)) == {}


@pytest.mark.parametrize(("items", "races"), [([1], False), ([1, 2], True), ("${inputs.l}", True)])
def test_items_of_a_fan_out_that_set_a_state_race(items: Any, races: bool) -> None:
    nodes = {
        "a": writer(for_each=items, max_parallel=1),
        "b": {**PROBE, "for_each": items, "needs": ["a"], "with": {"s": "${state.x}"}},
    }
    told = ["`a` writes `state.x` for several items at the same time"]
    doc = doc_of(nodes, inputs={"l": {"type": "array"}})
    assert messages(doc) == (told if races else [])


def test_of_many_writers_each_races_with_the_first() -> None:
    doc = doc_of({f"n{i}": writer() for i in range(1500)})
    assert told(plan_of(doc)) == {("x", f"n{i}"): "n0" for i in range(1, 1500)}


def test_beyond_the_effort_a_race_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RACE_BUDGET", 1)
    nodes = {
        "a": PROBE,
        "b": writer(needs={"a": "success"}),
        "c": writer(needs={"a": "failure"}),
    }
    assert messages(doc_of(nodes)) == ["cannot decide whether `b` and `c` race over `state.x`"]


def test_what_an_undecided_step_does_is_no_race(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.analysis import step_reachability

    monkeypatch.setattr(step_reachability, "STEP_SEARCH_BUDGET", 3)
    steps: dict[str, Doc] = {
        "a": {"task": "shell", "routes": {"3": {"to": "b", "max": 5, "then": "c"}}},
        "b": {"task": "shell", "routes": {"3": {"to": "a", "max": 4}}},
        "c": writer(),
    }
    doc = doc_of({"m": {"start": "a", "steps": steps}, "n": writer()})
    assert messages(doc) == [
        *["cannot decide whether any run uses up the bound of `3`"] * 2,
        "cannot decide whether any run visits `c`",
    ]


def test_a_long_chain_takes_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RACE_BUDGET", 0)
    nodes = {f"n{i}": writer(needs=[f"n{i - 1}"] if i else []) for i in range(3000)}
    assert find_races(plan_of(doc_of(nodes))) == module.Races((), ())
