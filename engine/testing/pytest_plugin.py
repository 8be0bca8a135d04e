"""Pytest fixtures `engine_task` and `engine_simulate`, available as soon as the package is installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.record.result import Result
    from engine.testing.task_runs import TaskRun

__all__ = ["engine_simulate", "engine_task"]


@pytest.fixture
def engine_task() -> Callable[..., TaskRun]:
    """Run one task for real: `engine_task(task, inputs)` is `engine.testing.run_task`."""
    from engine.testing.task_runs import run_task

    return run_task


@pytest.fixture
def engine_simulate() -> Callable[..., Result]:
    """Simulate a spec: `engine_simulate(spec, script, inputs)`.

    `spec` is a path or a Plan; bodies are scripted and the clock is virtual.
    """
    from engine.api import load_plan
    from engine.plan.plan import Plan
    from engine.testing.scripts import parse_script
    from engine.testing.simulation import simulate

    def run(spec: Any, script: Any = None, inputs: Any = None, **more: Any) -> Result:
        plan = spec if isinstance(spec, Plan) else load_plan(spec)
        return simulate(plan, parse_script(script or {}, plan), inputs, **more)

    return run
