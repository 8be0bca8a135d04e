"""Build the data of events, beside their kind and path.

Data of an earlier event is not repeated: the output of a node without `outputs` is that of its last attempt, the list
of a fan-out is that of its items.
"""

from __future__ import annotations

from typing import Any

from engine.plan.machine import Enter, MachineState, Retry
from engine.plan.plan import Plan
from engine.record.events import EventKind
from engine.record.result import ABSENT, NodeResult, Outcome
from engine.scheduling.state import AttemptState, FanOutState, ItemState, NodeState

__all__ = [
    "attempt_ended",
    "attempt_started",
    "item_settled",
    "node_settled",
    "retry_or_route",
    "run_started",
]


def run_started(plan: Plan) -> dict[str, Any]:
    """Return the data of the event that a run begins."""
    state = {} if plan.initial is None else {"state": plan.initial.evaluate({})}
    return {"pipeline": plan.name, **state}


def attempt_started(attempt: AttemptState) -> dict[str, Any]:
    """Return the data of the event that an attempt starts; an attempt of a sub-pipeline begins a run."""
    record, plan = attempt.record, attempt.body.plan
    data = {"key": attempt.key, "visit": record.visit, "attempt": record.attempt}
    return data if plan is None else data | run_started(plan)


def attempt_ended(attempt: AttemptState, outcome: Outcome | None) -> dict[str, Any]:
    """Return the data of the event that an attempt has ended."""
    record, run = attempt.record, attempt.record.run
    data = {
        "key": attempt.key,
        "visit": record.visit,
        "attempt": record.attempt,
        "outcome": record.outcome,
        "error": record.error,
        "output": outcome.output if outcome and outcome.output is not ABSENT else None,
    }
    if outcome is not None and (outcome.permanent or outcome.retry_after is not None):
        data |= {"permanent": outcome.permanent, "retry_after": outcome.retry_after}
    if run is not None:
        data |= {"status": run.status, "message": run.message}
        if outcome is None and run.outputs:
            data["outputs"] = run.outputs
    return data


def retry_or_route(
    attempt: AttemptState, after: MachineState, move: Retry | Enter
) -> tuple[EventKind, dict[str, Any]]:
    """Return the kind and data of the event that the machine goes on to an attempt or a step."""
    outcome, delay = attempt.record.outcome, move.delay
    if isinstance(move, Retry):
        return "retry_planned", {"outcome": outcome, "attempt": after.attempt, "delay": delay}
    to = attempt.node.plan.name_of(after.step)
    return "route_taken", {"outcome": outcome, "to": to, "delay": delay}


def item_settled(item: ItemState, fan: FanOutState) -> dict[str, Any]:
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
        "done": fan.settled_count,
        "failed": fan.failed,
        "items": len(fan.values),
        **more,
    }


def node_settled(node: NodeState, found: NodeResult) -> dict[str, Any]:
    """Return the data of the event that a node has its result."""
    reason = found.reason
    data: dict[str, Any] = {
        "result": found.result,
        "reason": reason.kind,
        "message": reason.message,
        "label": found.label,
    }
    if reason.caused_by:
        data["because"] = list(reason.caused_by)
    if node.fan is not None:
        data |= {"items": len(node.fan.values), "gathered": found.output is not ABSENT}
    elif node.plan.outputs is not None and found.output is not ABSENT:
        data["output"] = found.output
    return data
