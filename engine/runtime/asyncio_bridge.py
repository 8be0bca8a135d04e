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
from engine.runtime.control import CANCELLED, FROM_OUTSIDE, Control, check_node
from engine.runtime.exception_groups import unwrapped
from engine.runtime.execution import execute
from engine.runtime.listeners import Hear, Listeners
from engine.runtime.options import Options
from engine.runtime.preparation import Prepared, prepare
from engine.runtime.threads import in_trio

__all__ = ["open_bridge", "run_bridged"]


class _Bridge:
    """One run in a trio thread; the listener is called in the asyncio loop."""

    def __init__(self, prepared: Prepared, hear: Hear | None) -> None:
        self._prepared, self._hear = prepared, hear
        self._loop = asyncio.get_running_loop()
        self._lock = threading.Lock()
        self._asked: str | None = None
        self._nodes: list[tuple[str, str]] = []
        self._trio: tuple[Control, trio.lowlevel.TrioToken] | None = None

    def cancel_node(self, node: str, reason: str) -> None:
        """Cancel one node, also before the run has begun; callable from any thread."""
        plan = self._prepared.plan
        check_node(node, plan.index, plan.closing_names)
        with self._lock:
            if self._trio is None:
                self._nodes.append((node, reason))
            else:
                control, token = self._trio
                in_trio(token, partial(control.cancel, reason, node=node))

    def cancel(self, reason: str) -> None:
        """Cancel the run, also before it has begun; callable from any thread."""
        with self._lock:
            self._asked = self._asked or reason
            if self._trio is not None:
                control, token = self._trio
                in_trio(token, control.cancel, reason)

    async def run(self) -> Result:
        """Return the run's result; when cancelled, cancel the run and wait for its end."""
        ended = self._loop.create_future()
        context = contextvars.copy_context()
        work = threading.Thread(target=context.run, args=(self._work, ended), name="engine run")
        work.start()
        cancelled = await self._wait(ended)
        work.join()
        error = ended.exception()
        if cancelled is not None:
            raise cancelled
        if error is not None:
            raise error
        result: Result = ended.result()
        return result

    async def _wait(self, ended: asyncio.Future[Result]) -> asyncio.CancelledError | None:
        """Wait for the end in any case; return the cancellation that arrived meanwhile, if any."""
        cancelled = None
        while not ended.done():
            try:
                await asyncio.wait((ended,))
            except asyncio.CancelledError as error:
                cancelled = error
                self.cancel(FROM_OUTSIDE)
            except GeneratorExit:
                self.cancel(FROM_OUTSIDE)
                raise
        return cancelled

    # -- in the trio thread -----------------------------------------------------------------------

    def _work(self, ended: asyncio.Future[Result]) -> None:
        try:
            result = trio.run(self._main)
        except BaseException as error:  # it is raised again in the loop
            self._loop.call_soon_threadsafe(ended.set_exception, error)
        else:
            self._loop.call_soon_threadsafe(ended.set_result, result)

    async def _main(self) -> Result:
        control = Control()
        control.reachable = True
        with self._lock:
            self._trio = (control, trio.lowlevel.current_trio_token())
            for node, reason in self._nodes:
                control.cancel(reason, node=node)
            if self._asked is not None:
                control.cancel(self._asked)
        return await execute(self._prepared, control, self._over_there if self._hear else None)

    def _over_there(self, event: Event) -> None:
        assert self._hear is not None
        self._loop.call_soon_threadsafe(self._hear, event)


class _BridgedRun:
    """A run in a trio thread, seen from asyncio code."""

    def __init__(self, prepared: Prepared, on_event: Hear | None) -> None:
        self.id = prepared.run_id
        self._bridge = _Bridge(prepared, Listeners([on_event, self._hears]))
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._over = asyncio.Event()
        self._result: Result | None = None

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        if node is None:
            self._bridge.cancel(reason)
        else:
            self._bridge.cancel_node(node, reason)

    async def result(self) -> Result:
        await self._over.wait()
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

    async def work(self) -> None:
        """Run to the end, and wake up those who wait for the result."""
        self._result = await self._bridge.run()
        self.leave()

    def leave(self) -> None:
        """End the iteration over events, and wake up those who wait for the result."""
        self._events.put_nowait(None)
        self._over.set()

    def _hears(self, event: Event) -> None:
        self._events.put_nowait(event)


@asynccontextmanager
async def open_bridge(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> AsyncIterator[_BridgedRun]:
    """Start a run in the background; the asyncio counterpart of `open_run`."""
    run = _BridgedRun(*_prepared(plan, inputs, options))
    try:
        with unwrapped():
            async with asyncio.TaskGroup() as group:
                group.create_task(run.work())
                yield run
    finally:
        run.leave()


async def run_bridged(plan: Plan, inputs: Mapping[str, Any] | None, options: Options) -> Result:
    """Run a plan to its end and return the result; the asyncio counterpart of `run_plan`."""
    prepared, on_event = _prepared(plan, inputs, options)
    hear = Listeners([on_event]) if on_event is not None else None
    return await _Bridge(prepared, hear).run()


def _prepared(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> tuple[Prepared, Hear | None]:
    """Prepare the run, and return its listener separately, since that is called in the loop."""
    prepared = prepare(plan, inputs, attrs.evolve(options, on_event=None))
    return prepared, options.on_event
