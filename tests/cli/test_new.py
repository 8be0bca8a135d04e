"""`engine new`: a project whose checks, tests and run all pass as they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.cli import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    assert main.main(["new", "big-greetings"]) == 0
    return tmp_path / "big-greetings"


def called(project: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", *argv],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_all_of_it_passes(project: Path) -> None:
    for argv in (
        ["engine", "check", "--strict", "specs"],
        ["engine", "fmt", "--check", "specs"],
        ["engine", "run", "specs/big-greetings.toml", "-i", "who=Ada"],
        ["pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"],
    ):
        done = called(project, *argv)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    assert "4 passed" in done.stdout
    names = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert {
        "specs/big-greetings.toml",
        "specs/big_greetings_tasks.py",
        ".github/workflows/check.yml",
    } <= names


def test_nothing_is_written_over(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "README.md").write_text("mine")
    assert main.main(["new", "big-greetings"]) == 2
    assert "already exists" in capsys.readouterr().err
    assert (project / "README.md").read_text() == "mine"


@pytest.mark.parametrize("name", ["Big", "1st", "class", "a b"])
def test_a_name_that_is_none_is_refused(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.main(["new", name]) == 2
    assert "is not a valid project name" in capsys.readouterr().err
    assert [*tmp_path.iterdir()] == []
