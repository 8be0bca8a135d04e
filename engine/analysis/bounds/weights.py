"""Step -> Weight: the most that one visit of a step adds to a run, by the outcome that ends it.

A visit is its last attempt and, for each clause that is the first to serve an outcome that can
come, `attempts - 1` more. Any outcome can come last, when all clauses are used up, so of a task
every visit weighs the same. Of a sub-pipeline it depends on how the child's run ended. Source:
LANGUAGE.md sections 2 to 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from operator import add

import attrs

from engine.analysis.step_reachability import outcomes_of
from engine.plan.machine import Clause, Outcome, Step
from engine.plan.plan import Body

__all__ = [
    "ATTEMPTS",
    "CHAIN",
    "NOTHING",
    "SERIAL",
    "TIME",
    "VISITS",
    "WORK",
    "Load",
    "Visit",
    "Weight",
    "capped",
    "more",
    "often",
    "plus",
    "times",
    "visit_of",
    "waiting",
]

Weight = tuple[float, ...]
"""Sums over a run or a part of one, each the most it can be by itself. They stand at:"""
VISITS, ATTEMPTS, TIME, SERIAL, WORK, CHAIN = range(6)
"""How many; seconds from start to end with places enough, with one thing at a time, with a place
held; and what counts of the seconds on a chain under limits (see `measure`)."""
NOTHING: Weight = (0, 0, 0.0, 0.0, 0.0, 0.0)

Visit = Mapping[Outcome | None, Weight]
"""The weight of a visit by its last outcome, of those that can come; of a task all are None."""


def plus(one: Weight, other: Weight) -> Weight:
    """One after the other."""
    return tuple(map(add, one, other))


def more(one: Weight, other: Weight) -> Weight:
    """Either of both."""
    return tuple(map(max, one, other))


def times(weight: Weight, count: float) -> Weight:
    """So many of it."""
    return tuple(often(each, count) for each in weight)


def often(each: float, count: float) -> float:
    """So many of it: nothing where either is nothing, however much the other is."""
    return each * count if each and count else 0


def capped(weight: Weight, seconds: float, width: int = 1) -> Weight:
    """What is stopped after so many seconds, and holds at most `width` places at once."""
    kept = (min(weight[at], seconds) for at in (TIME, SERIAL))
    work = min(weight[WORK], width * seconds)
    return (*weight[:TIME], *kept, work, min(weight[CHAIN], seconds), *weight[CHAIN + 1 :])


def waiting(seconds: float) -> Weight:
    """A wait that holds no place."""
    return (0, 0, seconds, seconds, 0.0, seconds)


@attrs.frozen
class Load:
    """What a whole run of a sub-pipeline weighs if it succeeds, and if it fails; None: it cannot.

    `width` is how many of its attempts can hold a place at once.
    """

    succeeded: Weight | None
    failed: Weight | None
    width: int
    exact: bool
    exact_time: bool
    linger: float = 0.0
    """Seconds that it may take to end once it is told to: of `[finally]`, here and inside."""


def visit_of(step: Step, body: Body, load: Load | None, share: float) -> Visit:
    """What a visit weighs; `load` is that of the step's sub-pipeline, `share` what counts of a
    task's seconds on a chain under limits."""
    attempts = _task(body, share) if load is None else _child(step, body, load)
    again = _retries(step, body, attempts)
    return {last: plus(again, weight) for last, weight in attempts.items()}


def _task(body: Body, share: float) -> Visit:
    seconds = math.inf if body.timeout is None else body.timeout
    return {None: (0, 1, seconds, seconds, seconds, seconds * share if share else 0.0)}


def _child(step: Step, body: Body, load: Load) -> Visit:
    """By outcome: inputs that do not fit are an `error`, before the child has begun."""
    limits = [body.timeout, body.plan.deadline if body.plan else None]
    cap = min((limit for limit in limits if limit is not None), default=math.inf) + load.linger
    runs = [weight for weight in (load.succeeded, load.failed) if weight is not None]
    ways: dict[Outcome, Weight | None] = {0: load.succeeded, 1: load.failed, "error": NOTHING}
    if step.times_out and runs:
        ways["timeout"] = more(runs[0], runs[-1])
    found: dict[Outcome | None, Weight] = {}
    for outcome, weight in ways.items():
        if weight is not None:
            found[outcome] = plus((0, 1, 0.0, 0.0, 0.0, 0.0), capped(weight, cap, load.width))
    return found


def _retries(step: Step, body: Body, attempts: Visit) -> Weight:
    """The visit itself, all attempts before its last, and the waits after each."""
    total: Weight = (1, 0, 0.0, 0.0, 0.0, 0.0)
    if not step.retry:
        return total
    told = frozenset(
        code for clause in step.retry for code in clause.on | clause.but if isinstance(code, int)
    )
    served: dict[int, list[Outcome]] = {}
    for outcome in outcomes_of(step, told):
        if None in attempts or outcome in attempts:
            first = next((at for at, c in enumerate(step.retry) if c.serves(outcome)), None)
            served.setdefault(-1 if first is None else first, []).append(outcome)
    for at, clause in enumerate(step.retry):
        if clause.attempts > 1 and at in served:
            total = plus(total, _clause(clause, body, attempts, served[at]))
    return total


def _clause(clause: Clause, body: Body, attempts: Visit, served: list[Outcome]) -> Weight:
    each = NOTHING
    for outcome in served:
        each = more(each, attempts.get(outcome, attempts.get(None, NOTHING)))
    # `timeout` and `interrupted` are the engine's own, so nobody asks for a wait with them
    asks = body.task is not None and body.task.may_ask and not _UNASKED.issuperset(served)
    retries = range(1, clause.attempts)
    seconds = math.fsum(_longest_wait(clause, retry, asks) for retry in retries)
    return plus(times(each, clause.attempts - 1), waiting(seconds))


_UNASKED: frozenset[Outcome] = frozenset({"timeout", "interrupted"})


def _longest_wait(clause: Clause, retry: int, asks: bool) -> float:
    """Seconds; draws come as near to 1 as they like."""
    return clause.wait(retry, lambda: 1.0, math.inf if asks else None)
