"""T5: cancelled at any point, every node has a result, the record is whole, and nothing of the run
is left.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.blocking import run_blocking
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run, run_plan
from engine.scheduling.scheduler import AttemptState
from engine.testing.scripts import parse_script
from engine.testing.simulation import build_scripted_bodies
from tests.support.plans import plan_of
from tests.support.strategies import CLOSING, cases

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
NODE = {"task": "shell", "with": {"argv": ["x"]}}
THREE = {
    "engine": 1,
    "nodes": {
        "a": NODE | {"retry": {"attempts": 3, "delay": "1s"}},
        "b": NODE | {"needs": ["a"]},
        "c": NODE,
    },
}


# -- what must hold of any run that ended ---------------------------------------------------------


def check_record(plan: Plan, events: Sequence[Event], result: Result) -> None:
    """The events tell of one whole run, in order, and fit its result."""
    assert [events[0].kind, events[-1].kind] == ["run_started", "run_ended"]
    assert [event.time for event in events] == sorted(event.time for event in events)
    running: set[tuple[str, int, int]] = set()
    settled: list[str] = []
    asked = False
    for event in events:
        key = (event.path, event.data.get("visit", 0), event.data.get("attempt", 0))
        match event.kind:
            case "attempt_started":
                inside = {*CLOSING} & {*re.split(r"[/\[]", event.path)}
                assert inside or not asked, f"{key} started after the cancellation"
                assert key not in running
                running.add(key)
            case "attempt_ended":
                running.remove(key)
            case "item_settled":
                assert not [path for path, *_ in running if path.rpartition("/")[0] == event.path]
            case "node_settled":
                assert not [path for path, *_ in running if path.startswith(f"{event.path}[")]
                assert not [path for path, *_ in running if path.rpartition("/")[0] == event.path]
                settled.append(event.path)
            case "cancel_asked":
                assert not asked
                asked = True
    assert not running
    assert sorted(path for path in settled if "/" not in path) == sorted(plan.nodes_by_name)
    assert events[-1].data["status"] == result.status
    check_result(plan, result)


def check_result(plan: Plan, result: Result) -> None:
    """T4 of a result: every node has one with a reason, every attempt an end."""
    assert sorted(result.nodes) == sorted(plan.nodes_by_name)
    for node in result.nodes.values():
        assert node.reason.kind
        assert all(item.reason.kind for item in node.items or ())
        for attempt in node.all_attempts():
            assert attempt.outcome is not None
            assert attempt.ended is not None
            assert attempt.ended >= attempt.started
            if attempt.run is not None:
                assert all(part.reason.kind for part in attempt.run.nodes.values())


@attrs.define
class Played:
    """What a scripted run was: its events, its result if it ended, its attempts."""

    events: list[Event] = attrs.field(factory=list)
    result: Result | None = None
    attempts: list[AttemptState] = attrs.field(factory=list)


def play(
    plan: Plan,
    script: Any,
    inputs: Any,
    at_event: int | None = None,
    at_time: float | None = None,
    then_raise: bool = False,
) -> Played:
    """Run under a virtual clock; cancel as the event of that number is being told, or at a time."""
    played = Played()
    bodies = build_scripted_bodies(parse_script(script, plan))

    async def perform(attempt: AttemptState) -> Outcome:
        played.attempts.append(attempt)
        outcome: Outcome = await bodies(attempt)
        return outcome

    def hear(event: Event) -> None:
        played.events.append(event)
        if len(played.events) - 1 == at_event:
            stop.append(None)
            run.cancel("asked at an event")

    stop: list[None] = []
    options = Options(run_id="r", seed=0, on_event=hear, perform=perform, exact=True)

    async def main() -> None:
        nonlocal run
        async with open_run(plan, inputs, options) as run:
            if at_time is not None:
                await trio.sleep_until(at_time)
                run.cancel("asked at a time")
            if not then_raise:
                played.result = await run.result()

    run: Any = None
    trio.run(main, clock=MockClock(autojump_threshold=0))
    return played


def check_played(plan: Plan, played: Played) -> None:
    assert played.result is not None
    check_record(plan, played.events, played.result)
    for attempt in played.attempts:
        assert attempt.is_over
        assert [node.plan.name for node in attempt.node.run.nodes if node.open] == []


# -- T5 under a virtual clock ---------------------------------------------------------------------

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]


@given(cases(), st.integers(0, 40))
@settings(RELAXED, max_examples=100)
def test_cancelled_at_any_event_a_run_ends_whole(case: Case, number: int) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        played = play(plan, script, inputs, at_event=number)
    except EngineError:  # it hangs before that event
        return
    check_played(plan, played)


@given(cases(), st.sampled_from([0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 7.0]))
@settings(RELAXED, max_examples=60)
def test_cancelled_at_any_time_a_run_ends_whole(case: Case, at: float) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    check_played(plan, play(plan, script, inputs, at_time=at))


@pytest.mark.parametrize("number", range(14))
def test_each_event_of_a_small_run_can_be_the_last_before_its_cancellation(number: int) -> None:
    plan = plan_of(THREE)
    played = play(plan, {"a/a": [{"exit": 2}, {"exit": 0}]}, {}, at_event=number)
    check_played(plan, played)
    assert played.result is not None
    last_end = 11  # with it the run is over, whatever is asked while that is being told
    assert played.result.status == ("cancelled" if number < last_end else "succeeded")


def test_events_that_a_listener_causes_come_after_the_one_it_hears() -> None:
    played = play(plan_of(THREE), {}, {}, at_event=0)
    assert [event.kind for event in played.events[:2]] == ["run_started", "cancel_asked"]


def test_backoff_ends_at_once() -> None:
    doc = {"engine": 1, "nodes": {"a": NODE | {"retry": {"attempts": 2, "delay": "1h"}}}}
    played = play(plan_of(doc), {"a/a": [{"outcome": "error"}]}, {}, at_time=2.0)
    assert played.result is not None
    assert played.events[-1].time == 2.0
    assert played.result.nodes["a"].reason.kind == "requested"


def test_the_first_reason_stands() -> None:
    async def main() -> Result:
        async with open_run(plan_of(THREE), {}, Options(perform=forever)) as run:
            run.cancel("mine")
            run.cancel("yours")
            return await run.result()

    assert trio.run(main).message == "mine"


async def forever(attempt: AttemptState) -> Outcome:
    """A body that never ends."""
    await trio.sleep_forever()
    raise AssertionError


def test_a_cancelled_scope_around_a_run_lets_the_cancellation_pass_and_the_record_is_whole() -> (
    None
):
    events: list[Event] = []

    async def main() -> bool:
        with trio.CancelScope() as scope:

            def hear(event: Event) -> None:
                events.append(event)
                if len([e for e in events if e.kind == "attempt_started"]) == 2:
                    scope.cancel()

            await run_plan(plan_of(THREE), {}, Options(perform=forever, on_event=hear))
        return scope.cancelled_caught

    assert trio.run(main)
    started = sorted(event.path for event in events if event.kind == "attempt_started")
    ended = sorted(event.path for event in events if event.kind == "attempt_ended")
    assert started == ended == ["a/a", "c/c"]
    assert events[-1].kind == "run_ended"


def test_an_exception_in_the_block_cancels_the_run_and_comes_out_as_it_is() -> None:
    async def main() -> None:
        async with open_run(plan_of(THREE), {}, Options(perform=forever)):
            raise LookupError("the block's own")

    with pytest.raises(LookupError, match="the block's own"):
        trio.run(main)


def test_an_abandoned_run_has_no_result_and_no_more_events() -> None:
    async def main() -> list[str]:
        try:
            async with open_run(plan_of(THREE), {}, Options(perform=forever)) as run:
                raise LookupError
        except LookupError:
            with pytest.raises(EngineError, match="abandoned"):
                await run.result()
            return [event.kind async for event in run]

    assert trio.run(main)[0] == "run_started"


# -- for real: signals, processes, threads --------------------------------------------------------

LINUX = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")

PROGRAM = """
import json, signal, sys, threading
import engine
signal.signal(signal.SIGINT, signal.default_int_handler)
def show(event):
    print(json.dumps(event.to_json()), flush=True)
