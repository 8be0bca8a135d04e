"""Compute the maximum weight that one visit of a step adds to a run, by the outcome that ends it.

A visit is its last attempt and, for each clause that is the first to apply to an outcome that can come,
`attempts - 1` more. Any outcome can come last, when all clauses are exhausted, so every visit of a task weighs the
same. The weight of a sub-pipeline's visit depends on how the child's run ended.

Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import add

import attrs

from engine.analysis.step_reachability import list_outcomes
from engine.plan.machine import Clause, OutcomeCode, Step
from engine.plan.plan import StepBody

__all__ = [
    "ATTEMPTS",
    "CHAIN",
    "NOTHING",
    "SERIAL",
    "TIME",
    "VISITS",
    "WORK",
    "SubPipelineCost",
    "Visit",
    "Weight",
    "add_weights",
    "cap_weight",
    "scale_value",
    "scale_weight",
    "take_maximum",
    "weigh_visit",
    "weigh_wait",
]

Weight = tuple[float, ...]
"""The sums over a run or a part of one, each at its own maximum.

The constants below are their positions.
"""
VISITS, ATTEMPTS, TIME, SERIAL, WORK, CHAIN = range(6)
"""The positions of the sums in a weight: counts of visits and attempts, then times in seconds.

`TIME` is from start to end with enough slots, `SERIAL` with one thing at a time, `WORK` with a slot held; `CHAIN` is
the part of the seconds that counts on a chain under limits (see `pipeline_costs`).
"""
NOTHING: Weight = (0, 0, 0.0, 0.0, 0.0, 0.0)

Visit = Mapping[OutcomeCode | None, Weight]
"""The weight of a visit by its last outcome, of those that can come; for a task all are None."""


def add_weights(one: Weight, other: Weight) -> Weight:
    """Return the weight of one thing after the other."""
    return tuple(map(add, one, other))


def take_maximum(one: Weight, other: Weight) -> Weight:
    """Return the maximum of each sum of two weights."""
    return tuple(map(max, one, other))


def scale_weight(weight: Weight, count: float) -> Weight:
    """Return the weight of a number of repetitions."""
    return tuple(scale_value(each, count) for each in weight)


def scale_value(each: float, count: float) -> float:
    """Return `each` times `count`; zero if either is zero, however large the other is."""
    return each * count if each and count else 0


def cap_weight(weight: Weight, seconds: float, width: int = 1) -> Weight:
    """Return a weight that is stopped after `seconds` and holds at most `width` slots at once."""
    kept = (min(weight[at], seconds) for at in (TIME, SERIAL))
    work = min(weight[WORK], width * seconds)
    return (*weight[:TIME], *kept, work, min(weight[CHAIN], seconds), *weight[CHAIN + 1 :])


def weigh_wait(seconds: float) -> Weight:
    """Return the weight of a wait that holds no slot."""
    return (0, 0, seconds, seconds, 0.0, seconds)


@attrs.frozen
class SubPipelineCost:
    """The weight of a whole run of a sub-pipeline if it succeeds, and if it fails; None if it cannot.

    `width` is how many of its attempts can hold a slot at once.
    """

    succeeded: Weight | None
    failed: Weight | None
    width: int
    exact: bool
    exact_time: bool
    shutdown_time: float = 0.0
    """The seconds that the run may take to end after a stop request: those of `[finally]`, here and inside."""


def weigh_visit(step: Step, body: StepBody, load: SubPipelineCost | None, share: float) -> Visit:
    """Return the weight of a visit.

    `load` is that of the step's sub-pipeline; `share` is how much a task's seconds count on a chain under limits.
    """
    attempts = (
        _weigh_task_visit(body, share)
        if load is None
        else _weigh_sub_pipeline_visit(step, body, load)
    )
    again = _weigh_retries(step, body, attempts)
    return {last: add_weights(again, weight) for last, weight in attempts.items()}


def _weigh_task_visit(body: StepBody, share: float) -> Visit:
    seconds = math.inf if body.timeout is None else body.timeout
    return {None: (0, 1, seconds, seconds, seconds, seconds * share if share else 0.0)}


def _weigh_sub_pipeline_visit(step: Step, body: StepBody, load: SubPipelineCost) -> Visit:
    """Return the weight of a sub-pipeline's visit by outcome.

    Inputs that do not fit are an `error`, before the child has begun.
    """
    limits = [body.timeout, body.plan.deadline if body.plan else None]
    cap = (
        min((limit for limit in limits if limit is not None), default=math.inf) + load.shutdown_time
    )
    runs = [weight for weight in (load.succeeded, load.failed) if weight is not None]
    ways: dict[OutcomeCode, Weight | None] = {0: load.succeeded, 1: load.failed, "error": NOTHING}
    if step.can_time_out and runs:
        ways["timeout"] = take_maximum(runs[0], runs[-1])
    found: dict[OutcomeCode | None, Weight] = {}
    for outcome, weight in ways.items():
        if weight is not None:
            found[outcome] = add_weights(
                (0, 1, 0.0, 0.0, 0.0, 0.0), cap_weight(weight, cap, load.width)
            )
    return found


def _weigh_retries(step: Step, body: StepBody, attempts: Visit) -> Weight:
    """Return the weight of the visit itself, of all attempts before its last, and of the waits after each."""
    total: Weight = (1, 0, 0.0, 0.0, 0.0, 0.0)
    if not step.retry:
        return total
    distinguished = frozenset(
        code
        for clause in step.retry
        for code in clause.on | clause.excluded
        if isinstance(code, int)
    )
    served: dict[int, list[OutcomeCode]] = {}
    for outcome in list_outcomes(step, distinguished):
        if None in attempts or outcome in attempts:
            first = next((at for at, c in enumerate(step.retry) if c.can_retry(outcome)), None)
            served.setdefault(-1 if first is None else first, []).append(outcome)
    for at, clause in enumerate(step.retry):
        if clause.attempts > 1 and at in served:
            total = add_weights(total, _weigh_clause(clause, body, attempts, served[at]))
    return total


def _weigh_clause(
    clause: Clause, body: StepBody, attempts: Visit, served: list[OutcomeCode]
) -> Weight:
    each = NOTHING
    for outcome in served:
        each = take_maximum(each, attempts.get(outcome, attempts.get(None, NOTHING)))
    # `timeout` and `interrupted` are outcomes of the engine, with which no task requests a wait
    asks = (
        body.task is not None
        and body.task.may_request_delay
        and not _NEVER_DELAYED.issuperset(served)
    )
    retries = range(1, clause.attempts)
    seconds = math.fsum(_compute_longest_wait(clause, retry, asks) for retry in retries)
    return add_weights(scale_weight(each, clause.attempts - 1), weigh_wait(seconds))


_NEVER_DELAYED: frozenset[OutcomeCode] = frozenset({"timeout", "interrupted"})


def _compute_longest_wait(clause: Clause, retry: int, asks: bool) -> float:
    """Return the longest wait in seconds; random draws come as near to 1 as they like."""
    return clause.delay_before(retry, lambda: 1.0, math.inf if asks else None)
