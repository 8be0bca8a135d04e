"""Run a plan from asyncio code: trio runs in its own thread, events and the result are passed to the loop.

When the asyncio side ends, for whatever reason, the run is cancelled and awaited, so that neither the thread nor
its work is left behind.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.result import Result
from engine.runtime.control import (
    CANCELLED_BY_CALLER,
    CANCELLED_FROM_OUTSIDE,
    Control,
    validate_cancellable,
)
from engine.runtime.exception_groups import unwrap_groups
from engine.runtime.execution import execute
from engine.runtime.listeners import Listener, Listeners
from engine.runtime.options import Options
from engine.runtime.preparation import PreparedRun, prepare
from engine.runtime.threads import call_in_trio

__all__ = ["open_bridged_run", "run_bridged"]


class _TrioThread:
    """One run in a trio thread; the listener is called in the asyncio loop."""

    def __init__(self, prepared: PreparedRun, listener: Listener | None) -> None:
        self._prepared, self._listener = prepared, listener
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._cancel_reason: str | None = None
        self._nodes_to_cancel: list[tuple[str, str]] = []
        self._trio_side: tuple[Control, trio.lowlevel.TrioToken] | None = None

    def cancel_node(self, node: str, reason: str) -> None:
        """Cancel one node, also before the run has begun; callable from any thread."""
        plan = self._prepared.plan
        validate_cancellable(node, plan.index, plan.finally_names)
        with self._lock:
            if self._trio_side is None:
                self._nodes_to_cancel.append((node, reason))
            else:
                control, token = self._trio_side
                call_in_trio(token, partial(control.cancel, reason, node=node))

    def cancel(self, reason: str) -> None:
        """Cancel the run, also before it has begun; callable from any thread."""
        with self._lock:
            self._cancel_reason = self._cancel_reason or reason
            if self._trio_side is not None:
                control, token = self._trio_side
                call_in_trio(token, control.cancel, reason)

    async def run(self) -> Result:
        """Return the run's result; when cancelled, cancel the run and wait for its end."""
        ended = self._loop.create_future()
        context = contextvars.copy_context()
        work = threading.Thread(
            target=context.run, args=(self._run_thread, ended), name="engine run"
        )
        work.start()
        cancelled = await self._wait_for_end(ended)
        work.join()
        error = ended.exception()
        if cancelled is not None:
            raise cancelled
        if error is not None:
            raise error
        result: Result = ended.result()
        return result

    async def _wait_for_end(self, ended: asyncio.Future[Result]) -> asyncio.CancelledError | None:
        """Wait for the end in any case; return the cancellation that arrived meanwhile, if any."""
        cancelled = None
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as error:
                cancelled = error
                self.cancel(CANCELLED_FROM_OUTSIDE)
            except GeneratorExit:
                self.cancel(CANCELLED_FROM_OUTSIDE)
                raise
        return cancelled

    # -- in the trio thread -----------------------------------------------------------------------

    def _run_thread(self, ended: asyncio.Future[Result]) -> None:
        try:
            result = trio.run(self._execute_run)
        except BaseException as error:  # it is raised again in the loop
            self._loop.call_soon_threadsafe(ended.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(ended.set_result, result)

    async def _execute_run(self) -> Result:
        control = Control()
        control.can_cancel_nodes = True
        with self._lock:
            self._trio_side = (control, trio.lowlevel.current_trio_token())
            for node, reason in self._nodes_to_cancel:
                control.cancel(reason, node=node)
            if self._cancel_reason is not None:
                control.cancel(self._cancel_reason)
        return await execute(
            self._prepared, control, self._forward_event if self._listener else None
        )

    def _forward_event(self, event: Event) -> None:
        assert self._listener is not None
        self._loop.call_soon_threadsafe(self._listener, event)


class _BridgedRun:
    """A run in a trio thread, seen from asyncio code."""

    def __init__(self, prepared: PreparedRun, on_event: Listener | None) -> None:
        self.id = prepared.run_id
        self._bridge = _TrioThread(prepared, Listeners([on_event, self._queue_event]))
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self._result: Result | None = None

    def cancel(self, reason: str = CANCELLED_BY_CALLER, *, node: str | None = None) -> None:
        if node is None:
            self._bridge.cancel(reason)
        else:
            self._bridge.cancel_node(node, reason)

    async def result(self) -> Result:
        await self._ended.wait()
        if self._result is None:
            raise EngineError("the run was abandoned before its end")
        return self._result

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._events.get()
        if event is None:
            self._events.put_nowait(None)
            raise StopAsyncIteration
        return event

    async def run_to_end(self) -> None:
        """Run to the end, and wake up those who wait for the result."""
        self._result = await self._bridge.run()
        self.close()

    def close(self) -> None:
        """End the iteration over events, and wake up those who wait for the result."""
        self._events.put_nowait(None)
        self._ended.set()

    def _queue_event(self, event: Event) -> None:
        self._events.put_nowait(event)


@asynccontextmanager
async def open_bridged_run(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> AsyncIterator[_BridgedRun]:
    """Start a run in the background; the asyncio counterpart of `open_run`."""
    run = _BridgedRun(*_prepare_bridged(plan, inputs, options))
    try:
        with unwrap_groups():
            async with asyncio.TaskGroup() as group:
                group.create_task(run.run_to_end())
                yield run
    finally:
        run.close()


async def run_bridged(plan: Plan, inputs: Mapping[str, Any] | None, options: Options) -> Result:
    """Run a plan to its end and return the result; the asyncio counterpart of `run_plan`."""
    prepared, on_event = _prepare_bridged(plan, inputs, options)
    caller_listener = Listeners([on_event]) if on_event is not None else None
    return await _TrioThread(prepared, caller_listener).run()


def _prepare_bridged(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> tuple[PreparedRun, Listener | None]:
    """Prepare the run, and return its listener separately, since that is called in the loop."""
    prepared = prepare(plan, inputs, attrs.evolve(options, on_event=None))
    return prepared, options.on_event
