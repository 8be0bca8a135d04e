"""Which routes simulations have taken, and which none has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings

from engine.cli import main
from engine.errors import EngineError
from engine.record.result import Result
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from engine.testing.spec_coverage import Coverage, coverage
from tests.support.plans import plan_of
from tests.support.strategies import cases

Doc = dict[str, Any]
LOOP: Doc = {
    "engine": 1,
    "inputs": {"on": {"type": "boolean", "default": True}},
    "nodes": {
        "a": {
            "start": "s",
            "steps": {
                "s": {"task": "shell", "routes": {"0": "t", "1": "fail", "*": {"to": "s", "max": 2}}},
                "t": {"task": "probe"},
            },
        },
        "b": {"task": "shell", "when": "inputs.on", "needs": ["a"]},
        "c": {"pipeline": "child", "needs": {"a": "always"}},
    },
    "pipelines": {"child": {"nodes": {"n": {"task": "shell", "routes": {"3": "done"}}}}},
}  # fmt: skip


def played(doc: Doc, *scripts: Doc, inputs: Doc | None = None) -> Coverage:
    plan = plan_of(doc)
    results = [simulate(plan, parse_script(script, plan), inputs) for script in scripts]
    return coverage(plan, results)


def missed(found: Coverage) -> list[str]:
    return [f"{spot.path}: {spot.description}" for spot in found.missed_points]


def test_what_no_run_has_taken_is_told() -> None:
    found = played(LOOP, {})
    assert missed(found) == [
        "a/s: `1`",
        "a/s: `*`",
        "a/s: `*`, then",
        "b: its `when` is false",
        "child: n: `3`",
    ]
    assert found.fraction == 1 - 5 / len(found.points)


def test_scripts_take_more_together() -> None:
    scripts: list[Doc] = [
        {},
        {"a/s": [{"exit": 1}], "c/c/n/n": [{"exit": 3}]},
        {"a/s": [{"exit": 7}]},
    ]
    assert missed(played(LOOP, *scripts)) == ["b: its `when` is false"]
    assert missed(played(LOOP, {}, inputs={"on": False}))[3:4] == ["b: it starts"]


def test_a_place_is_where_it_is_written() -> None:
    [spot] = [spot for spot in played(LOOP, {}).points if spot.description == "`1`"]
    lines = tomli_w.dumps(LOOP).splitlines()
    assert lines[spot.span.line - 1].startswith("1 = ")


@given(cases())
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)
def test_whatever_a_run_takes_is_known(case: tuple[Doc, Doc, Doc]) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        result: Result = simulate(plan, parse_script(script, plan), inputs)
    except EngineError:  # it hangs for ever
        return
    found = coverage(plan, [result])
    started = {
        node for node, each in result.nodes.items() if each.attempts or each.items is not None
    }
    told = {spot.path for spot in found.points if spot.is_taken and spot.description == "it starts"}
    assert started == {path for path in told if ": " not in path}
    assert 0 <= found.fraction <= 1


# -- the command -----------------------------------------------------------------------------------

SPEC = """\
engine = 1
[inputs]
on = { type = "boolean", default = true }
[nodes.a]
task = "shell"
with = { argv = ["x"] }
when = "inputs.on"
routes = { 3 = "done", "*" = "fail" }
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("a.toml").write_text(SPEC)
    Path("off.toml").write_text("inputs = { on = false }\n")
    Path("three.toml").write_text('"a/a" = [{ exit = 3 }]\n')
    Path("one.json").write_text('{"a/a": [{"exit": 1}]}')
    return "a.toml"


def test_scripts_may_be_toml_and_bring_inputs(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    call = ["simulate", spec, "--script", "off.toml", "--script", "three.toml", "--coverage"]
    assert main.main(call) == 0
    assert capsys.readouterr().out == (
        "off.toml: succeeded\nthree.toml: succeeded\n\ncoverage: 3 of 5 (60 %)\n"
        "a.toml:8:24: not covered in `a`: `*`\na.toml:4:8: not covered in `a`: `success`\n"
    )


def test_too_little_is_status_1(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    call = ["simulate", spec, "--script", "one.json", "--min-coverage", "60", "--json"]
    assert main.main(call) == 1
    data = json.loads(capsys.readouterr().out)
    assert data["coverage"]["share"] == 0.4
    assert data["coverage"]["missed"][0] == {
        "path": "a", "what": "its `when` is false", "file": "a.toml", "line": 7, "column": 1,
    }  # fmt: skip
    assert data["runs"]["one.json"]["status"] == "failed"
    call = ["simulate", spec, "--script", "one.json", "--min-coverage", "40"]
    assert main.main(call) == 0


def test_a_script_that_is_no_toml_is_told_with_its_place(
    spec: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.toml").write_text('"a/a" = [\n')
    assert main.main(["simulate", spec, "--script", "bad.toml"]) == 2
    assert capsys.readouterr().err.startswith("error: bad.toml:")
