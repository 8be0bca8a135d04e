"""The commands about stored runs, as a user calls them."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli.main import main

FAN_OUT = """\
engine = 1
[nodes.fan]
for_each = ["a", "b"]
task = "shell"
with = { argv = ["echo", "hi ${item}"] }
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    """The beginning of the id of a stored run of `FAN_OUT`, in a store that the settings name."""
    monkeypatch.chdir(tmp_path)
    Path("pyproject.toml").write_text('[tool.engine]\nstore = "runs.db"\n')
    Path("fan.toml").write_text(FAN_OUT)
    assert main(["run", "fan.toml"]) == 0
    started = capsys.readouterr().err.splitlines()[0]
    return started.rpartition(" ")[2][:8]


@pytest.mark.parametrize(
    "node, lines",
    [
        ([], ["hi a", "hi b"]),
        (["fan"], ["hi a", "hi b"]),
        (["fan[1]"], ["hi b"]),
    ],
)
def test_logs_of_a_fan_out(
    node: list[str], lines: list[str], run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", run, *node]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert sorted(line.split("  ")[-1] for line in printed) == lines


@pytest.mark.parametrize("command", ["logs", "why"])
def test_a_node_that_the_run_does_not_have(
    command: str, run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, run, "fam"]) == 2
    assert "has no node `fam`, did you mean `fan`?" in capsys.readouterr().err


def test_an_empty_id_is_not_a_beginning_of_all(
    run: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["show", ""]) == 2
    assert capsys.readouterr().err.startswith("error: there is no run ``")


def test_an_empty_store_is_refused(run: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs", "--store", ""]) == 2
    assert "expected a path or a URL" in capsys.readouterr().err
