"""Build the scopes of a running pipeline's expressions: its values, and `run` at that place.

Which fields of `run` exist at which place stands in `engine.compile.references`.

Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

from typing import Any

from engine.record.result import ABSENT
from engine.scheduling.state import AttemptState, NodeState, RunState
from engine.scheduling.values import LayeredScope

__all__ = ["attempt_scope", "node_scope", "run_scope", "state_scope"]


def run_scope(run: RunState, id: str) -> LayeredScope:
    """Return the scope of the outputs of a run."""
    return run.values.build_scope(_build_run_fields(run, id))


def node_scope(node: NodeState, id: str) -> LayeredScope:
    """Return the scope of a node's `when`, before its first attempt, and of its `outputs`, after its last."""
    return node.run.values.build_scope(_build_node_fields(node, id), node.steps, node.own_names)


def attempt_scope(attempt: AttemptState, id: str) -> LayeredScope:
    """Return the scope of the `with` of an attempt."""
    node = attempt.node
    return node.run.values.build_scope(
        _build_attempt_fields(attempt, id), node.steps, node.own_names
    )


def state_scope(attempt: AttemptState, output: Any, id: str) -> LayeredScope:
    """Return the scope of the `set` of an attempt that has just ended with this output."""
    node, step = attempt.node, attempt.record.step
    steps = {name: value for name, value in (node.steps or {}).items() if name != step}
    if output is not ABSENT:
        steps[step] = output
    return node.run.values.build_scope(_build_attempt_fields(attempt, id), steps, node.own_names)


def _build_attempt_fields(attempt: AttemptState, id: str) -> dict[str, Any]:
    return _build_node_fields(attempt.node, id) | {"key": f"{id}/{attempt.key}"}


def _build_run_fields(run: RunState, id: str) -> dict[str, Any]:
    return {"id": id, "pipeline": run.plan.name}


def _build_node_fields(node: NodeState, id: str) -> dict[str, Any]:
    fields = _build_run_fields(node.run, id)
    if node.attempts:
        last = node.attempts[-1]
        fields |= {
            "node": node.plan.name,
            "step": last.step,
            "visit": last.visit,
            "attempt": last.attempt,
        }
    return fields
