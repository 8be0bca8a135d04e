"""Write the events of a run to its store: one thread writes, and commits what has accumulated.

`off`: the writer is not used. `full`: whoever is about to have an effect waits until all earlier events are on disk.
`batch`: no task waits, and events are committed every few milliseconds; a crash of the process may
lose the last of them, but never their order. A failed write ends the run: events that are not written
must not have consequences. The thread also polls for requests from outside.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Literal, cast

import attrs
import trio

from engine.base.classes import frozen
from engine.journal.store import LEASE_DURATION, Store
from engine.record.events import Event

__all__ = ["Durability", "JournalWriter"]

Durability = Literal["full", "batch", "off"]

_FLUSH_INTERVAL = 0.02
"""Seconds after which events are written that no task waits for."""
_POLL_INTERVAL = 0.25
"""Seconds between two polls for requests from outside."""

RequestHandler = Callable[[str, Any], None]


@frozen
class JournalTarget:
    """The place of a run in a journal: its store, its id, the epoch of its lease, and the number of its last event."""

    store: str
    run: str
    epoch: int
    last_event: int = 0
    open_store: Store | None = attrs.field(default=None, eq=False, repr=False)
    """The store if it is open already; the writer closes it."""


class JournalWriter:
    """Writes a run's events; use it as a block around the run, in its trio thread.

    `on_request` is called there with the kind and data of each request. Pass events to `emit`.
    """

    def __init__(
        self, target: JournalTarget, durability: Durability, on_request: RequestHandler
    ) -> None:
        self._target, self._on_request = target, on_request
        self.is_full = durability == "full"
        self._queue: list[Event | trio.Event] = []
        """Events to write, and between them trio events of tasks that wait until all before is written."""
        self.emit: Callable[[Event], None] = self._queue.append
        self._waiters: set[trio.Event] = set()
        self._is_closing = False
        self._wakeup = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run_thread, name="journal", daemon=True)

    async def __aenter__(self) -> JournalWriter:
        self._token = trio.lowlevel.current_trio_token()
        place = self._target
        store = place.open_store
        if store is None:
            store = await trio.to_thread.run_sync(Store, place.store, self.is_full)
        self._store = store
        self._thread.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Write all remaining events, and release the lease."""
        self._is_closing = True
        self._wakeup.set()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)
        if self._error is not None and exception[0] is None:
            raise self._error

    async def wait_written(self) -> None:
        """Wait until all emitted events are on disk; raise JournalError if they cannot be written.

        Only for `full` durability; a trio checkpoint.
        """
        if self._error is None:
            kept = trio.Event()
            self._waiters.add(kept)
            self._queue.append(kept)
            self._wakeup.set()
            await kept.wait()
        if self._error is not None:
            raise self._error

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _run_thread(self) -> None:
        try:
            with self._store as store:
                self._write_until_closed(store)
        except Exception as error:  # whatever it is, it is raised where the run waits
            self._error = error
            self._call_in_trio(self._report_failure)

    def _write_until_closed(self, store: Store) -> None:
        place, seq, last_request, over = self._target, self._target.last_event, 0, False
        looked = renewed = time.monotonic()
        while not over:
            self._wakeup.wait(_FLUSH_INTERVAL)
            self._wakeup.clear()
            over = self._is_closing
            events, waiting = self._take_queued()
            seq += len(events)
            now = time.monotonic()
            if events or now - renewed > LEASE_DURATION / 3:
                store.append(place.run, place.epoch, seq, events, _find_final_status(events))
                renewed = now
            if waiting:
                self._call_in_trio(partial(self._wake_waiters, waiting))
            if now - looked > _POLL_INTERVAL:
                looked = now
                for number, kind, data in store.pending_requests(place.run, last_request):
                    self._call_in_trio(partial(self._on_request, kind, data))
                    last_request = number
        store.release(place.run, place.epoch)

    def _take_queued(self) -> tuple[list[Event], list[trio.Event]]:
        """Return the queued events, and the tasks that wait for them; the run may add others meanwhile."""
        found = self._queue[:]
        del self._queue[: len(found)]
        if not self.is_full:  # no task waits
            return cast("list[Event]", found), []
        events = [each for each in found if isinstance(each, Event)]
        return events, [each for each in found if isinstance(each, trio.Event)]

    def _call_in_trio(self, function: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(function)
        except trio.RunFinishedError:
            pass

    # -- in the run's thread -----------------------------------------------------------------------------------------

    def _wake_waiters(self, waiting: Iterable[trio.Event]) -> None:
        self._waiters -= {*waiting}
        for kept in waiting:
            kept.set()

    def _report_failure(self) -> None:
        self._wake_waiters(tuple(self._waiters))
        self._on_request("failed", str(self._error))


def _find_final_status(events: list[Event]) -> tuple[str, str] | None:
    """Return the status and message of the run if these events end it or let it wait, else None."""
    for event in events[::-1]:
        if event.kind == "run_ended":
            return event.data["status"], event.data["message"]
        if event.kind == "run_waiting":
            return "waiting", event.data["message"]
    return None
