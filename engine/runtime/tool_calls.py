"""Tools of a task: the tasks and sub-pipelines that its `with` names, each call being a run of its own.

Such a run is not stored, since the attempt that makes it is: its progress is reported as that attempt's, and it ends
with the attempt. Hooks of nodes and attempts are called for it, those of runs are not. Its id is made of the attempt's
key, so that the keys of its own attempts stay the same when the attempt is run again. The contract does not define
tools.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import attrs

from engine.errors import InputError
from engine.expressions.model import Template
from engine.plan.plan import Callee, Plan
from engine.record.events import Event
from engine.record.result import ABSENT, Result
from engine.runtime.control import Control
from engine.runtime.options import Options
from engine.runtime.preparation import PreparedRun, prepare
from engine.scheduling.state import AttemptState
from engine.sdk.context import Exit, Failure, Tool

__all__ = ["Execute", "build_tools"]

Execute = Callable[[PreparedRun, Control], Awaitable[Result]]
"""Run what was prepared to its end, as `execution.execute` does, which imports this module."""


def build_tools(
    execute: Execute,
    options: Options,
    run_id: str,
    attempt: AttemptState,
    note: Callable[[str], None],
) -> dict[tuple[str, str], Tool]:
    """Return the tools of an attempt, as its `with` names them; `note` receives their progress messages."""
    hooks = [attrs.evolve(hook, before_run=None, after_run=None) for hook in options.hooks]
    chosen = Options(env=options.env, secrets=options.secrets, grace=options.grace, hooks=hooks)
    key, called = f"{run_id}/{attempt.key}", attempt.body.called_plans or {}
    return {
        name: _build_tool(execute, name, plan, chosen, key, note) for name, plan in called.items()
    }


def _build_tool(
    execute: Execute,
    callee: Callee,
    plan: Plan,
    options: Options,
    key: str,
    note: Callable[[str], None],
) -> Tool:
    kind, id = callee
    call = partial(_call_tool, execute, kind, plan, options, key, note)
    task = plan.nodes[0].bodies[0].task if kind == "task" else None
    if task is None:
        return Tool(id, plan.spec.pipeline.description, _build_input_schema(plan), call)
    return Tool(id, task.description, task.input_schema or {"type": "object"}, call)


async def _call_tool(
    execute: Execute,
    kind: str,
    plan: Plan,
    options: Options,
    key: str,
    note: Callable[[str], None],
    inputs: Mapping[str, Any],
    name: str,
) -> Exit:
    """Run a tool to its end and return the exit of its task, or the outputs of its pipeline.

    Raises Failure if the tool fails or its inputs are not valid.
    """

    def on_event(event: Event) -> None:
        if event.kind == "attempt_noted":
            note(f"{name}: {event.data['message']}")

    if kind == "task":
        plan, inputs = _with_inputs(plan, dict(inputs)), {}
    chosen = attrs.evolve(options, run_id=f"{key}/{name}", on_event=on_event)
    try:
        result = await execute(prepare(plan, inputs, chosen), Control())
    except InputError as error:
        raise Failure("; ".join(error.problems)) from None
    return _get_task_exit(result) if kind == "task" else _get_pipeline_exit(result)


def _with_inputs(plan: Plan, inputs: dict[str, Any]) -> Plan:
    """Return the one-task pipeline with these inputs."""
    with_ = Template((), True, lambda _: dict(inputs))
    [node] = plan.nodes
    bodies = tuple(
        attrs.evolve(body, with_=with_, schema=body.task.input_schema if body.task else None)
        for body in node.bodies
    )
    return attrs.evolve(plan, nodes=(attrs.evolve(node, bodies=bodies),))


def _get_task_exit(result: Result) -> Exit:
    [node] = result.nodes.values()
    last = node.attempts[-1] if node.attempts else None
    if last is None or not isinstance(last.outcome, int):
        raise Failure(last.error if last is not None and last.error else node.reason.message)
    return Exit(last.outcome, None if node.output is ABSENT else node.output)


def _get_pipeline_exit(result: Result) -> Exit:
    if result.status != "succeeded":
        raise Failure(result.message or result.status)
    return Exit(0, dict(result.outputs))


def _build_input_schema(plan: Plan) -> dict[str, Any]:
    required = [name for name, schema in plan.inputs.items() if "default" not in schema]
    return {"type": "object", "properties": dict(plan.inputs), "required": required, "additionalProperties": False}  # fmt: skip
