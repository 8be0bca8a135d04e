"""`engine run --dry-run`: what would be run, and nothing that is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cli import main

SPEC = """\
engine = 1
[pipeline]
name = "deploy"
[inputs]
city = { type = "string", default = "Oslo" }
[services.net]
task = "shell"
with = { argv = ["touch", "looked"] }
[resources.work]
task = "tempdir"
[nodes.late]
needs = { fetch = "finished" }
when = "inputs.city != ''"
task = "shell"
uses = ["work"]
with = { argv = ["touch", "ran", "${resources.work.path}", "${fetch.stdout ?? ''}"] }
[nodes.fetch]
requires = ["net"]
task = "shell"
with = { argv = ["touch", "to ${inputs.city}"], env = { TOKEN = "${secrets.TOKEN}" } }
[nodes.part]
pipeline = "child"
with = { x = "${inputs.city}" }
[pipelines.child.inputs]
x = { type = "string" }
[pipelines.child.nodes.inner]
task = "collect"
with = { y = "${inputs.x}" }
[finally.tell]
task = "shell"
with = { argv = ["touch", "told"] }
"""


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOKEN", "a-very-secret-word")
    Path("a.toml").write_text(SPEC)
    return "a.toml"


def test_it_shows_what_would_be_run(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--dry-run", spec]) == 0
    assert (
        capsys.readouterr().out
        == """\
deploy would run; nothing has been run
  input city = "Oslo"
  first, check service: net
    $ touch looked
  opened when needed: work
    tempdir
  fetch, requires net
    $ touch 'to Oslo'  env = {"TOKEN": "***"}
  late, after fetch (finished), when inputs.city != '', uses work
    $ touch ran ${resources.work.path} ${fetch.stdout ?? ''}
  part
    pipeline child  x = "Oslo"
      inner
        collect  y = "${inputs.x}"
  at the end: tell
    $ touch told
"""
    )
    assert sorted(path.name for path in Path().iterdir()) == ["a.toml"]


def test_it_is_data_too(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["run", "--dry-run", "--json", spec, "-i", "city=Rome"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [node["name"] for node in found["nodes"]] == ["fetch", "late", "part"]
    assert found["inputs"] == {"city": "Rome"}
    [step] = found["nodes"][0]["steps"]
    assert step["with"] == {"argv": ["touch", "to Rome"], "env": {"TOKEN": "***"}}


def test_what_would_refuse_the_run_is_told(
    spec: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TOKEN")
    assert main.main(["run", "--dry-run", spec, "-i", "city=3", "-i", "town=x"]) == 2
    told = capsys.readouterr().err
    assert "there is no input `town`" in told
    assert "secret `TOKEN`" in told
