"""Queue attempts for slots: which attempt may start next under the limits.

One order for all: priority, then file order, from the outermost run inwards. An attempt that lacks a slot waits at
the limit that lacks it, so that it holds up no other; when a slot is free again, the first that waits there comes
back into the queue. A start costs O(log n), however many limits there are.

Source: docs/language.md, "Limits".
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["SlotLimit", "SlotQueue", "Waiter"]


class Waiter(Protocol):
    """An entry of the queue: its order, the limits it needs a slot of, and whether it still wants to start."""

    @property
    def order(self) -> tuple[int, ...]: ...

    @property
    def limits(self) -> tuple[SlotLimit, ...]: ...

    queued: int
    """The ticket of the latest request for slots; 0 when the waiter wants none."""


class SlotLimit:
    """A number of slots.

    `blocked` are the waiters that lack one; `is_requeued` is whether the first of them is back in the queue.
    """

    __slots__ = ("blocked", "free", "is_requeued")

    def __init__(self, slots: int) -> None:
        self.free = slots
        self.blocked: list[tuple[tuple[int, ...], int, Any]] = []
        self.is_requeued = False


W = TypeVar("W", bound=Waiter)


class SlotQueue(Generic[W]):
    """A queue of waiters that need slots of limits."""

    def __init__(self) -> None:
        self._queue: list[tuple[tuple[int, ...], int, Any]] = []
        self._ticket = 0
        self._called: dict[int, SlotLimit] = {}

    def __bool__(self) -> bool:
        return bool(self._queue)

    def enqueue(self, waiter: W) -> None:
        """Queue a waiter for a start."""
        self._ticket += 1
        waiter.queued = self._ticket
        heappush(self._queue, (waiter.order, self._ticket, waiter))

    def pop_ready(self) -> W | None:
        """Remove and return the first waiter that can start, with its slots taken; None if none can."""
        queue = self._queue
        while queue:
            order, ticket, waiter = heappop(queue)
            limit = self._called.pop(ticket, None) if self._called else None
            if waiter.queued != ticket:
                if limit:
                    self._requeue_first(limit)
                continue
            for lacking in waiter.limits:
                if lacking.free <= 0:
                    break
            else:
                for each in waiter.limits:
                    each.free -= 1
                waiter.queued = 0
                if limit:
                    self._requeue_first(limit)
                found: W = waiter
                return found
            heappush(lacking.blocked, (order, ticket, waiter))
            if limit and limit is not lacking:
                self._requeue_first(limit)
            elif limit:
                limit.is_requeued = False
        return None

    def release(self, limits: tuple[SlotLimit, ...]) -> None:
        """Give slots back."""
        for limit in limits:
            limit.free += 1
            if limit.blocked and not limit.is_requeued:
                self._requeue_first(limit)

    def _requeue_first(self, limit: SlotLimit) -> None:
        """Move the first waiter blocked at a limit back into the queue, if a slot is free."""
        limit.is_requeued = bool(limit.blocked) and limit.free > 0
        if limit.is_requeued:
            order, ticket, waiter = heappop(limit.blocked)
            self._called[ticket] = limit
            heappush(self._queue, (order, ticket, waiter))
