"""Run one task by itself, as a test of it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from engine.record.events import Event
from engine.record.result import ABSENT
from engine.toml.source import Source

__all__ = ["TaskRun", "run_task"]


@attrs.frozen
class TaskRun:
    """The outcome of a task that was run by itself.

    `code` is the exit code (None for the outcome `error`), `label` the name of the outcome, `error` the error message,
    `notes` the progress messages.
    """

    code: int | None
    label: str | None
    output: Any
    error: str | None
    notes: tuple[str, ...]


def run_task(
    task: object,
    inputs: Mapping[str, Any] | None = None,
    *,
    folder: str = ".",
    secrets: Mapping[str, str] | None = None,
) -> TaskRun:
    """Run one task once, for real, under a clock that skips waiting.

    `task` is a function declared with `@task`, a class, a `Task`, or an id. Inputs and output are validated as in a
    run. Raises SpecError for inputs that the task's schema rejects. Blocks.
    """
    import tomli_w
    import trio
    from trio.testing import MockClock

    from engine.api import load_plan  # it stands on this module, which tests begin with
    from engine.runtime.options import Options
    from engine.runtime.trio_runs import run_plan
    from engine.sdk.decorator import as_task

    own = None if isinstance(task, str) else as_task(task)
    node = {
        "task": task if own is None else own.id,
        "with": _escape_expressions(dict(inputs or {})),
    }
    if own is not None and own.executor == "process":
        node["executor"] = "thread"  # a process need not find what only the tests' paths have
    text = tomli_w.dumps({"engine": 1, "nodes": {"task": node}})
    source = Source(Path(folder) / "test.toml", text)
    plan = load_plan(source, tasks=() if own is None else (own,))
    notes: list[str] = []

    def on_event(event: Event) -> None:
        if event.kind == "attempt_noted":
            notes.append(event.data["message"])

    options = Options(secrets=secrets or {}, on_event=on_event)
    clock = MockClock(autojump_threshold=0.05)
    result = trio.run(run_plan, plan, None, options, clock=clock)
    found = result.nodes["task"]
    attempt = found.attempts[-1]  # of a class of several steps: that of its last one
    code = attempt.outcome if isinstance(attempt.outcome, int) else None
    output = None if found.output is ABSENT else found.output
    return TaskRun(code, found.label, output, attempt.error, tuple(notes))


def _escape_expressions(value: Any) -> Any:
    """Return a value with expressions escaped; None is left out of tables, since TOML has no null."""
    if isinstance(value, Mapping):
        return {key: _escape_expressions(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_escape_expressions(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
