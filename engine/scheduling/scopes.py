"""Build the scopes of a running pipeline's expressions: its values, and `run` at that place.

Which fields of `run` exist at which place stands in `engine.compile.references`.

Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

from typing import Any

from engine.record.result import ABSENT
from engine.scheduling.state import LiveAttempt, LiveNode, LiveRun
from engine.scheduling.values import Scope

__all__ = ["of_attempt", "of_end", "of_node", "of_run"]


def of_run(run: LiveRun, id: str) -> Scope:
    """Return the scope of the outputs of a run."""
    return run.values.scope(_run(run, id))


def of_node(node: LiveNode, id: str) -> Scope:
    """Return the scope of a node's `when`, before its first attempt, and of its `outputs`, after its last."""
    return node.run.values.scope(_node(node, id), node.steps, node.own)


def of_attempt(attempt: LiveAttempt, id: str) -> Scope:
    """Return the scope of the `with` of an attempt."""
    node = attempt.node
    return node.run.values.scope(_attempt(attempt, id), node.steps, node.own)


def of_end(attempt: LiveAttempt, output: Any, id: str) -> Scope:
    """Return the scope of the `set` of an attempt that has just ended with this output."""
    node, step = attempt.node, attempt.record.step
    steps = {name: value for name, value in (node.steps or {}).items() if name != step}
    if output is not ABSENT:
        steps[step] = output
    return node.run.values.scope(_attempt(attempt, id), steps, node.own)


def _attempt(attempt: LiveAttempt, id: str) -> dict[str, Any]:
    return _node(attempt.node, id) | {"key": f"{id}/{attempt.key}"}


def _run(run: LiveRun, id: str) -> dict[str, Any]:
    return {"id": id, "pipeline": run.plan.name}


def _node(node: LiveNode, id: str) -> dict[str, Any]:
    fields = _run(node.run, id)
    if node.attempts:
        last = node.attempts[-1]
        fields |= {
            "node": node.plan.name,
            "step": last.step,
            "visit": last.visit,
            "attempt": last.attempt,
        }
    return fields