result = engine.run(sys.argv[1], grace=float(sys.argv[2]), on_event=show)
threads = [t.name for t in threading.enumerate() if t.name.startswith("engine ")]
print(json.dumps({"event": "result", "threads": threads, **result.to_json()}), flush=True)
"""

BODIES = """
import ctypes, os, time
import trio
from engine import Context

def blocked(context: Context):
    if os.fork() == 0:
        os.setsid()
        time.sleep(1000)
    context.note("ready")
    ctypes.PyDLL(None).sleep(1000)

def spinning(context: Context):
    context.note("ready")
    while True:
        try:
            time.sleep(0.001)
        except ValueError:
            pass

async def waiting(context: Context):
    context.note("ready")
    try:
        await trio.sleep_forever()
    finally:
        context.note("cleaned up")

async def stuck(context: Context):
    context.note("ready")
    time.sleep(1000)
"""

STUBBORN = """
trap '' TERM
setsid bash -c 'trap "" TERM; while :; do sleep 1000; done' &
(trap '' TERM; sleep 1000) &
echo ready >&2
while :; do sleep 1000; done
"""

SPEC = f"""
engine = 1
[nodes.shell]
task = "shell"
with = {{ argv = ["bash", "-c", '''{STUBBORN}'''] }}
[nodes.blocked]
task = "python:bodies:blocked"
[nodes.spinning]
task = "python:bodies:spinning"
executor = "thread"
[nodes.waiting]
task = "python:bodies:waiting"
[nodes.after]
needs = ["shell"]
task = "sleep"
with = {{ seconds = 1 }}
"""


class Program:
    """A Python program that runs a spec with `engine.run`; its processes bear a mark."""

    def __init__(self, folder: Path, spec: str, grace: float) -> None:
        (folder / "bodies.py").write_text(BODIES)
        (folder / "spec.toml").write_text(spec)
        self.mark = uuid.uuid4().hex
        env = os.environ | {"TEST_MARK": self.mark, "PYTHONPATH": str(Path(__file__).parents[2])}
        argv = [sys.executable, "-c", PROGRAM, str(folder / "spec.toml"), str(grace)]
        self.process = subprocess.Popen(
            argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.events: list[dict[str, Any]] = []

    def read_until(self, kind: str, count: int = 1, **data: Any) -> dict[str, Any]:
        """Read events until `count` of this kind with this data have come; give the last."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = json.loads(line)
            self.events.append(event)
            if event["event"] == kind and data.items() <= event.items():
                count -= 1
                if not count:
                    return event
        raise AssertionError(self.process.communicate()[1])

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()
        for pid in self.left():
            with suppress(ProcessLookupError):  # it has ended since it was listed
                os.kill(pid, signal.SIGKILL)

    def left(self) -> list[int]:
        """Processes of the program that are still alive."""
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if self.mark.encode() in path.read_bytes():
                    found.append(int(path.parent.name))
            except OSError:
                continue
        return found


