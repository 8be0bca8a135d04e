"""Evaluate the inputs of one attempt, record its outcome, and apply its changes to the state.

What follows from the outcome is decided by `engine.scheduling.scheduler`.

Source: docs/language.md, "Outcomes", "Retry", "Expressions", "State".
"""

from __future__ import annotations

import random
from typing import Any

from engine.expressions.model import EvaluationError
from engine.record.result import Outcome, Result
from engine.scheduling.scopes import of_attempt, of_end
from engine.scheduling.state import LiveAttempt, LiveRun
from engine.scheduling.values import child_inputs, state_misfits, task_inputs

__all__ = ["drawn", "given", "of_child", "recorded", "written"]


def given(attempt: LiveAttempt, run_id: str) -> str | None:
    """Evaluate `with`, and open the run of a sub-pipeline; return an error message or None."""
    body, node = attempt.body, attempt.node
    if body.plain:
        attempt.inputs = body.with_.evaluate({})
        return None
    scope = of_attempt(attempt, run_id)
    if body.late:
        attempt.scope = scope
        return None
    try:
        given = body.with_.evaluate(scope)
    except EvaluationError as error:
        return str(error)
    if body.plan is None:
        attempt.inputs = given
        return task_inputs(body, given)
    inputs, problems = child_inputs(body.plan, given)
    if problems:
        return "; ".join(problems)
    attempt.child = LiveRun(body.plan, attempt, node.run.values.child(inputs))
    return None


def recorded(attempt: LiveAttempt, outcome: Outcome | None) -> Outcome | None:
    """Record the outcome of an attempt; return None if it was cancelled.

    An attempt is cancelled by its node's deadline or together with its run.
    """
    record = attempt.record
    if attempt.stopping == "timeout":
        record.outcome, record.error = "timeout", f"timed out after {attempt.body.timeout:g} s"
        return Outcome("error", error=record.error)
    if attempt.stopping:
        record.outcome = "cancelled"
        return None
    if outcome is None:
        if attempt.child is not None:
            record.outcome, record.error = "timeout", "the sub-pipeline's deadline passed"
            return Outcome("error", error=record.error)
        outcome = Outcome("error", error="the task ended without a result")
    state = attempt.node.state
    assert state is not None
    node = attempt.node.plan
    step = node.machine.steps[state.step]
    if step.codes is not None and isinstance(outcome.code, int) and outcome.code not in step.codes:
        task = attempt.body.task
        outcome = Outcome(
            "error",
            error=f"`{task.id if task else node.name_of(state.step)}` does not declare exit {outcome.code}",
        )
    record.outcome, record.error = outcome.code, outcome.error
    return outcome


def written(attempt: LiveAttempt, outcome: Outcome, run_id: str) -> tuple[Outcome, dict[str, Any]]:
    """Apply `set` to the state, all of it or nothing.

    Return the outcome and the values written, or the outcome `error` if `set` failed.
    """
    run, template = attempt.node.run, attempt.body.set
    assert template is not None
    try:
        values = template.evaluate(of_end(attempt, outcome.output, run_id))
        problem = state_misfits(run.plan, values)
    except EvaluationError as error:
        problem = str(error)
    if problem is not None:
        record = attempt.record
        record.outcome, record.error = "error", f"set: {problem}"
        return Outcome("error", error=record.error), {}
    run.values.write(values)
    return outcome, values


def of_child(result: Result) -> Outcome | None:
    """Return the outcome of a sub-pipeline's run; None if it was cancelled."""
    if result.status == "succeeded":
        return Outcome(0, dict(result.outputs))
    return Outcome(1, error=result.message or None) if result.status == "failed" else None


def drawn(seed: int | str, attempt: LiveAttempt) -> float:
    """Return the random number of an attempt, the same in every run with this seed."""
    return random.Random(f"{seed}:{attempt.key}").random()
