"""One node of a run is cancelled, and the rest goes on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from engine import InputError, JournalError, stored
from engine.cli import main as cli
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.scheduling.replay import replay
from engine.scheduling.scheduler import AttemptState, Scheduler
from engine.scheduling.values import RunValues
from engine.testing.scripts import parse_script
from engine.testing.simulation import build_scripted_bodies
from tests.support.plans import comparable, plan_of

Doc = dict[str, Any]
SHELL: Doc = {"task": "shell"}
NODES: Doc = {
    "a": SHELL,
    "b": SHELL | {"needs": ["a"]},
    "c": SHELL | {"needs": {"a": "always"}},
    "d": SHELL,
    "e": SHELL | {"needs": ["d"]},
    "f": SHELL | {"for_each": ["x", "y"], "max_parallel": 1},
}
HANGS: Doc = {"a/a": [{"outcome": "hang"}], "f/f": [{"duration": 9}]}


def played(at: float, *nodes: str, doc: Doc | None = None) -> tuple[Result, list[Event]]:
    plan = plan_of({"engine": 1, "nodes": NODES} | (doc or {}))
    events: list[Event] = []
    options = Options(
        run_id="r",
        seed=0,
        on_event=events.append,
        perform=build_scripted_bodies(parse_script(HANGS, plan)),
        exact=True,
    )

    async def main() -> Result:
        async with open_run(plan, {}, options) as run:
            await trio.sleep_until(at)
            for node in nodes:
                run.cancel("enough", node=node)
            return await run.result()

    return trio.run(main, clock=MockClock(autojump_threshold=0)), events


def ends(result: Result) -> list[str]:
    return [f"{name} {node.result}" for name, node in result.nodes.items()]


@pytest.mark.parametrize("at", [0.0, 0.5, 2.0])
def test_what_waits_for_it_is_skipped_and_the_rest_goes_on(at: float) -> None:
    result, _ = played(at, "a")
    assert ends(result) == [
        *("a cancelled", "b skipped", "c skipped"),
        *("d succeeded", "e succeeded", "f succeeded"),
    ]
    assert (result.status, result.message) == ("cancelled", "`a` was cancelled: enough")
    reason = result.nodes["a"].reason
    assert (reason.kind, reason.message) == ("requested", "enough")


def test_items_that_are_left_are_cancelled_with_their_node() -> None:
    result, _ = played(10.0, "a", "f")
    assert result.nodes["f"].result == "cancelled"
    assert [item.result for item in result.nodes["f"].items or ()] == ["succeeded", "cancelled"]
    assert result.nodes["e"].result == "succeeded"


def test_one_that_has_not_begun_never_does() -> None:
    result, _ = played(0.5, "e", "a")
    assert (result.nodes["e"].result, result.nodes["e"].attempts) == ("cancelled", ())


def test_one_that_has_ended_is_let_be() -> None:
    result, events = played(5.0, "d", "a")
    assert result.nodes["d"].result == "succeeded"
    assert [event.path for event in events if event.kind == "cancel_asked"] == ["a"]


def test_a_failure_names_the_run_before_it() -> None:
    nodes = NODES | {"g": {"task": "shell", "needs": ["d"], "when": "d.x"}}
    result, _ = played(5.0, "a", doc={"nodes": nodes})
    assert result.status == "failed"


def test_its_journal_gives_the_same_again() -> None:
    result, events = played(3.0, "a", "f")
    plan = plan_of({"engine": 1, "nodes": NODES})

    def make(listen: Any) -> Scheduler:
        return Scheduler(plan, RunValues({}), "r", 0, listen)

    again = replay(make, events)
    assert again.scheduler.result is not None
    assert comparable(again.scheduler.result) == comparable(result)


def test_there_must_be_such_a_node() -> None:
    with pytest.raises(InputError, match="there is no node `aa`, did you mean `a`"):
        played(0.0, "aa")


def test_what_ends_a_run_is_not_cancelled_alone() -> None:
    plan = plan_of({"engine": 1, "nodes": {"a": SHELL}, "finally": {"tidy": SHELL}})

    async def main() -> None:
        async with open_run(plan, {}, Options(perform=lambda _: trio.sleep_forever())) as run:
            with pytest.raises(
                InputError, match="its nodes cannot be cancelled one by one"
            ) as caught:
                run.cancel("enough", node="tidy")
            run.cancel("enough")
            raise caught.value

    with pytest.raises(InputError):
        trio.run(main)


def test_a_real_body_stops_and_others_do_not() -> None:
    stopped: list[str] = []

    async def main() -> Result:
        begun, over = trio.Event(), trio.Event()

        async def perform(attempt: AttemptState) -> Outcome:
            if attempt.node.name == "d":
                await over.wait()
                return Outcome(0)
            begun.set()
            try:
                await trio.sleep_forever()
            finally:
                stopped.append(attempt.path)
                over.set()

        nodes = {"a": SHELL, "d": SHELL}
        plan = plan_of({"engine": 1, "nodes": nodes})
        async with open_run(plan, {}, Options(perform=perform)) as run:
            await begun.wait()
            run.cancel("enough", node="a")
            return await run.result()

    assert ends(trio.run(main)) == ["a cancelled", "d succeeded"]
    assert stopped == ["a/a"]


@pytest.mark.parametrize("late", [False, True])
def test_each_of_those_that_follow_each_other_can_be_stopped(late: bool) -> None:
    """One task runs them all; `late`: the cancel comes when the body has done its last."""
    ended: list[str] = []

    async def main() -> Result:
        async def perform(attempt: AttemptState) -> Outcome:
            name = attempt.node.name
            await trio.sleep(0)  # its scope is not that of one that was stopped
            if name in "bc":
                run.cancel("enough", node=name)
                if not late:
                    await trio.sleep_forever()
                with trio.CancelScope(shield=True):
                    await wait_all_tasks_blocked()
            ended.append(name)
            return Outcome(0)

        doc = {"pipeline": {"max_parallel": 1}, "nodes": dict.fromkeys("abcd", SHELL)}
        async with open_run(plan_of({"engine": 1} | doc), {}, Options(perform=perform)) as run:
            return await run.result()

    expected = ["a succeeded", "b cancelled", "c cancelled", "d succeeded"]
    assert ends(trio.run(main)) == expected
    assert ended == (["a", "b", "c", "d"] if late else ["a", "d"])


# -- from another process --------------------------------------------------------------------------

SPEC = """\
engine = 1
[nodes.a]
task = "shell"
with = { argv = ["sleep", "600"] }
[nodes.b]
task = "shell"
with = { argv = ["sh", "-c", "touch there; while test ! -e go; do sleep 0.02; done"] }
[finally.tidy]
task = "pass"
"""


def test_another_process_asks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec, store = tmp_path / "x.toml", str(tmp_path / "runs.db")
    spec.write_text(SPEC)
    code = f"import engine; print(engine.run({str(spec)!r}, store={store!r}, run_id='r1').status)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    while not (tmp_path / "there").exists():
        assert process.poll() is None
        time.sleep(0.01)
    with pytest.raises(InputError, match="there is no node `x`"):
        stored.cancel_node("r1", "x", "why", store=store)
    with pytest.raises(InputError, match="its nodes cannot be cancelled one by one"):
        stored.cancel_node("r1", "tidy", "why", store=store)
    assert cli.main(["cancel", "r1", "--node", "a", "--reason", "why", "--store", store]) == 0
    assert capsys.readouterr().out == "run r1: `a` has been asked to stop\n"
    (tmp_path / "go").touch()
    assert process.communicate(timeout=30)[0] == "cancelled\n"
    with pytest.raises(JournalError, match="no process runs `r1`"):
        stored.cancel_node("r1", "a", "why", store=store)
