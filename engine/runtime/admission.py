"""Admit a run to its store: create it there, or return the existing run that stands for it.

A run with the idempotency key of another run is that run: its result if it has ended, else the run is resumed.
Other runs of the same pipeline are treated as `overlap` says. Source: docs/language.md, "A document", "Details".
"""

from __future__ import annotations

from functools import partial

import trio

from engine.errors import JournalError
from engine.journal.records import StoredRun
from engine.journal.store import DuplicateKey, PipelineBusy, Store
from engine.record.result import Result
from engine.runtime.preparation import PreparedRun, store_run

__all__ = ["admit"]

_POLL_INTERVAL = 0.25
"""Seconds between two checks of whether other runs have ended."""


async def admit(prepared: PreparedRun) -> PreparedRun | Result:
    """Create the run in its store, and return it, or the result of an existing run.

    Waits until other runs have ended where the pipeline requires that; a trio checkpoint.
    """
    if (
        prepared.options.store is None
        or prepared.options.durability == "off"
        or prepared.journal_target
    ):
        return prepared
    asked: set[str] = set()
    while True:
        try:
            return await trio.to_thread.run_sync(store_run, prepared)
        except DuplicateKey as same:
            return await trio.to_thread.run_sync(_find_existing_run, prepared, same.stored)
        except PipelineBusy as busy:
            await _wait_for_others(prepared, busy, asked)


def _find_existing_run(prepared: PreparedRun, stored: StoredRun) -> PreparedRun | Result:
    """Return the existing run with the same key, or its result."""
    store = prepared.options.store
    assert store is not None
    if stored.status == "running":
        from engine.runtime.resumption import ResumeRequest, prepare_resume

        return prepare_resume(prepared.plan, stored, prepared.options, ResumeRequest())
    from engine.record.history import result_from_events

    with Store(store) as opened:
        return result_from_events(
            opened.read_events(stored.header.id), "waiting", [*prepared.plan.nodes_by_name]
        )


async def _wait_for_others(prepared: PreparedRun, busy: PipelineBusy, cancelled: set[str]) -> None:
    """Wait a moment for other runs to end, and request their cancellation if the pipeline says so."""
    plan, store = prepared.plan, prepared.options.store
    assert store is not None
    if plan.overlap == "refuse":
        raise JournalError(f'`{plan.name}` has `overlap = "refuse"`: {busy}')
    if plan.overlap == "replace":
        new = [run for run in busy.runs if run not in cancelled]
        cancelled |= {*new}
        await trio.to_thread.run_sync(partial(_request_cancel, store, new, prepared.run_id))
    await trio.sleep(_POLL_INTERVAL)


def _request_cancel(store_url: str, runs: list[str], replaced_by: str) -> None:
    with Store(store_url) as store:
        for run in runs:
            store.send_request(run, "cancel", f"replaced by run {replaced_by}")
