"""Tests of specs and tasks: simulations with scripted bodies, single tasks, and what runs covered.

Each name is imported when it is first used, so that the pytest plug-in costs a test run nothing.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.testing.scripts import ScriptedEnd, parse_script
    from engine.testing.simulation import simulate
    from engine.testing.spec_coverage import coverage
    from engine.testing.task_runs import TaskRun, run_task

__all__ = ["ScriptedEnd", "TaskRun", "coverage", "parse_script", "run_task", "simulate"]

_HOMES = {
    "scripts": ("ScriptedEnd", "parse_script"),
    "simulation": ("simulate",),
    "spec_coverage": ("coverage",),
    "task_runs": ("TaskRun", "run_task"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name not in _HOME:
            raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
        found = globals()[name] = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        return found
