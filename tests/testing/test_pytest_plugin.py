"""The test kit for tasks, and the fixtures that pytest has of it."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

import engine
from engine import Context, Exit, Permanent, SpecError
from engine.testing.task_runs import TaskRun, run_task

pytest_plugins = ["pytester"]


@engine.task(id="acme.wait", exits={"late": 3})
async def wait(hours: float, context: Context) -> Exit:
    """Waits."""
    context.note(f"{hours:g} hours")
    await trio.sleep(hours * 3600)
    return Exit("late" if hours > 5 else 0, {"waited": hours})


@engine.task(id="acme.raise")
def raises(why: str) -> None:
    """Raises."""
    raise Permanent(why)


def test_a_task_is_run_without_waiting() -> None:
    begun = time.monotonic()
    assert run_task(wait, {"hours": 9}) == TaskRun(3, "late", {"waited": 9}, None, ("9 hours",))
    assert time.monotonic() - begun < 60


def test_an_error_is_told() -> None:
    found = run_task(raises, {"why": "it is ${no} expression"})
    assert (found.code, found.label) == (None, "error")
    assert found.error is not None
    assert found.error.startswith("it is ${no} expression")


def test_a_built_in_task_is_run_by_its_id(tmp_path: Any) -> None:
    (tmp_path / "a.txt").write_text("x")
    assert run_task("file.read", {"path": "a.txt"}, folder=str(tmp_path)).output == {
        "content": "x",
        "size": 1,
    }


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match="hours"):
        run_task(wait, {"hours": "many"})


SUITE = """
from engine import task


@task
def double(n: int) -> int:
    return 2 * n


def test_a_task(engine_task):
    assert engine_task(double, {"n": 4}).output == 8


def test_a_pipeline(engine_simulate):
    result = engine_simulate("a.toml", {"a/a": [{"exit": 1}]})
    assert result.nodes["a"].label == "1"
"""


def test_pytest_has_fixtures_of_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(SUITE)
    pytester.path.joinpath("a.toml").write_text(
        'engine = 1\n[nodes.a]\ntask = "shell"\nwith = { argv = ["false"] }\n'
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


def test_the_fixtures_cost_a_test_run_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        "import sys\n\ndef test_it():\n"
        "    ours = {name for name in sys.modules if name.startswith('engine.')}\n"
        "    assert ours == {'engine.testing', 'engine.testing.pytest_plugin'}\n"
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=1)
