"""Events of a run, in the order in which they happen; what progress displays, sinks and journals are fed with."""

from __future__ import annotations

from typing import Any, Literal

from engine.base.classes import frozen

__all__ = ["Event", "Kind"]

Kind = Literal[
    "taken_over",
    "attempt_known",
    "run_started",
    "attempt_started",
    "attempt_stopping",
    "attempt_ended",
    "attempt_rerun",
    "attempt_noted",
    "person_asked",
    "state_set",
    "resource_opening",
    "resource_closed",
    "retry_planned",
    "route_taken",
    "item_settled",
    "node_settled",
    "cancel_asked",
    "run_waiting",
    "run_ended",
]


@frozen
class Event:
    """One thing that happened, `time` seconds after the run's start. `path` is `node` or `node/step`, of an item
    `node[3]` or `node[3]/step`, a sub-pipeline's with the step that runs it before it; empty for the run itself."""

    kind: Kind
    time: float
    path: str
    data: dict[str, Any]
    turn: int = 0
    """Which turn of the scheduler it happened in: what is told of one turn has one cause."""

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        return {"event": self.kind, "time": self.time, "path": self.path, **self.data}
