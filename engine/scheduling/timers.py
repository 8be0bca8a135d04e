"""Alarms: what happens in a run by the clock alone, deadlines and wake-ups, in the order of one instant.

Deadlines strike from the outermost in: by the depth of their owner, then in the order of nodes. What
has ended by itself has no deadline any more. Source: LANGUAGE.md section 6.
"""

from __future__ import annotations

import math
from heapq import heappop, heappush

from engine.scheduling.state import LiveAttempt, LiveNode, LiveRun

__all__ = ["Alarms", "Owner"]

Owner = LiveRun | LiveNode | LiveAttempt
"""What can have a deadline."""

_RANK = {LiveRun: 0, LiveNode: 1, LiveAttempt: 2}


class Alarms:
    """Times are seconds since the start of the run. `deadlines` and `wakes` are to be looked at only
    for whether there are any."""

    __slots__ = ("_ticket", "deadlines", "wakes")

    def __init__(self) -> None:
        self.deadlines: list[tuple[float, int, tuple[int, ...], int, Owner]] = []
        self.wakes: list[tuple[float, int, LiveNode]] = []
        self._ticket = 0

    def set_deadline(self, time: float, run: LiveRun, owner: Owner) -> None:
        """The owner, of `run` or that run itself, must have ended by `time`."""
        self._ticket += 1
        depth = 3 * run.depth + _RANK[type(owner)]
        heappush(self.deadlines, (time, depth, owner.order, self._ticket, owner))

    def set_wake(self, time: float, node: LiveNode) -> None:
        """The node goes on at `time`, unless it has its result by then."""
        self._ticket += 1
        node.waking = self._ticket
        heappush(self.wakes, (time, self._ticket, node))

    @property
    def next_time(self) -> float:
        """When the first of them is due; infinity if there is none."""
        while self.deadlines and self.deadlines[0][4].over:
            heappop(self.deadlines)
        first = self.deadlines[0][0] if self.deadlines else math.inf
        if self.wakes and self.wakes[0][0] < first:
            return self.wakes[0][0]
        return first

    def struck(self, now: float) -> Owner | None:
        """The owner of the next deadline that is due, taken off the list."""
        if self.deadlines and self.deadlines[0][0] <= now:
            return heappop(self.deadlines)[4]
        return None

    def awake(self, now: float) -> LiveNode | None:
        """The next node whose wait is over, taken off the list."""
        while self.wakes and self.wakes[0][0] <= now:
            _, ticket, node = heappop(self.wakes)
            if node.waking == ticket:
                node.waking = 0
                return node
        return None
