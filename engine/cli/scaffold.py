"""Create a new project: a spec, a task, tests of both, and a CI workflow that checks them.

The project passes its own tests and checks as it is.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator
from pathlib import Path

from engine.errors import EngineError

__all__ = ["create_project"]

SPEC = """\
# Greet somebody, politely.
#
#   engine check specs/NAME.toml
#   engine run specs/NAME.toml -i who=Ada
engine = 1

[pipeline]
description = "A greeting that has been reviewed"
tasks = ["MODULE_tasks"]

[inputs]
who = { type = "string", default = "world", minLength = 1 }

[nodes.greeting]
start = "write"
outputs = { text = "${steps.write.text}" }

[nodes.greeting.steps.write]
task = "MODULE.greet"
with = { who = "${inputs.who}", polite = "${has(steps.review.matched)}" }
routes = { success = "review" }

[nodes.greeting.steps.review]
task = "match"
with = { text = "${steps.write.text}", patterns = [{ starts = "Dear", exit = "polite" }, { starts = "Hey", exit = "rude" }] }
routes = { polite = "done", rude = { to = "write", max = 1 }, no_match = "fail" }

[nodes.say]
task = "shell"
with = { argv = ["echo", "${greeting.text}"] }

[outputs]
said = "${say.stdout}"
"""

TASKS = '''\
"""The tasks of this project."""

from typing import TypedDict

from engine import task


class Greeting(TypedDict):
    """A greeting."""

    text: str


@task(id="MODULE.greet")
def greet(who: str, polite: bool = False) -> Greeting:
    """Greet somebody."""
    return {"text": f"Dear {who}," if polite else f"Hey {who}!"}
'''

TESTS = '''\
"""The task and the spec of this project."""

from pathlib import Path

import engine
from MODULE_tasks import greet

SPEC = Path(__file__).parents[1] / "specs" / "NAME.toml"


def test_the_task(engine_task):
    assert engine_task(greet, {"who": "Ada"}).output == {"text": "Hey Ada!"}


def test_the_spec_is_sound():
    assert not engine.check(SPEC)


def test_a_rude_greeting_is_written_again(engine_simulate):
    script = {
        "greeting/write": [{"output": {"text": "a greeting"}}],
        "greeting/review": [{"exit": 1, "output": {"matched": "Hey"}}, {"exit": 0}],
    }
    result = engine_simulate(SPEC, script)
    assert [attempt.step for attempt in result.nodes["greeting"].attempts] == ["write", "review"] * 2


def test_it_says_what_was_written():
    assert engine.run(SPEC, {"who": "Ada"}).outputs == {"said": "Dear Ada,"}
'''

PROJECT = """\
[project]
name = "NAME"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = ["engine"]

[project.optional-dependencies]
test = ["pytest"]

[tool.pytest.ini_options]
pythonpath = ["specs"]

[tool.engine]
tasks = ["MODULE.*", "match", "shell"]
"""

WORKFLOW = """\
name: check
on: [push, pull_request]
jobs:
  check:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: actions/setup-python@v5
        with:
          python-version: "3.12"
      - run: pip install engine pytest
      - run: engine check --strict --format github specs
      - run: engine fmt --check specs
      - run: pytest
"""

README = """\
# NAME

```console
engine check specs            # check it
engine run specs/NAME.toml    # run it
pytest                        # test it
```

`specs/NAME.toml` is the pipeline, `specs/MODULE_tasks.py` has its tasks.
"""

FILES = {
    "README.md": README,
    "pyproject.toml": PROJECT,
    "specs/NAME.toml": SPEC,
    "specs/MODULE_tasks.py": TASKS,
    "tests/test_MODULE.py": TESTS,
    ".github/workflows/check.yml": WORKFLOW,
    ".gitignore": "__pycache__/\n.venv/\n",
}
"""The text of each file by its path.

NAME stands for the project's name, MODULE for that name as a Python identifier.
"""

_match_project_name = re.compile(r"[a-z][a-z0-9_-]*").fullmatch


def create_project(directory: Path) -> Iterator[Path]:
    """Write a project into a new or empty directory, and yield the paths of its files.

    The directory's name is the project's. Raises EngineError if it is not a valid project name or the directory is not
    empty.
    """
    name = directory.resolve().name
    if not _match_project_name(name) or keyword.iskeyword(name.replace("-", "_")):
        raise EngineError(
            f"`{name}` is not a valid project name: use lower-case letters, digits, `-` and `_`"
        )
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise EngineError(f"`{directory}` already exists and is not overwritten")
    module = name.replace("-", "_")
    for path, text in FILES.items():
        target = directory / path.replace("NAME", name).replace("MODULE", module)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text.replace("NAME", name).replace("MODULE", module), encoding="utf-8")
        yield target
