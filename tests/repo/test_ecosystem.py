"""The files by which others use the check: pre-commit's hooks and the GitHub Action."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from engine.cli import main
from tests.cli.test_main import BROKEN, SOUND, environment

ROOT = Path(__file__).parents[2]


def step(name: str) -> str:
    """The script of a step of the action."""
    text = (ROOT / "action.yml").read_text(encoding="utf-8")
    block = text.partition(f"- name: {name}\n")[2].partition("      run: |\n")[2]
    return textwrap.dedent(re.split(r"^    - ", block, flags=re.MULTILINE)[0])


@pytest.fixture
def runner(tmp_path: Path) -> Path:
    """A runner's folder in which the engine is installed, and a repository with specs."""
    bin = tmp_path / "temp" / "engine" / "bin"
    bin.mkdir(parents=True)
    (bin / "engine").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m engine "$@"\n')
    (bin / "engine").chmod(0o755)
    (tmp_path / "a b.toml").write_text(BROKEN)
    (tmp_path / "c.toml").write_text(SOUND + "# engine: ignore\n")
    return tmp_path


def check(runner: Path, paths: str, options: str = "") -> tuple[int, list[str]]:
    """Run the step as the runner does: status and what it prints."""
    variables = {"ENGINE_PATHS": paths, "ENGINE_OPTIONS": options}
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step("Check")],
        cwd=runner,
        env=environment(RUNNER_TEMP=str(runner / "temp"), **variables),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_action_annotates_what_is_wrong(runner: Path) -> None:
    status, lines = check(runner, "a b.toml\nc.toml\n")
    assert status == 1
    assert [line.split("::")[1] for line in lines] == [
        "error file=a b.toml,line=3,col=8,endColumn=14,endLine=3,title=E201 unknown-name",
        "warning file=c.toml,line=5,col=1,endColumn=17,endLine=5,title=W702 unused-ignore",
    ]
    assert check(runner, ".")[0] == 1


def test_the_action_passes_options_on(runner: Path) -> None:
    assert check(runner, "c.toml")[0] == 0
    assert check(runner, "c.toml", "--strict")[0] == 1
    assert check(runner, "c.toml", "--strict\n--ignore=W702\n") == (0, [])


def test_every_hook_is_a_command() -> None:
    text = (ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    entries = re.findall(r"^  entry: engine (\w+)$", text, re.MULTILINE)
    assert entries == ["check", "fmt"]
    assert set(entries) <= set(main.COMMANDS)
    assert re.findall(r"^- id: (.*)$", text, re.MULTILINE) == ["engine-check", "engine-fmt"]
