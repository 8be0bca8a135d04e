"""Places: who may start next, under limits. The queue of all attempts that could start, and the limits that hold them back.

One order for all: priority, then file order, from the outermost run inwards. Whoever lacks a place waits at the limit that lacks it, so
that nobody behind it is held up; when a place is free again the first that waits there comes back into the queue.
Source: LANGUAGE.md section 2. Costs O(log n) a start, whatever the limits.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Generic, Protocol, TypeVar

__all__ = ["Limit", "Places", "Waiter"]


class Waiter(Protocol):
    """What queues: its order, the limits it needs a place of, whether it still wants to start."""

    @property
    def order(self) -> tuple[int, ...]: ...

    @property
    def limits(self) -> tuple[Limit, ...]: ...

    queued: int
    """The ticket of its latest call for a place; 0 when it wants none."""


class Limit:
    """A number of places. `parked` are those who lack one; `called` tells that the first of them is back in the queue."""

    __slots__ = ("called", "free", "parked")

    def __init__(self, places: int) -> None:
        self.free = places
        self.parked: list[tuple[tuple[int, ...], int, Any]] = []
        self.called = False


W = TypeVar("W", bound=Waiter)


class Places(Generic[W]):
    """The queue."""

    def __init__(self) -> None:
        self._queue: list[tuple[tuple[int, ...], int, Any]] = []
        self._ticket = 0
        self._called: dict[int, Limit] = {}

    def __bool__(self) -> bool:
        return bool(self._queue)

    def ask(self, waiter: W) -> None:
        """Queue for a start."""
        self._ticket += 1
        waiter.queued = self._ticket
        heappush(self._queue, (waiter.order, self._ticket, waiter))

    def next(self) -> W | None:
        """The first who can start now, its places taken; None if nobody can."""
        queue = self._queue
        while queue:
            order, ticket, waiter = heappop(queue)
            limit = self._called.pop(ticket, None) if self._called else None
            if waiter.queued != ticket:
                if limit:
                    self._call(limit)
                continue
            for lacking in waiter.limits:
                if lacking.free <= 0:
                    break
            else:
                for each in waiter.limits:
                    each.free -= 1
                waiter.queued = 0
                if limit:
                    self._call(limit)
                found: W = waiter
                return found
            heappush(lacking.parked, (order, ticket, waiter))
            if limit and limit is not lacking:
                self._call(limit)
            elif limit:
                limit.called = False
        return None

    def free(self, limits: tuple[Limit, ...]) -> None:
        """Give places back."""
        for limit in limits:
            limit.free += 1
            if limit.parked and not limit.called:
                self._call(limit)

    def _call(self, limit: Limit) -> None:
        """Bring the first who waits at a limit back into the queue, if there is a place."""
        limit.called = bool(limit.parked) and limit.free > 0
        if limit.called:
            order, ticket, waiter = heappop(limit.parked)
            self._called[ticket] = limit
            heappush(self._queue, (order, ticket, waiter))
