"""Explain in one sentence why a node has its result.

Source: docs/language.md, "Results", "Edges and joins".
"""

from __future__ import annotations

from engine.plan.machine import Stop
from engine.plan.plan import Condition
from engine.record.result import NodeResult, Reason
from engine.scheduling.state import FanOutState, NodeState

__all__ = ["COMPLETED", "cancel_reason", "fan_out_reason", "machine_reason", "skip_reason"]

COMPLETED = Reason("completed")

_MAX_MESSAGE_LENGTH = 200


def skip_reason(node: NodeState) -> Reason:
    """Return the reason of a skip: the nodes whose edges are dead, and their results."""
    nodes = [node.run.nodes[source] for source in sorted(node.dead_sources or ())]
    wanted = {edge.source: edge.condition for edge in node.plan.edges}
    shown = [
        f"`{source.plan.name}`{_describe_condition(wanted[source.plan.index])}{_describe_result(source.result)}"
        for source in nodes[:3]
    ]
    more = f" and {len(nodes) - 3} more" if len(nodes) > 3 else ""
    return Reason(
        "needs", f"needs {'; '.join(shown)}{more}", tuple(source.plan.name for source in nodes)
    )


def _describe_condition(condition: Condition) -> str:
    return "" if condition.kind == "success" else f" ({condition})"


def _describe_result(result: NodeResult | None) -> str:
    if result is None:
        return ""
    if result.result == "failed" and len(result.reason.message) < _MAX_MESSAGE_LENGTH:
        return f", which failed: {result.reason.message}"
    was = {
        "failed": "failed",
        "succeeded": "succeeded",
        "skipped": "was skipped",
        "cancelled": "was cancelled",
    }
    return f", which {was[result.result]}"


def fan_out_reason(fan: FanOutState) -> Reason:
    """Return the reason of a fan-out's end: how many items failed, how many may, and why the first did."""
    first = next((at for at, each in enumerate(fan.results) if each.result == "failed"), None)
    if first is None:
        return COMPLETED
    why = fan.results[first].reason.message[:_MAX_MESSAGE_LENGTH]
    allowed = f"{fan.allowed} {'are' if fan.allowed != 1 else 'is'} tolerated"
    sentence = f"{fan.failed} of {len(fan.values)} items failed, and {allowed}; item {first}: {why}"
    return Reason("tolerance" if fan.has_failed else "completed", sentence)


def cancel_reason(node: NodeState) -> Reason:
    """Return why a node, or the rest of a fan-out, is cancelled."""
    fan = node.fan
    if fan is not None and fan.owner_node.is_deadline_expired:
        return Reason("deadline", f"the deadline of `{node.plan.name}` passed")
    whole = fan.owner_node if fan is not None else node
    if whole.asked:
        return Reason("requested", whole.asked)
    if fan is not None and fan.is_given_up:
        return Reason("failure", "more items failed than are tolerated")
    return Reason(node.run.cause or "requested", node.run.message)


def machine_reason(node: NodeState, stop: Stop, at: int) -> Reason:
    """Return the reason of a machine's end: which exit of which step led there, and the number of attempts."""
    if stop.reason == "completed":
        return COMPLETED
    record, steps = node.attempts[-1], node.plan.machine.steps
    assert record.outcome is not None  # it has ended
    outcome = f"exit {record.outcome}" if isinstance(record.outcome, int) else str(record.outcome)
    name = steps[at].describe_outcome(record.outcome)
    if name not in (outcome, str(record.outcome)):
        outcome += f" `{name}`"
    where = f" of `{record.step}`" if len(steps) > 1 else ""
    tries = f" after {record.attempt} attempts" if record.attempt > 1 else ""
    detail = f" ({record.error})" if record.error and isinstance(record.outcome, str) else ""
    tail = ", a bounded route was used up" if stop.reason == "exhausted" else ""
    return Reason(stop.reason, f"{outcome}{where}{tries}{detail}{tail}")
