"""What a body may know of its attempt, and tell of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio
from trio.testing import MockClock

import engine
from engine import Context, Exit, task
from engine.record.events import Event
from engine.record.result import Result
from engine.toml.source import Source

Doc = dict[str, Any]
SEEN: list[Any] = []
BODIES = """
from engine import Context, task

@task(id="far.work")
def work(context: Context) -> dict:
    context.report(0.25, "a quarter")
    context.log("just a line")
    with context.temporary() as folder:
        open(folder + "/x", "w").close()
    return {"folder": folder, "history": list(context.history), "state": dict(context.state)}
"""


def run(doc: Doc, *tasks: Any, path: Path | None = None) -> tuple[Result, list[Event]]:
    events: list[Event] = []
    text = tomli_w.dumps({"engine": 1} | doc)
    source = Source("x.toml" if path is None else path, text)
    plan = engine.load_plan(source, tasks=tasks)
    return engine.run(plan, {}, on_event=events.append), events


def notes(events: list[Event]) -> list[tuple[str, float | None]]:
    return [
        (e.data["message"], e.data.get("progress")) for e in events if e.kind == "attempt_noted"
    ]


@task(id="near.work")
async def near(context: Context) -> Exit:
    """Says what it knows."""
    SEEN.append(
        (
            context.step,
            [each["outcome"] for each in context.history],
            dict(context.steps),
            dict(context.state),
        )
    )
    context.report(context.attempt / 4, "so far")
    return Exit(0 if context.attempt > 2 or context.step == "last" else 1, {"n": context.attempt})


def test_it_knows_what_was_before() -> None:
    SEEN.clear()
    steps = {
        "first": {
            "task": "near.work",
            "retry": {"attempts": 3},
            "routes": {"success": "last"},
            "set": {"n": "${state.n + 1}"},
        },
        "last": {"task": "near.work"},
    }
    node = {"start": "first", "steps": steps, "outputs": {"n": "${steps.first.n}"}}
    state = {"n": {"type": "integer", "initial": 0}}
    result, events = run({"state": state, "nodes": {"a": node}}, near)
    assert result.status == "succeeded"
    assert SEEN == [
        ("first", [], {}, {"n": 0}),
        ("first", [1], {"first": {"n": 1}}, {"n": 1}),
        ("first", [1, 1], {"first": {"n": 2}}, {"n": 2}),
        ("last", [1, 1, 0], {"first": {"n": 3}}, {"n": 3}),
    ]
    assert notes(events) == [
        ("25% so far", 0.25),
        ("50% so far", 0.5),
        ("75% so far", 0.75),
        ("25% so far", 0.25),
    ]


@pytest.mark.parametrize("executor", ["thread", "process"])
def test_so_does_a_function_elsewhere(executor: str, tmp_path: Path) -> None:
    name = f"far_bodies_{executor}"
    (tmp_path / f"{name}.py").write_text(BODIES)
    node = {"task": "far.work", "executor": executor}
    doc = {
        "pipeline": {"name": "case", "tasks": [name]},
        "state": {"n": {"initial": 7}},
        "nodes": {"a": node, "b": {"task": "collect", "with": {"n": "${state.n}"}}},
    }
    result, events = run(doc, path=tmp_path / "x.toml")
    assert result.status == "succeeded", result.message
    output = result.nodes["a"].output
    assert (output["history"], output["state"]) == ([], {"n": 7})
    assert not Path(output["folder"]).exists()
    assert notes(events) == [("25% a quarter", 0.25), ("just a line", None)]


@task(id="odd.work")
async def odd(context: Context) -> None:
    """Tells odd things."""
    context.note("\0progress soon it will be done")
    with pytest.raises(ValueError, match="from 0 to 1"):
        context.report(1.5)


def test_what_is_no_progress_is_a_line() -> None:
    result, events = run({"nodes": {"a": {"task": "odd.work"}}}, odd)
    assert result.status == "succeeded"
    assert [progress for _, progress in notes(events)] == [None]


@task(id="near.cleans")
async def cleans(context: Context, seconds: float) -> None:
    """Cleans up when it is cancelled, which takes some time."""
    try:
        await trio.sleep_forever()
    finally:
        with context.shield() as scope:
            await trio.sleep(seconds)
        SEEN.append(scope.cancelled_caught)


@pytest.mark.parametrize(("seconds", "late"), [(1.0, False), (9.0, True)])
def test_a_body_may_clean_up_for_as_long_as_the_grace_period(seconds: float, late: bool) -> None:
    SEEN.clear()
    node = {"task": "near.cleans", "timeout": "10s", "with": {"seconds": seconds}}
    source = Source("x.toml", tomli_w.dumps({"engine": 1, "nodes": {"a": node}}))
    plan = engine.load_plan(source, tasks=[cleans])
    clock = MockClock(autojump_threshold=0)
    result = trio.run(partial(engine.runtime.run, plan, grace=5.0), clock=clock)
    assert (result.nodes["a"].label, SEEN) == ("timeout", [late])
