"""What a journal shows of a run is what the run was."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.history import history, lines_of, node_names
from tests.kit import comparable, plan_of
from tests.strategies import cases
from tests.test_cancel import play

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=100)


@given(cases(), st.integers(0, 90))
@RELAXED
def test_the_events_of_a_run_give_its_result(case: Case, number: int) -> None:
    doc, script, inputs = case
    try:
        played = play(plan_of(doc), script, inputs, at_event=number)
    except Exception as error:
        if "never end" not in str(error):
            raise
        return
    assert played.result is not None
    found = history(played.events)
    assert comparable(found) == comparable(played.result)
    assert [found.why(name) for name in found.nodes] == [
        played.result.why(name) for name in found.nodes
    ]
    for at in range(len(played.events)):  # it can be looked at at any time
        history(played.events[:at], "interrupted", list(doc["nodes"])).to_json()


TWO = {"engine": 1, "nodes": {"a": {"task": "probe"}, "b": {"task": "probe", "needs": ["a"]}}}


def test_of_a_run_that_goes_on_nodes_are_running_or_pending() -> None:
    played = play(plan_of(TWO), {}, {})
    at = [event.kind for event in played.events].index("attempt_started")
    found = history(played.events[: at + 1], "running", ["a", "b"])
    assert found.status == "running"
    assert [(n.name, n.result) for n in found.nodes.values()] == [
        ("a", "running"),
        ("b", "pending"),
    ]


def test_the_names_of_nodes_are_read_in_the_order_of_the_file() -> None:
    assert node_names("engine = 1\n[nodes.b]\n[nodes.a.steps.x]\n") == ["b", "a"]
    assert node_names("no toml") == []


def test_lines_of_a_node() -> None:
    played = play(plan_of(TWO), {}, {})
    assert list(lines_of(played.events)) == []
