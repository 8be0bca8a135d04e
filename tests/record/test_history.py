"""What a journal shows of a run is what the run was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.record.events import Event
from engine.record.history import iter_log_lines, read_node_names, result_from_events
from tests.runtime.test_cancel import play
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases

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
    found = result_from_events(played.events)
    assert comparable(found) == comparable(played.result)
    assert [found.explain(name) for name in found.nodes] == [
        played.result.explain(name) for name in found.nodes
    ]
    for at in range(len(played.events)):  # it can be looked at at any time
        result_from_events(played.events[:at], "interrupted", list(doc["nodes"])).to_json()


TWO = {"engine": 1, "nodes": {"a": {"task": "probe"}, "b": {"task": "probe", "needs": ["a"]}}}


def test_of_a_run_that_goes_on_nodes_are_running_or_pending() -> None:
    played = play(plan_of(TWO), {}, {})
    at = [event.kind for event in played.events].index("attempt_started")
    found = result_from_events(played.events[: at + 1], "running", ["a", "b"])
    assert found.status == "running"
    assert [(n.name, n.result) for n in found.nodes.values()] == [
        ("a", "running"),
        ("b", "pending"),
    ]


def test_progress_goes_from_0_to_1_and_never_back() -> None:
    played = play(plan_of(TWO), {}, {})
    events = played.events
    shares = [
        result_from_events(events[:at], "running", ["a", "b"]).progress
        for at in range(1, len(events) + 1)
    ]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1], set(shares)) == (0.0, 1.0, {0.0, 0.5, 1.0})
    assert result_from_events(events[:-2], "running", ["a", "b"]).to_json()["progress"] == 0.5
    assert "progress" not in result_from_events(events).to_json()


def test_the_names_of_nodes_are_read_in_the_order_of_the_file() -> None:
    assert read_node_names("engine = 1\n[nodes.b]\n[nodes.a.steps.x]\n") == ["b", "a"]
    assert read_node_names("no toml") == []


def test_what_commands_wrote_by_attempt(tmp_path: Path) -> None:
    def sh(script: str, **more: object) -> dict[str, object]:
        return {"task": "shell", "with": {"argv": ["sh", "-c", script], **more}}

    nodes = {
        "a": {**sh("echo out; echo err >&2; echo more; exit 2"), "retry": {"attempts": 2}},
        "b": {**sh("echo '{}'", output="json"), "needs": {"a": "finished"}},
        "c": {**sh("echo 1; echo 2", output="lines"), "needs": ["b"]},
    }
    spec = tmp_path / "p.toml"
    spec.write_text(tomli_w.dumps({"engine": 1, "nodes": nodes}))
    events: list[Event] = []
    engine.run(str(spec), on_event=events.append)
    told = [(event.path, attempt, line) for event, attempt, line in iter_log_lines(events)]
    a = [("a/a", f"1.{n}", line) for n in (1, 2) for line in ("err", "out", "more")]
    assert told == [*a, ("b/b", "1.1", "{}"), ("c/c", "1.1", "1"), ("c/c", "1.1", "2")]
    assert [line for _, _, line in iter_log_lines(events, "c")] == ["1", "2"]
