"""The built-in tasks: which there are, and how one is loaded. A task's file is imported when the
task is asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.registry import Task

__all__ = ["BUILTIN", "ids", "load"]

BUILTIN = {
    "collect": "engine.tasks.collect",
    "fail": "engine.tasks.fail",
    "http": "engine.tasks.http",
    "human": "engine.tasks.human",
    "pass": "engine.tasks.pass_",
    "shell": "engine.tasks.shell",
    "sleep": "engine.tasks.sleep",
    "tempdir": "engine.tasks.tempdir",
}
"""The id of each built-in task, and the module whose `TASK` it is."""


def ids() -> tuple[str, ...]:
    """The ids of the built-in tasks, sorted."""
    return tuple(sorted(BUILTIN))


def load(id: str) -> Task:
    """The built-in task `id`; KeyError if there is none."""
    task: Task = importlib.import_module(BUILTIN[id]).TASK
    return task
