"""The schema for editors: what the check says of tasks and their inputs, and real editors' tools."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engine.api import check, default_registry
from engine.cli import main
from engine.sdk.editor_schema import build_editor_schema
from engine.sdk.task import Task
from engine.toml.source import Source
from tests.repo.test_specs import FILES
from tests.support.strategies import cases

FIXTURES = Path(__file__).parents[1] / "fixtures"
RIGHT = [*FILES, *sorted((FIXTURES / "ok").glob("*.toml"))]
REGISTRY = default_registry()
SCHEMA = build_editor_schema(
    found for id in REGISTRY.list_ids() if (found := REGISTRY.find(id, Path())) is not None
)
VALIDATOR = Draft202012Validator(SCHEMA)
OF_INPUTS = {"E502", "E504"}


def by_stem(path: Path) -> str:
    return path.stem


def accepts(text: str) -> bool:
    return VALIDATOR.is_valid(tomli.loads(text))


def node(task: str, given: Any) -> str:
    return tomli_w.dumps({"engine": 1, "nodes": {"a": {"task": task, "with": given}}})


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", RIGHT, ids=by_stem)
def test_right_specs_are_accepted(path: Path) -> None:
    assert accepts(path.read_text())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=50)
@given(cases())
def test_specs_that_run_are_accepted(case: tuple[dict[str, Any], Any, Any]) -> None:
    doc = json.loads(json.dumps(case[0]).replace('"probe"', '"other"'))
    assert VALIDATOR.is_valid(doc)


literals = st.sampled_from([0, -1, 1.5, True, "x", "", "1s", [], ["x"], [1], {}, {"x": "y"}])
expressions = st.sampled_from(["${run.id}", "a ${run.id}", ["${run.id}"], {"x": "${run.id}"}])
keys = st.sampled_from(sorted({"odd", *(
    key
    for task in ("shell", "http", "sleep")
    for key in SCHEMA["$defs"][f"inputs of {task}"]["properties"]
)}))  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["shell", "http", "sleep", "collect", "python:json:dumps"]),
    st.dictionaries(keys, literals | expressions, max_size=3),
)
def test_inputs_are_refused_where_the_check_refuses_them(task: str, given: dict[str, Any]) -> None:
    """An editor may not refuse what the check lets pass; of literals it lets nothing else pass."""
    text = node(task, given)
    found = [each for each in check(Source("a.toml", text)) if each.rule.code[0] == "E"]
    told = {each.rule.code for each in found} & OF_INPUTS or any(
        "has no input" in each.message for each in found
    )
    if not told:
        assert accepts(text)
    elif "${" not in text and not task.startswith("python:"):
        assert not accepts(text)


def test_a_task_that_is_not_known_may_have_any_inputs() -> None:
    assert accepts(node("mine", {"x": 1}))


def test_an_alternative_may_be_an_expression_and_references_stay() -> None:
    async def body(*_: Any) -> None: ...

    given = {
        "type": "object",
        "$defs": {"size": {"type": "integer"}},
        "properties": {"x": {"oneOf": [{"$ref": "#/$defs/size"}, {"enum": ["big"]}]}},
    }
    mine = Task(id="my/own task", body=body, input_schema=given)
    validator = Draft202012Validator(build_editor_schema([mine]))

    def fits(value: Any) -> bool:
        return validator.is_valid(tomli.loads(node("my/own task", {"x": value})))

    assert [fits(value) for value in (1, "big", "${inputs.x}", "small", 1.5)] == [
        *(True, True, True, False, False)
    ]


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == SCHEMA


def test_tasks_of_a_spec_are_known_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(
        "from engine import task\n\n@task(id='mine.greet')\ndef greet(name: str) -> str:\n    return name\n"
    )
    spec = tmp_path / "a.toml"
    spec.write_text('engine = 1\n[pipeline]\ntasks = ["mine"]\n[nodes.a]\ntask = "mine.greet"\n')
    assert main.main(["schema", "--from", str(spec)]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["$defs"]["inputs of mine.greet"]["required"] == ["name"]


# -- the tools of editors ----------------------------------------------------------------------

WRONG = {
    "input of the wrong type": 'task = "shell"\nwith = { argv = "make" }',
    "unknown input": 'task = "shell"\nwith = { argvv = ["make"] }',
    "missing input": 'task = "http"',
    "unknown key": 'task = "sleep"\nwith.seconds = 1\ntimout = "1s"',
}


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"`{name}` is not installed")
    return found


def run_tool(command: list[str], folder: Path, text: str) -> tuple[int, str]:
    (folder / "engine.schema.json").write_text(json.dumps(SCHEMA))
    (folder / "a.toml").write_text(f"#:schema ./engine.schema.json\n{text}")
    done = subprocess.run(
        [*command, "a.toml"], cwd=folder, capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout + done.stderr


TOOLS = (("tombi", ["lint", "--offline"]), ("taplo", ["check"]))


@pytest.mark.parametrize(("name", "options"), TOOLS, ids=["tombi", "taplo"])
def test_tools_of_editors_agree(name: str, options: list[str], tmp_path: Path) -> None:
    command = [tool(name), *options]
    for path in RIGHT:
        status, said = run_tool(command, tmp_path, path.read_text())
        assert status == 0, said
        assert "arning" not in said
    for body in WRONG.values():
        status, said = run_tool(command, tmp_path, f"engine = 1\n[nodes.a]\n{body}\n")
        assert status == 1, said
