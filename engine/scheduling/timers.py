"""Keep the deadlines and wake-ups of a run, in the order in which they become due.

Deadlines of one instant expire from the outermost owner in: by the depth of the owner, then in the order of nodes.
An owner that has already ended has no deadline any more.

Source: docs/language.md, "Limits".
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from engine.scheduling.state import AttemptState, NodeState, RunState

__all__ = ["DeadlineOwner", "Timers"]

DeadlineOwner = RunState | NodeState | AttemptState
"""The run, node or attempt that a deadline belongs to."""

_OWNER_RANK = {RunState: 0, NodeState: 1, AttemptState: 2}


class Timers:
    """The deadlines and wake-ups of one run.

    Times are seconds since the start of the run. Test `deadlines` and `wakeups` only for being empty.
    """

    __slots__ = ("_ticket", "deadlines", "wakeups")

    def __init__(self) -> None:
        self.deadlines: list[tuple[float, int, tuple[int, ...], int, DeadlineOwner]] = []
        self.wakeups: list[tuple[float, int, NodeState]] = []
        self._ticket = 0

    def set_deadline(self, time: float, run: RunState, owner: DeadlineOwner) -> None:
        """Require the owner, `run` or a part of it, to end by `time`."""
        self._ticket += 1
        depth = 3 * run.depth + _OWNER_RANK[type(owner)]
        heappush(self.deadlines, (time, depth, owner.order, self._ticket, owner))

    def set_wakeup(self, time: float, node: NodeState) -> None:
        """Wake the node at `time`, unless it has its result by then."""
        self._ticket += 1
        node.wake_ticket = self._ticket
        heappush(self.wakeups, (time, self._ticket, node))

    @property
    def next_time(self) -> float:
        """Return the time of the first deadline or wake-up; infinity if there is none."""
        while self.deadlines and self.deadlines[0][4].is_over:
            heappop(self.deadlines)
        first = self.deadlines[0][0] if self.deadlines else math.inf
        if self.wakeups and self.wakeups[0][0] < first:
            return self.wakeups[0][0]
        return first

    def pop_deadline(self, now: float) -> DeadlineOwner | None:
        """Remove and return the owner of the next deadline that is due, or None."""
        if self.deadlines and self.deadlines[0][0] <= now:
            return heappop(self.deadlines)[4]
        return None

    def pop_wakeup(self, now: float) -> NodeState | None:
        """Remove and return the next node whose wait is over, or None."""
        while self.wakeups and self.wakeups[0][0] <= now:
            _, ticket, node = heappop(self.wakeups)
            if node.wake_ticket == ticket:
                node.wake_ticket = 0
                return node
        return None
