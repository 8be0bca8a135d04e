"""Admit a run to its store: create it there, or return the existing run that stands for it.

A run with the idempotency key of another run is that run: its result if it has ended, else the run is resumed.
Other runs of the same pipeline are treated as `overlap` says. Source: docs/language.md, "A document", "Details".
"""

from __future__ import annotations

from functools import partial

import trio

from engine.errors import JournalError
from engine.journal.records import Kept
from engine.journal.store import Busy, SameKey, Store
from engine.record.result import Result
from engine.runtime.preparation import Prepared, kept

__all__ = ["placed"]

_PAUSE = 0.25
"""Seconds between two checks of whether other runs have ended."""


async def placed(prepared: Prepared) -> Prepared | Result:
    """Create the run in its store, and return it, or the result of an existing run.

    Waits until other runs have ended where the pipeline requires that; a trio checkpoint.
    """
    if prepared.options.store is None or prepared.options.durability == "off" or prepared.place:
        return prepared
    asked: set[str] = set()
    while True:
        try:
            return await trio.to_thread.run_sync(kept, prepared)
        except SameKey as same:
            return await trio.to_thread.run_sync(_same, prepared, same.kept)
        except Busy as busy:
            await _others(prepared, busy, asked)


def _same(prepared: Prepared, kept: Kept) -> Prepared | Result:
    """Return the existing run with the same key, or its result."""
    store = prepared.options.store
    assert store is not None
    if kept.status == "running":
        from engine.runtime.resumption import Wish, prepare_again

        return prepare_again(prepared.plan, kept, prepared.options, Wish())
    from engine.record.history import history

    with Store(store) as opened:
        return history(opened.events(kept.header.id), "waiting", [*prepared.plan.known])


async def _others(prepared: Prepared, busy: Busy, asked: set[str]) -> None:
    """Wait a moment for other runs to end, and request their cancellation if the pipeline says so."""
    plan, store = prepared.plan, prepared.options.store
    assert store is not None
    if plan.overlap == "refuse":
        raise JournalError(f'`{plan.name}` has `overlap = "refuse"`: {busy}')
    if plan.overlap == "replace":
        new = [run for run in busy.runs if run not in asked]
        asked |= {*new}
        await trio.to_thread.run_sync(partial(_ask, store, new, prepared.run_id))
    await trio.sleep(_PAUSE)


def _ask(where: str, runs: list[str], by: str) -> None:
    with Store(where) as store:
        for run in runs:
            store.ask(run, "cancel", f"replaced by run {by}")
