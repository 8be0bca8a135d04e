"""Build the data of events, beside their kind and path.

Data of an earlier event is not repeated: the output of a node without `outputs` is that of its last attempt, the list
of a fan-out is that of its items.
"""

from __future__ import annotations

from typing import Any

from engine.plan.machine import Enter, Retry, State
from engine.plan.plan import Plan
from engine.record.events import Kind
from engine.record.result import ABSENT, NodeResult, Outcome
from engine.scheduling.state import LiveAttempt, LiveFan, LiveItem, LiveNode

__all__ = ["of_end", "of_item", "of_move", "of_node", "of_run", "of_start"]


def of_run(plan: Plan) -> dict[str, Any]:
    """Return the data of the event that a run begins."""
    state = {} if plan.initial is None else {"state": plan.initial.evaluate({})}
    return {"pipeline": plan.name, **state}


def of_start(attempt: LiveAttempt) -> dict[str, Any]:
    """Return the data of the event that an attempt starts; an attempt of a sub-pipeline begins a run."""
    record, plan = attempt.record, attempt.body.plan
    told = {"key": attempt.key, "visit": record.visit, "attempt": record.attempt}
    return told if plan is None else told | of_run(plan)


def of_end(attempt: LiveAttempt, outcome: Outcome | None) -> dict[str, Any]:
    """Return the data of the event that an attempt has ended."""
    record, run = attempt.record, attempt.record.run
    told = {
        "key": attempt.key,
        "visit": record.visit,
        "attempt": record.attempt,
        "outcome": record.outcome,
        "error": record.error,
        "output": outcome.output if outcome and outcome.output is not ABSENT else None,
    }
    if outcome is not None and (outcome.permanent or outcome.retry_after is not None):
        told |= {"permanent": outcome.permanent, "retry_after": outcome.retry_after}
    if run is not None:
        told |= {"status": run.status, "message": run.message}
        if outcome is None and run.outputs:
            told["outputs"] = run.outputs
    return told


def of_move(attempt: LiveAttempt, after: State, move: Retry | Enter) -> tuple[Kind, dict[str, Any]]:
    """Return the kind and data of the event that the machine goes on to an attempt or a step."""
    outcome, delay = attempt.record.outcome, move.delay
    if isinstance(move, Retry):
        return "retry_planned", {"outcome": outcome, "attempt": after.attempt, "delay": delay}
    to = attempt.node.plan.name_of(after.step)
    return "route_taken", {"outcome": outcome, "to": to, "delay": delay}


def of_item(item: LiveItem, fan: LiveFan) -> dict[str, Any]:
    """Return the data of the event that an item has its result."""
    found = fan.results[item.at]
    more: dict[str, Any] = {}
    if item.plan.outputs is not None and found.output is not ABSENT:
        more["output"] = found.output
    return {
        "result": found.result,
        "reason": found.reason.kind,
        "message": found.reason.message,
        "label": found.label,
        "done": fan.done,
        "failed": fan.failed,
        "items": len(fan.values),
        **more,
    }


def of_node(node: LiveNode, found: NodeResult) -> dict[str, Any]:
    """Return the data of the event that a node has its result."""
    reason = found.reason
    told: dict[str, Any] = {
        "result": found.result,
        "reason": reason.kind,
        "message": reason.message,
        "label": found.label,
    }
    if reason.because:
        told["because"] = list(reason.because)
    if node.fan is not None:
        told |= {"items": len(node.fan.values), "gathered": found.output is not ABSENT}
    elif node.plan.outputs is not None and found.output is not ABSENT:
        told["output"] = found.output
    return told
