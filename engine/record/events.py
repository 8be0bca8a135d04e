"""Events of a run, in the order in which they happen; progress displays, sinks and journals consume them."""

from __future__ import annotations

from typing import Any, Literal

from engine.base.classes import value

__all__ = ["Event", "EventKind"]

EventKind = Literal[
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


@value
class Event:
    """One occurrence in a run, `time` seconds after its start.

    `path` is `node` or `node/step`; for an item `node[3]` or `node[3]/step`; in a sub-pipeline prefixed by the path of
    the step that runs it; empty for the run itself.
    """

    kind: EventKind
    time: float
    path: str
    data: dict[str, Any]
    turn: int = 0
    """The turn of the scheduler in which it happened; all events of one turn have one cause."""

    def to_json(self) -> dict[str, Any]:
        """Return the event as one flat JSON object."""
        return {"event": self.kind, "time": self.time, "path": self.path, **self.data}
