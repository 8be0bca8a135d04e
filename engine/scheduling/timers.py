"""Keep the deadlines and wake-ups of a run, in the order in which they become due.

Deadlines of one instant expire from the outermost owner in: by the depth of the owner, then in the order of nodes.
An owner that has already ended has no deadline any more.

Source: docs/language.md, "Limits".
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from engine.scheduling.state import LiveAttempt, LiveNode, LiveRun

__all__ = ["Alarms", "Owner"]

Owner = LiveRun | LiveNode | LiveAttempt
"""The run, node or attempt that a deadline belongs to."""

_RANK = {LiveRun: 0, LiveNode: 1, LiveAttempt: 2}


class Alarms:
    """The deadlines and wake-ups of one run.

    Times are seconds since the start of the run. Test `deadlines` and `wakeups` only for being empty.
    """

    __slots__ = ("_ticket", "deadlines", "wakes")

    def __init__(self) -> None:
        self.deadlines: list[tuple[float, int, tuple[int, ...], int, Owner]] = []
        self.wakes: list[tuple[float, int, LiveNode]] = []
        self._ticket = 0

    def set_deadline(self, time: float, run: LiveRun, owner: Owner) -> None:
        """Require the owner, `run` or a part of it, to end by `time`."""
        self._ticket += 1
        depth = 3 * run.depth + _RANK[type(owner)]
        heappush(self.deadlines, (time, depth, owner.order, self._ticket, owner))

    def set_wake(self, time: float, node: LiveNode) -> None:
        """Wake the node at `time`, unless it has its result by then."""
        self._ticket += 1
        node.waking = self._ticket
        heappush(self.wakes, (time, self._ticket, node))

    @property
    def next_time(self) -> float:
        """Return the time of the first deadline or wake-up; infinity if there is none."""
        while self.deadlines and self.deadlines[0][4].over:
            heappop(self.deadlines)
        first = self.deadlines[0][0] if self.deadlines else math.inf
        if self.wakes and self.wakes[0][0] < first:
            return self.wakes[0][0]
        return first

    def struck(self, now: float) -> Owner | None:
        """Remove and return the owner of the next deadline that is due, or None."""
        if self.deadlines and self.deadlines[0][0] <= now:
            return heappop(self.deadlines)[4]
        return None

    def awake(self, now: float) -> LiveNode | None:
        """Remove and return the next node whose wait is over, or None."""
        while self.wakes and self.wakes[0][0] <= now:
            _, ticket, node = heappop(self.wakes)
            if node.waking == ticket:
                node.waking = 0
                return node
        return None
