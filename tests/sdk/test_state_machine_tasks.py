"""Classes of several steps: as a node, each is the machine that its routes say, and is proved like any other."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar

import pytest
import tomli_w

import engine
from engine import Context, Exit, stored, task
from engine.analysis.bounds import compute_bounds
from engine.sdk.registry import TaskError
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from engine.testing.task_runs import run_task
from engine.toml.source import Source

Doc = dict[str, Any]
Routes = dict[str, dict[Any, Any]]


class Ending(IntEnum):
    DONE = 0
    AGAIN = 3
    SPOILT = 4


@task
class Letter:
    """A letter, written until it is good."""

    id = "acme.letter"
    start = "write"
    exits = Ending
    max_attempts = 3
    inputs: ClassVar[Doc] = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "marks": {"type": "integer"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    routes: ClassVar[Routes] = {
        "write": {Ending.DONE: ("review", False), "error": ("write", True)},
        "review": {Ending.DONE: None, Ending.AGAIN: ("write", True), Ending.SPOILT: (None, True)},
    }

    async def execute_write(self, inputs: Doc, context: Context) -> Doc:
        """Write it."""
        if context.visit == 1 and context.attempt == 1 and inputs["text"] == "broken":
            raise OSError("the pen is broken")
        return {"text": inputs["text"] + "!" * context.visit}

    async def execute_review(self, inputs: Doc, context: Context) -> Any:
        text = context.steps["write"]["text"]
        if "spoilt" in text:
            return Ending.SPOILT
        good = text.count("!") >= inputs.get("marks", 2)
        return (Ending.DONE if good else Ending.AGAIN), {"text": text}


def source(doc: Doc) -> Source:
    return Source("x.toml", tomli_w.dumps({"engine": 1} | doc))


def letter(text: str = "hi", with_: Doc | None = None, **more: Any) -> Source:
    node = {"task": "acme.letter", "with": {"text": text} | (with_ or {})} | more
    return source({"nodes": {"l": node}, "outputs": {"t": "${l.text ?? 'none'}"}})


def ran(spec: Source, cls: Any = Letter) -> Any:
    return engine.run(spec, tasks=[cls])


def found(spec: Source, cls: Any = Letter) -> list[str]:
    return [f"{d.rule.code} {d.message}" for d in engine.check(spec, tasks=[cls])]


def way(result: Any) -> str:
    return " ".join(f"{a.step}{a.outcome}" for a in result.nodes["l"].attempts)


# -- what it does ----------------------------------------------------------------------------------


def test_steps_follow_each_other_as_the_routes_say() -> None:
    result = ran(letter())
    assert (result.status, result.outputs) == ("succeeded", {"t": "hi!!"})
    assert way(result) == "write0 review3 write0 review0"
    assert found(letter()) == []


def test_a_retry_by_way_of_another_step_is_bounded() -> None:
    result = ran(letter(with_={"marks": 9}))
    assert result.status == "failed"
    assert way(result) == "write0 review3 write0 review3 write0 review3"


def test_a_retry_of_the_step_itself_is_a_retry() -> None:
    result = ran(letter("broken"))
    assert [a.outcome for a in result.nodes["l"].attempts][:2] == ["error", 0]
    assert result.outputs == {"t": "broken!!"}


def test_a_retry_that_leads_nowhere_is_a_failure() -> None:
    result = ran(letter("spoilt"))
    assert (result.status, way(result)) == ("failed", "write0 review4")


def test_the_node_may_say_otherwise() -> None:
    assert ran(letter(with_={"marks": 9}, routes={"again": "done:enough"})).status == "succeeded"


def test_its_worst_case_is_proved() -> None:
    plan = engine.load_plan(letter(), tasks=[Letter])
    worst = compute_bounds(plan)
    assert worst is not None
    assert worst.nodes[0].whole.attempts == 12  # three times: three attempts to write, and a review


def test_it_is_rehearsed_step_by_step() -> None:
    plan = engine.load_plan(letter(), tasks=[Letter])
    result = simulate(plan, parse_script({"l/review": [{"exit": 4}]}, plan))
    assert (result.status, way(result)) == ("failed", "write0 review4")


def test_a_table_of_exits_and_an_exit_with_an_output() -> None:
    @task
    class Small:
        id = "small"
        start = "a"
        exits: ClassVar[dict[str, int]] = {"odd": 7}
        routes: ClassVar[Routes] = {"a": {"odd": ("b", False), 0: None}, "b": {0: None}}

        async def execute_a(self, inputs: Doc) -> Exit:
            return Exit("odd", {"n": 7})

        async def execute_b(self, inputs: Doc, context: Context) -> int:
            return int(context.steps["a"]["n"]) + 1

    result = ran(source({"nodes": {"l": {"task": "small"}}}), Small)
    assert (way(result), result.nodes["l"].output) == ("a7 b0", 8)


def test_it_is_run_again_from_its_start(tmp_path: Path) -> None:
    where = str(tmp_path / "runs.db")
    (tmp_path / "post.py").write_text(MODULE)
    path = tmp_path / "x.toml"
    path.write_text('engine = 1\n[nodes.l]\ntask = "python:post:Post"\n')
    result = engine.run(str(path), store=where, run_id="r1")
    assert (result.status, way(result)) == ("failed", "a0 b5")
    (tmp_path / "well").touch()
    again = stored.resume("r1", store=where, start="l")
    assert (again.status, way(again)) == ("succeeded", "a0 b0")


MODULE = """
from pathlib import Path

