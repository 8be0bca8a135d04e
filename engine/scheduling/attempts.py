"""Evaluate the inputs of one attempt, record its outcome, and apply its changes to the state.

What follows from the outcome is decided by `engine.scheduling.scheduler`.

Source: docs/language.md, "Outcomes", "Retry", "Expressions", "State".
"""

from __future__ import annotations

import random
from typing import Any

from engine.expressions.model import EvaluationError
from engine.record.result import Outcome, Result
from engine.scheduling.scopes import attempt_scope, state_scope
from engine.scheduling.state import AttemptState, RunState
from engine.scheduling.values import resolve_inputs, validate_inputs, validate_state

__all__ = ["apply_state", "draw_jitter", "evaluate_inputs", "outcome_of_run", "record_outcome"]


def evaluate_inputs(attempt: AttemptState, run_id: str) -> str | None:
    """Evaluate `with`, and open the run of a sub-pipeline; return an error message or None."""
    body, node = attempt.body, attempt.node
    if body.has_constant_inputs:
        attempt.inputs = body.with_.evaluate({})
        return None
    scope = attempt_scope(attempt, run_id)
    if body.reads_resources:
        attempt.scope = scope
        return None
    try:
        given = body.with_.evaluate(scope)
    except EvaluationError as error:
        return str(error)
    if body.plan is None:
        attempt.inputs = given
        return validate_inputs(body, given)
    inputs, problems = resolve_inputs(body.plan, given)
    if problems:
        return "; ".join(problems)
    attempt.child = RunState(body.plan, attempt, node.run.values.for_sub_pipeline(inputs))
    return None


def record_outcome(attempt: AttemptState, outcome: Outcome | None) -> Outcome | None:
    """Record the outcome of an attempt; return None if it was cancelled.

    An attempt is cancelled by its node's deadline, or together with its node or run.
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


def apply_state(
    attempt: AttemptState, outcome: Outcome, run_id: str
) -> tuple[Outcome, dict[str, Any]]:
    """Apply `set` to the state, all of it or nothing.

    Return the outcome and the values written, or the outcome `error` if `set` failed.
    """
    run, template = attempt.node.run, attempt.body.set
    assert template is not None
    try:
        values = template.evaluate(state_scope(attempt, outcome.output, run_id))
        problem = validate_state(run.plan, values)
    except EvaluationError as error:
        problem = str(error)
    if problem is not None:
        record = attempt.record
        record.outcome, record.error = "error", f"set: {problem}"
        return Outcome("error", error=record.error), {}
    run.values.set_state(values)
    return outcome, values


def outcome_of_run(result: Result) -> Outcome | None:
    """Return the outcome of a sub-pipeline's run; None if it was cancelled."""
    if result.status == "succeeded":
        return Outcome(0, dict(result.outputs))
    return Outcome(1, error=result.message or None) if result.status == "failed" else None


def draw_jitter(seed: int | str, attempt: AttemptState) -> float:
    """Return the random number of an attempt, the same in every run with this seed."""
    return random.Random(f"{seed}:{attempt.key}").random()
