"""People: who is asked, who answers, and what a run does in between."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import tomli_w

import engine
from engine import InputError, stored
from engine.errors import JournalError
from engine.journal.store import Store
from engine.record.events import Event
from engine.record.questions import Answer, Question, find_open_questions, find_question
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from engine.toml.source import Source


def asks(*options: str, **keys: Any) -> dict[str, Any]:
    with_ = {"prompt": "Publish?", "options": list(options), **keys.pop("with", {})}
    return {"task": "human", "with": with_, **keys}


def sh(script: str, *more: str, **keys: Any) -> dict[str, Any]:
    return {"task": "shell", "with": {"argv": ["sh", "-c", script, *more]}, **keys}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., str]:
    def write(**doc: Any) -> str:
        path = tmp_path / "p.toml"
        path.write_text(tomli_w.dumps({"engine": 1, **doc}))
        return str(path)

    return write


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "runs.db")


def says(option: str, feedback: str | None = None) -> Any:
    """A person who always says the same, and the questions they were asked."""
    asked: list[Question] = []

    async def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(option, feedback)

    return ask, asked


REVIEW = {
    "start": "draft",
    "steps": {
        "draft": sh("echo draft >> log; echo text", routes={"success": "review"}),
        "review": asks(
            *("approve", "revise", "reject"),
            **{"with": {"show": "${steps.draft.stdout}", "feedback": True}},
            routes={"approve": "done", "revise": {"to": "draft", "max": 3}, "reject": "fail:no"},
        ),
    },
}


# -- asked at once ----------------------------------------------------------------------------------


def test_the_option_is_the_exit_and_the_answer_the_output(write: Callable[..., str]) -> None:
    ask, asked = says("reject", "too long")
    result = engine.run(write(nodes={"review": REVIEW}), ask=ask)
    found = result.nodes["review"]
    assert (found.result, found.label) == ("failed", "no")
    assert found.output == {"option": "reject", "feedback": "too long"}
    (question,) = asked
    assert (question.path, question.options) == ("review/review", ("approve", "revise", "reject"))
    assert (question.prompt, question.show, question.feedback) == ("Publish?", "text", True)


def test_it_asks_again_on_each_visit(write: Callable[..., str], tmp_path: Path) -> None:
    ask, asked = says("revise")
    result = engine.run(write(nodes={"review": REVIEW}), ask=ask)
    assert (result.nodes["review"].reason.kind, len(asked)) == ("exhausted", 4)
    assert (tmp_path / "log").read_text().count("draft") == 4


def test_the_first_option_is_success(write: Callable[..., str]) -> None:
    path = write(nodes={"a": asks("yes", "no")})
    assert engine.run(path, ask=says("yes")[0]).status == "succeeded"
    result = engine.run(path, ask=says("no")[0])
    assert (result.nodes["a"].reason.kind, result.nodes["a"].label) == ("unrouted", "no")


def test_no_answer_never_counts_as_one(write: Callable[..., str]) -> None:
    async def silent(question: Question) -> Answer:
        raise EOFError("gone")

    path = write(nodes={"a": asks("yes", "no")})
    for ask, message in (
        (silent, "no answer was given: gone"),
        (
            says("maybe")[0],
            "no answer was given: `a/a` has no option `maybe`, choose one of `yes`, `no`",
        ),
        (None, "the question cannot be asked: there is no terminal, and the run is not stored"),
    ):
        (attempt,) = engine.run(path, ask=ask).nodes["a"].attempts
        assert (attempt.outcome, attempt.error) == ("error", message)


def test_who_waits_holds_no_place(write: Callable[..., str], tmp_path: Path) -> None:
    """The other node runs, though the question came first and there is one place."""

    async def ask(question: Question) -> Answer:
        import trio

        while not (tmp_path / "other").exists():
            await trio.sleep(0.01)
        return Answer("yes")

    nodes = {"a": asks("yes", "no", pool="p"), "b": sh("touch other", pool="p")}
    path = write(pipeline={"max_parallel": 1}, pools={"p": 1}, nodes=nodes)
    assert engine.run(path, ask=ask).status == "succeeded"


# -- waiting ----------------------------------------------------------------------------------------


def test_a_run_that_only_waits_ends_and_goes_on_with_the_answer(
    write: Callable[..., str], store: str, tmp_path: Path
) -> None:
    path = write(nodes={"review": REVIEW, "other": sh("sleep 0.2; echo other >> log")})
    result = engine.run(path, store=store, run_id="r1")
    assert (result.status, result.message) == ("waiting", "for an answer to `review/review`")
    assert {name: node.result for name, node in result.nodes.items()} == {
        "review": "running",
        "other": "succeeded",
    }
    (kept,) = stored.runs(store)
    assert (kept.status, kept.holder) == ("waiting", None)
    again = stored.resume("r1", store=store)
    assert again.status == "waiting"
    again = stored.resume("r1", store=store, answers={"review": Answer("revise", "shorter")})
    assert again.status == "waiting"
    result = stored.resume("r1", store=store, answers={"review/review": Answer("approve")})
    assert result.status == "succeeded"
    assert sorted((tmp_path / "log").read_text().split()) == ["draft", "draft", "other"]
    assert [each.outcome for each in result.nodes["review"].attempts] == [0, 1, 0, 0]


def test_an_answer_that_nothing_asks_for_is_refused(write: Callable[..., str], store: str) -> None:
    nodes = {"a": asks("yes", "no"), "b": {"start": "x", "steps": {"x": asks("yes", "no")}}}
    engine.run(write(nodes=nodes), store=store, run_id="r1")
    with pytest.raises(InputError) as caught:
        stored.resume("r1", store=store, answers={"a": Answer("yess"), "c": Answer("yes")})
    assert caught.value.problems == (
        "`a/a` has no option `yess`, did you mean `yes`?",
        "`c`: no question is open there; open: `a/a`, `b/x`",
    )
    with pytest.raises(
        InputError, match="no question is open there, nor anywhere else in this run"
    ):
        find_question([], "a")
    assert not stored.answer("r1", "b", Answer("no"), store=store)
    result = stored.resume("r1", store=store, answers={"a": Answer("yes"), "b": Answer("yes")})
    assert result.status == "succeeded"


def test_time_goes_on_while_a_run_waits(write: Callable[..., str], store: str) -> None:
    nodes = {"a": asks("yes", "no", timeout="1h", routes={"timeout": "done:late"})}
    engine.run(write(nodes=nodes), store=store, run_id="r1")
    assert stored.resume("r1", store=store).status == "waiting"
    later = time.time() + 3601
    with mock.patch.object(time, "time", return_value=later):
        result = stored.resume("r1", store=store)
    assert (result.nodes["a"].label, result.nodes["a"].attempts[0].outcome) == ("late", "timeout")


def test_a_run_waits_inside_a_sub_pipeline(write: Callable[..., str], store: str) -> None:
    child = {"nodes": {"q": asks("yes", "no")}, "outputs": {"said": "${q.option}"}}
    path = write(
        nodes={"a": {"pipeline": "c"}, "b": sh("true")},
        pipelines={"c": child},
        outputs={"said": "${a.said}"},
    )
    result = engine.run(path, store=store, run_id="r1")
    assert (result.status, result.message) == ("waiting", "for an answer to `a/a/q/q`")
    result = stored.resume("r1", store=store, answers={"a/a/q": Answer("yes")})
    assert (result.status, result.outputs) == ("succeeded", {"said": "yes"})


def test_a_retry_is_waited_for_first(write: Callable[..., str], store: str, tmp_path: Path) -> None:
    nodes = {
        "a": asks("yes", "no"),
        "b": sh("test -e once || { touch once; exit 1; }", retry={"attempts": 2, "delay": "300ms"}),
    }
    result = engine.run(write(nodes=nodes), store=store)
    assert (result.status, result.nodes["b"].result) == ("waiting", "succeeded")


def test_a_waiting_run_can_be_cancelled(write: Callable[..., str], store: str) -> None:
    nodes = {"a": asks("yes", "no", **{"with": {"show": "${secrets.TOKEN}"}}), "b": sh("sleep 0.1")}
    engine.run(write(nodes=nodes), store=store, run_id="r1", secrets={"TOKEN": "hunter2hunter2"})
    result = stored.cancel("r1", "enough", store=store)
    assert result is not None
    assert (result.status, result.message) == ("cancelled", "enough")
    assert (result.nodes["a"].result, result.nodes["b"].result) == ("cancelled", "succeeded")
    with pytest.raises(JournalError, match="has ended: cancelled"):
        stored.cancel("r1", "enough", store=store)


def test_a_run_in_another_process_takes_the_answer(
    write: Callable[..., str], store: str, tmp_path: Path
) -> None:
    nodes = {"a": asks("yes", "no"), "b": sh("while test ! -e go; do sleep 0.02; done")}
    path = write(nodes=nodes)
    told: list[bool] = []

    def answer(event: Event) -> None:
        if event.kind == "person_asked":
            threading.Thread(target=late).start()
        elif event.path == "a" and event.kind == "node_settled":
            (tmp_path / "go").touch()

    def late() -> None:
        while not any(e.kind == "person_asked" for e in _events()):
            time.sleep(0.02)
        told.append(stored.answer("r1", "a", Answer("yes"), store=store))

    def _events() -> list[Event]:
        with Store(store) as opened:
            return opened.read_events("r1")

    result = engine.run(path, store=store, run_id="r1", on_event=answer)
    assert (result.status, told) == ("succeeded", [True])


def test_an_answer_is_for_the_question_that_was_asked_and_for_no_later_one(
    write: Callable[..., str], store: str, tmp_path: Path
) -> None:
    """It came while the run was in a process; when that was gone the step asked once more."""
    nodes = {"review": REVIEW, "b": sh("while test ! -e go; do sleep 0.02; done")}
    asked: list[Event] = []

    def answer(event: Event) -> None:
        if event.kind == "person_asked":
            asked.append(event)
            if len(asked) == 1:
                threading.Thread(target=late).start()
            else:
                (tmp_path / "go").touch()

    def late() -> None:
        while not find_open_questions(_kept()):
            time.sleep(0.02)
        stored.answer("r1", "review", Answer("revise"), store=store)

    def _kept() -> list[Event]:
        with Store(store) as opened:
            return opened.read_events("r1")

    path = write(nodes=nodes)
    first = engine.run(path, store=store, run_id="r1", on_event=answer)
    assert (first.status, len(first.nodes["review"].attempts)) == ("waiting", 4), first
    again = stored.resume("r1", store=store)
    assert (again.status, len(again.nodes["review"].attempts)) == ("waiting", 4)
    with Store(store) as opened:
        assert [kind for _, kind, _ in opened.pending_requests("r1")] == ["answer"]
        (request,) = opened.pending_requests("r1")
    assert request[2]["key"] == "review/review/1.1"


def test_a_run_of_a_key_that_waits_is_given_as_it_is(write: Callable[..., str], store: str) -> None:
    path = write(nodes={"a": asks("yes", "no")})
    one = engine.run(path, store=store, key="k")
    two = engine.run(path, store=store, key="k")
    assert (one.id, one.status, one.message) == (two.id, two.status, two.message)


# -- the terminal -----------------------------------------------------------------------------------


def test_a_person_at_a_terminal_is_asked(write: Callable[..., str], tmp_path: Path) -> None:
    path = write(nodes={"review": REVIEW})
    master, slave = pty.openpty()
    env = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm", "NO_COLOR": "1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "engine", "run", path],
        stdin=slave,
        stderr=slave,
        stdout=subprocess.PIPE,
        env=env,
        text=True,
    )
    os.close(slave)
    shown = ""
    for until, said in (("\n> ", "aprove\n"), ("> ", "approve\n"), ("feedback: ", "fine\n")):
        seen = len(shown)
        while until not in shown[seen:]:
            shown += os.read(master, 4096).decode()
        os.write(master, said.encode())
    out, _ = process.communicate(timeout=60)
    os.close(master)
    assert process.returncode == 0
    assert "review asks: Publish?\r\n  text\r\noptions: approve, revise, reject\r\n> " in shown
    assert "`aprove` is not an option, did you mean `approve`?" in shown
    assert "exit 0 `approve` of `review`" in out


# -- the check --------------------------------------------------------------------------------------


def found(**node: Any) -> list[str]:
    reads = {"task": "collect", "with": {"o": "${inputs.o}"}}
    doc = {"engine": 1, "inputs": {"o": {"type": "array"}}, "nodes": {"a": node, "b": reads}}
    text = tomli_w.dumps(doc)
    return [f"{each.rule.code} {each.message}" for each in engine.check(Source("p.toml", text))]


def test_options_are_exits_and_are_checked_as_such() -> None:
    assert found(**asks("yes", "no")) == []
    assert found(**asks("yes", "no"), routes={"no": "done", "nope": "fail"}) == [
        "E203 this step has no `nope`"
    ]
    assert found(**asks("yes", "error")) == [
        "E104 each option names an exit: `error` is the name of a built-in outcome"
    ]
    assert found(task="human", **{"with": {"prompt": "p", "options": "${inputs.o}"}}) == [
        "E103 the options of `human` must be literal: they are its exits"
    ]
    assert found(task="human", **{"with": {"prompt": "p"}}) == [
        "E504 task `human` needs input `options`"
    ]


def test_a_person_can_be_scripted(write: Callable[..., str]) -> None:
    plan = engine.load_plan(write(nodes={"review": REVIEW}))
    draft = [{"output": {"stdout": "x", "stderr": "", "status": 0}}]
    script = parse_script(
        {"review/review": [{"exit": 1}, {"exit": 2}], "review/draft": draft}, plan
    )
    result = simulate(plan, script)
    assert [a.outcome for a in result.nodes["review"].attempts] == [0, 1, 0, 2]


def test_nodes_that_differ_in_their_options_alone_have_their_own_exits() -> None:
    nodes = {
        "a": asks("yes", "no", routes={"no": "done"}),
        "b": asks("yes", "nay", routes={"no": "done"}),
    }
    text = tomli_w.dumps({"engine": 1, "nodes": nodes})
    assert [each.message for each in engine.check(Source("p.toml", text))] == [
        "this step has no `no`"
    ]
