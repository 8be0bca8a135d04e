"""Pin the promises that a clean-up of the code must not break: hashes of specs, `--help`, public names.

`python -m tests.repo.test_pins` writes the fixtures anew, for a change that is meant to change them.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from pathlib import Path

import pytest

import engine
from engine.cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
PINS = ROOT / "tests" / "fixtures" / "pins"
SPECS = (
    *("api_call", "bisect", "coding_workflow", "data_processing", "fan_out", "file_job", "limits"),
    *("multi_step", "nightly", "quickstart", "review_and_publish", "sub_pipeline", "task_tree"),
)
PARTS = """\
engine = 1

[pools]
db = 2

[state]
seen = { type = "integer", initial = 0 }

[services.api]
task = "http"
with = { url = "http://127.0.0.1:9/health" }
retry = { attempts = 2 }

[resources.scratch]
task = "tempdir"

[nodes.load]
task = "shell"
uses = ["scratch"]
requires = ["api"]
pool = "db"
with = { argv = ["echo", "${resources.scratch.path}"] }
set = { seen = 1 }

[nodes.each]
task = "shell"
for_each = ["a", "b"]
tolerate = "50%"
with = { argv = ["echo", "${item}", "${load.stdout}"] }

[finally.report]
task = "shell"
with = { argv = ["echo", "seen: ${state.seen}"] }
"""
"""A spec with `[finally]`, services, resources, state, pools and a fan-out."""
PUBLIC = {
    "engine": (
        *("check", "analyse", "load_plan", "run", "default_registry", "task", "Context", "Exit"),
        *("Permanent", "RetryAfter", "Plan", "Registry", "Task", "TaskError", "Result"),
        *("NodeResult", "ItemResult", "Event", "Diagnostic", "Diagnostics", "EngineError"),
        *("SpecError", "InputError", "JournalError", "Source", "Hook", "HookContext", "dump"),
    ),
    "engine.runtime": ("run", "start", "Run", "Options"),
    "engine.stored": (
        *("runs", "resume", "rerun", "cancel", "cancel_node", "answer", "Answer", "Question"),
    ),
    "engine.testing": ("simulate", "parse_script", "run_task", "coverage"),
    "engine.sinks": ("JsonLines", "Webhook"),
}


def _hashes() -> dict[str, str]:
    plans = {name: engine.load_plan(ROOT / "specs" / f"{name}.toml") for name in SPECS}
    parts = engine.load_plan(engine.Source("parts.toml", PARTS))
    return {name: plan.hash for name, plan in (plans | {"parts": parts}).items()}


def _help(*command: str) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        assert main([*command, "--help"]) == 0
    return text.getvalue()


def test_the_hashes_of_specs_stay() -> None:
    assert _hashes() == json.loads((PINS / "hashes.json").read_text())


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="argparse lays options out otherwise")
@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_help_of_commands_stays(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    shown = (PINS / "help" / f"{command or 'engine'}.txt").read_text()
    assert _help(*command.split()) == shown


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_are_there(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in PUBLIC[module] if not hasattr(found, name)] == []


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    (PINS / "hashes.json").write_text(json.dumps(_hashes(), indent=1) + "\n")
    for each in ("", *COMMANDS):
        (PINS / "help" / f"{each or 'engine'}.txt").write_text(_help(*each.split()))
