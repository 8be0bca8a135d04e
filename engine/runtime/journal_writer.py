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
from engine.journal.store import LEASE, Store
from engine.record.events import Event

__all__ = ["Durability", "Writer"]

Durability = Literal["full", "batch", "off"]

_BREATH = 0.02
"""Seconds after which events are written that no task waits for."""
_LISTEN = 0.25
"""Seconds between two polls for requests from outside."""

Asked = Callable[[str, Any], None]


@frozen
class Place:
    """Where a run is written: its store, its id, the epoch of its lease, and the number of its last event."""

    store: str
    run: str
    epoch: int
    last: int = 0
    opened: Store | None = attrs.field(default=None, eq=False, repr=False)
    """The store if it is open already; the writer closes it."""


class Writer:
    """Writes a run's events; use it as a block around the run, in its trio thread.

    `on_request` is called there with the kind and data of each request. Pass events to `emit`.
    """

    def __init__(self, place: Place, durability: Durability, asked: Asked) -> None:
        self._place, self._asked = place, asked
        self.full = durability == "full"
        self._told: list[Event | trio.Event] = []
        """Events to write, and between them trio events of tasks that wait until all before is written."""
        self.emit: Callable[[Event], None] = self._told.append
        self._waiting: set[trio.Event] = set()
        self._over = False
        self._bell = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)

    async def __aenter__(self) -> Writer:
        self._token = trio.lowlevel.current_trio_token()
        place = self._place
        store = place.opened
        if store is None:
            store = await trio.to_thread.run_sync(Store, place.store, self.full)
        self._store = store
        self._thread.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Write all remaining events, and release the lease."""
        self._over = True
        self._bell.set()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)
        if self._error is not None and exception[0] is None:
            raise self._error

    async def before(self) -> None:
        """Wait until all emitted events are on disk; raise JournalError if they cannot be written.

        Only for `full` durability; a trio checkpoint.
        """
        if self._error is None:
            kept = trio.Event()
            self._waiting.add(kept)
            self._told.append(kept)
            self._bell.set()
            await kept.wait()
        if self._error is not None:
            raise self._error

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with self._store as store:
                self._write_all(store)
        except Exception as error:  # whatever it is, it is raised where the run waits
            self._error = error
            self._soon(self._failed)

    def _write_all(self, store: Store) -> None:
        place, seq, heard, over = self._place, self._place.last, 0, False
        looked = renewed = time.monotonic()
        while not over:
            self._bell.wait(_BREATH)
            self._bell.clear()
            over = self._over
            events, waiting = self._taken()
            seq += len(events)
            now = time.monotonic()
            if events or now - renewed > LEASE / 3:
                store.append(place.run, place.epoch, seq, events, _end(events))
                renewed = now
            if waiting:
                self._soon(partial(self._done, waiting))
            if now - looked > _LISTEN:
                looked = now
                for number, kind, data in store.requests(place.run, heard):
                    self._soon(partial(self._asked, kind, data))
                    heard = number
        store.release(place.run, place.epoch)

    def _taken(self) -> tuple[list[Event], list[trio.Event]]:
        """Return the queued events, and the tasks that wait for them; the run may add others meanwhile."""
        found = self._told[:]
        del self._told[: len(found)]
        if not self.full:  # nobody waits
            return cast("list[Event]", found), []
        events = [each for each in found if isinstance(each, Event)]
        return events, [each for each in found if isinstance(each, trio.Event)]

    def _soon(self, call: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError:
            pass

    # -- in the run's thread -----------------------------------------------------------------------------------------

    def _done(self, waiting: Iterable[trio.Event]) -> None:
        self._waiting -= {*waiting}
        for kept in waiting:
            kept.set()

    def _failed(self) -> None:
        self._done(tuple(self._waiting))
        self._asked("failed", str(self._error))


def _end(events: list[Event]) -> tuple[str, str] | None:
    """Return the status and message of the run if these events end it or let it wait, else None."""
    for event in events[::-1]:
        if event.kind == "run_ended":
            return event.data["status"], event.data["message"]
        if event.kind == "run_waiting":
            return "waiting", event.data["message"]
    return None
