"""What a simulation makes of names that are not set: placeholders where a run would be refused, else nothing."""

from __future__ import annotations

from typing import Any

import pytest
import tomli_w

from engine.errors import InputError
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.support.plans import plan_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env.NOT_SET_X}", "<NOT_SET_X>"),
        ("${env.NOT_SET_X ?? 'none'}", "none"),
        ("${has(env.NOT_SET_X)}", False),
        ("${env.SET_X ?? 'none'}", "here"),
        ("${env.SET_X}", "here"),
        ("${secrets.NOT_SET_X}", "<NOT_SET_X>"),
        ("${secrets.NOT_SET_X ?? 'none'}", "none"),
        ("${has(secrets.NOT_SET_X)}", False),
    ],
)
def test_only_what_must_be_set_has_a_placeholder(
    monkeypatch: pytest.MonkeyPatch, text: str, value: object
) -> None:
    monkeypatch.delenv("NOT_SET_X", raising=False)
    monkeypatch.setenv("SET_X", "here")
    plan = plan_of({"engine": 1, "nodes": {"a": {"task": "shell"}}, "outputs": {"x": text}})
    hidden = text.startswith("${secrets") and value != "none"
    assert simulate(plan).outputs["x"] == ("***" if hidden else value)


def problems_of(doc: dict[str, Any], script: object) -> str:
    from engine.api import load_plan
    from engine.toml.source import Source

    plan = load_plan(Source("case.toml", tomli_w.dumps(doc)))
    with pytest.raises(InputError) as caught:
        parse_script(script, plan)
    return str(caught.value)


NAP = {"task": "sleep", "with": {"seconds": 1}}


def test_a_node_and_a_sub_pipeline_are_told_apart() -> None:
    inner = {"pipelines": {"p": {"nodes": {"b": NAP}}}}
    doc = {"engine": 1, "nodes": {"a": NAP, "c": {"pipeline": "p"}}, **inner}
    assert "`a` is a node: script its steps, such as `a/a`" in problems_of(doc, {"a": []})
    assert "`c/c` is a sub-pipeline" in problems_of(doc, {"c/c": []})


def test_a_task_that_never_asks_for_a_wait_is_not_scripted_to() -> None:
    script = {"a/a": [{"outcome": "error", "retry_after": 200}]}
    assert "`sleep` does not support `retry_after`" in problems_of(
        {"engine": 1, "nodes": {"a": NAP}}, script
    )


def test_only_what_says_so_can_be_interrupted() -> None:
    step = {"task": "probe", "routes": {"interrupted": "done:x"}}
    script = {"a/a": [{"outcome": "interrupted"}]}
    with pytest.raises(InputError, match='`a/a` does not set `on_interrupt = "route"`'):
        parse_script(script, plan_of({"engine": 1, "nodes": {"a": step}}))
    plan = plan_of({"engine": 1, "nodes": {"a": {**step, "on_interrupt": "route"}}})
    assert simulate(plan, parse_script(script, plan)).nodes["a"].label == "x"


def test_an_item_of_a_fan_out_can_be_interrupted() -> None:
    step = {"task": "probe", "for_each": "${inputs.each}", "on_interrupt": "route", "tolerate": 1}
    inputs = {"each": {"type": "array", "default": [1, 2]}}
    plan = plan_of({"engine": 1, "inputs": inputs, "nodes": {"a": step}})
    script = {"a[1]/a": [{"outcome": "interrupted"}]}
    assert simulate(plan, parse_script(script, plan)).nodes["a"].result == "succeeded"