class Post:
    start = "a"
    exits = {"ill": 5}
    routes = {"a": {0: ("b", False)}, "b": {0: None, "ill": (None, False)}}

    async def execute_a(self, inputs):
        return {"n": 1}

    async def execute_b(self, inputs, context):
        from engine import Exit
        assert context.steps["a"] == {"n": 1}
        return Exit(0 if Path(context.folder, "well").exists() else "ill")
"""


def test_many_alike_in_one_document_are_each_the_machine() -> None:
    nodes = {
        name: {"task": "acme.letter", "with": {"text": name}} for name in ("ann", "bob", "cid")
    }
    result = ran(source({"nodes": nodes}))
    assert {name: node.output["text"] for name, node in result.nodes.items()} == {
        name: f"{name}!!" for name in nodes
    }


# -- what is found ---------------------------------------------------------------------------------


def made(**members: Any) -> Callable[[], Any]:
    async def step(self: Any, inputs: Doc) -> int:
        return 0

    usual: Doc = {"id": "m", "start": "a", "exits": Ending, "execute_a": step, "execute_b": step}
    return lambda: task(type("Made", (), usual | members))


def test_a_loop_that_is_no_retry_is_found() -> None:
    cls = made(routes={"a": {0: ("b", False)}, "b": {3: ("a", False), 0: None}})()
    spec = source({"nodes": {"l": {"task": "m"}}})
    [loop] = [each for each in engine.check(spec, tasks=[cls]) if each.rule.code[0] == "E"]
    assert loop.rule.code == "E301"
    assert loop.message == "b → a → b can repeat for ever, by `again`, then `done`"
    assert "max_attempts" in (loop.help or "")
    assert loop.fix is None


def test_a_step_that_is_never_reached_is_found() -> None:
    cls = made(routes={"a": {0: None}, "b": {0: None}})()
    told = found(source({"nodes": {"l": {"task": "m"}}}), cls)
    assert any(each.startswith("E302") for each in told)


def test_mistakes_in_its_inputs_are_told_once_where_they_are_written() -> None:
    spec = letter(with_={"makrs": 1})
    [mistake] = engine.check(spec, tasks=[Letter])
    assert (mistake.rule.code, mistake.message) == (
        "E201",
        "task `acme.letter` has no input `makrs`",
    )
    assert spec.text_of(mistake.span) == "makrs"
    assert mistake.fix is not None


@pytest.mark.parametrize("table", ["nodes.l.steps.s", "services.s", "resources.s"])
def test_it_stands_for_a_whole_node_alone(table: str) -> None:
    text = f'engine = 1\n[{table}]\ntask = "acme.letter"\nwith = {{ text = "x" }}\n'
    more = {"nodes.l.steps.s": '[nodes.l]\nstart = "s"\n'}
    text += more.get(table, '[nodes.a]\ntask = "pass"\n')
    told = found(Source("x.toml", text))
    assert "E103 `acme.letter` has several steps and cannot be used as one step" in told


def test_the_hash_of_a_plan_tells_of_other_routes() -> None:
    spec = source({"nodes": {"l": {"task": "m"}}})
    one = made(routes={"a": {0: ("b", False)}, "b": {0: None}})()
    two = made(routes={"a": {0: ("b", False)}, "b": {0: None, 3: ("b", True)}}, max_attempts=2)()
    hashes = {engine.load_plan(spec, tasks=[each]).hash for each in (one, two)}
    assert len(hashes) == 2


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"routes": {}}, "must be a mapping of steps"),
        ({"routes": {"c": {0: None}}, "start": "c"}, "step `c` of task `m` has no method"),
        ({"routes": {"a": {0: None}}, "start": "b"}, "starts with `b`"),
        ({"routes": {"a": {0: ("x", False)}}}, "leads to `x`, which is not a step"),
        ({"routes": {"a": {"late": None}}}, "`late` in the routes of step `a`"),
        ({"routes": {"a": {0: ("a", 3)}}}, "must be `(step, retry)`"),
        ({"routes": {"a": 3}}, "must be a mapping of exits to steps"),
        ({"routes": {"a": {0: None}}, "max_attempts": 0}, "must be a number from 1 to 1000"),
        ({"routes": {"a": {0: None}}, "exits": {"x": 900}}, "x"),
    ],
)
def test_what_does_not_fit_together_is_refused(members: Doc, told: str) -> None:
    with pytest.raises(TaskError) as refused:
        made(**members)()
    assert told in str(refused.value)


def test_one_is_tried_as_any_task() -> None:
    done = run_task(Letter, {"text": "hi"})
    assert (done.code, done.output) == (0, {"text": "hi!!"})


def test_its_steps_are_no_tasks_of_other_nodes() -> None:
    spec = source({"nodes": {"l": {"task": "acme.letter/write", "with": {"text": "hi"}}}})
    assert found(spec) == ["E201 there is no task `acme.letter/write`"]