def check_program(program: Program, why: str, nodes: set[str]) -> dict[str, Any]:
    """The program's run was cancelled for that reason, its record is whole, nothing is left."""
    result = program.read_until("result")
    assert program.process.wait(30) == 0
    assert program.left() == []
    assert (result["status"], result["message"]) == ("cancelled", why)
    assert set(result["nodes"]) == nodes
    for node in result["nodes"].values():
        assert node["result"] == "cancelled"
        assert node["reason"]["kind"] == "requested"
        assert all(attempt["outcome"] == "cancelled" for attempt in node["attempts"])
        assert all(attempt["ended"] is not None for attempt in node["attempts"])
    kinds = [event["event"] for event in program.events[:-1]]
    assert (kinds[0], kinds[-1]) == ("run_started", "run_ended")
    assert kinds.count("attempt_started") == kinds.count("attempt_ended") == len(nodes - {"after"})
    assert kinds.count("node_settled") == len(nodes)
    assert result["threads"] == []
    return result


ALL = {"shell", "blocked", "spinning", "waiting", "after"}


@LINUX
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_cancels_whatever_runs_and_leaves_nothing(
    tmp_path: Path, number: signal.Signals
) -> None:
    with Program(tmp_path, SPEC, grace=0.3) as program:
        program.read_until("attempt_noted", count=4, message="ready")
        program.process.send_signal(number)
        check_program(program, f"{number.name} received", ALL)
    notes = [event["message"] for event in program.events if event["event"] == "attempt_noted"]
    assert "cleaned up" in notes


def test_a_signal_that_no_python_code_handles_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    known = signal.getsignal
    foreign = lambda number: None if number == signal.SIGHUP else known(number)  # noqa: E731
    monkeypatch.setattr(signal, "getsignal", foreign)
    before = known(signal.SIGHUP)
    seen: list[Any] = []

    async def perform(attempt: AttemptState) -> Outcome:
        seen.append(known(signal.SIGHUP))
        return Outcome(0, None)

    plan = plan_of({"engine": 1, "nodes": {"c": NODE}})
    assert run_blocking(plan, {}, Options(perform=perform)).status == "succeeded"
    assert seen == [before]


@LINUX
def test_a_second_signal_ends_the_grace_period(tmp_path: Path) -> None:
    with Program(tmp_path, SPEC, grace=3600) as program:
        program.read_until("attempt_noted", count=4, message="ready")
        program.process.send_signal(signal.SIGINT)
        program.read_until("cancel_asked")
        program.process.send_signal(signal.SIGINT)
        check_program(program, "SIGINT received", ALL)


@LINUX
def test_signals_get_through_even_where_a_task_blocks_the_loop(tmp_path: Path) -> None:
    spec = 'engine = 1\n[nodes.stuck]\ntask = "python:bodies:stuck"\n'
    with Program(tmp_path, spec, grace=3600) as program:
        program.read_until("attempt_noted", message="ready")
        while program.process.poll() is None:
            program.process.send_signal(signal.SIGINT)
            try:
                program.process.wait(0.1)
            except subprocess.TimeoutExpired:
                continue
        # Ended by the signal: Python does so after its KeyboardInterrupt, of which no more may be told
        # where the next one comes meanwhile.
        assert program.process.returncode == -signal.SIGINT
