"""Events of a run under way -> its store: one thread writes, and commits what has come together.

`off`: it is not used. `full`: whoever is about to have an effect waits until all that was told before is on disk.
`batch`: nobody waits, and commits ride along every few milliseconds; a crash of the process may
forget the last of them, and never their order. A failed write ends the run: what is not written
must not go on. The thread also hears what is asked of the run from outside.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import attrs
import trio

from engine.events import Event
from engine.journal.store import LEASE, Store

__all__ = ["Durability", "Writer"]

Durability = Literal["full", "batch", "off"]

_BREATH = 0.02
"""Seconds for which `batch` gathers events."""
_LISTEN = 0.25
"""Seconds between two looks at what is asked from outside."""

Asked = Callable[[str, Any], None]


@attrs.frozen
class Place:
    """Where a run is written: its id, the epoch of its lease, the number of its last event so far."""

    store: str
    run: str
    epoch: int
    last: int = 0


class Writer:
    """Use it as a block around the run, in its trio thread; `asked` is called there with the kind and data of a request."""

    def __init__(
        self,
        place: Place,
        durability: Durability,
        asked: Asked,
    ) -> None:
        self._place, self._asked = place, asked
        self._full = durability == "full"
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._told, self._kept = 0, 0
        self._error: Exception | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)

    async def __aenter__(self) -> Writer:
        self._token = trio.lowlevel.current_trio_token()
        self._thread.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Write all there is, and let others run the run."""
        self._queue.put(None)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._thread.join)
        if self._error is not None and exception[0] is None:
            raise self._error

    def emit(self, event: Event) -> None:
        """An event has happened; returns at once."""
        self._told += 1
        self._queue.put(event)

    async def before(self) -> None:
        """Wait until what was told may have effects; JournalError if it cannot be written."""
        told = self._told
        while self._full and self._kept < told and self._error is None:
            await self._waiting.park()
        if self._error is not None:
            raise self._error

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            with Store(self._place.store, self._full) as store:
                self._write_all(store)
        except Exception as error:  # whatever it is, it is raised where the run waits
            self._error = error
            self._soon(self._failed)

    def _write_all(self, store: Store) -> None:
        place, seq, heard, over = self._place, self._place.last, 0, False
        looked = renewed = time.monotonic()
        while not over:
            events, over = self._gathered()
            rows, ended = [], None
            for event in events:
                seq += 1
                rows.append(store.row_of(seq, event))
                if event.kind == "run_ended":
                    ended = (event.data["status"], event.data["message"])
            now = time.monotonic()
            if rows or now - renewed > LEASE / 3:
                store.append(place.run, place.epoch, rows, ended)
                renewed = now
            if rows and self._full:
                self._soon(partial(self._done, len(rows)))
            if now - looked > _LISTEN:
                looked = now
                for number, kind, data in store.requests(place.run, heard):
                    self._soon(partial(self._asked, kind, data))
                    heard = number
        store.release(place.run, place.epoch)

    def _gathered(self) -> tuple[list[Event], bool]:
        """The events that wait to be written, and whether there will be no more."""
        try:
            found = [self._queue.get(timeout=_LISTEN)]
        except queue.Empty:
            return [], False
        if not self._full and found[0] is not None:
            time.sleep(_BREATH)
        while not self._queue.empty():
            found.append(self._queue.get())
        return [event for event in found if event is not None], None in found

    def _soon(self, call: Callable[[], None]) -> None:
        try:
            self._token.run_sync_soon(call)
        except trio.RunFinishedError:
            pass

    # -- in the run's thread -----------------------------------------------------------------------------------------

    def _done(self, count: int) -> None:
        self._kept += count
        self._waiting.unpark_all()

    def _failed(self) -> None:
        self._waiting.unpark_all()
        self._asked("failed", str(self._error))
