"""A run in the current trio thread: open it, follow its events, cancel it, get its result.

All that a run needs is validated before anything of it starts (`prepare`), then it is executed (`execute`).
This module does not know how the caller came to be in trio. Source: docs/language.md, "Cancellation".
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.result import Result
from engine.runtime.control import CANCELLED_BY_CALLER, Control, validate_cancellable
from engine.runtime.exception_groups import unwrap_groups
from engine.runtime.execution import execute
from engine.runtime.options import Options
from engine.runtime.preparation import PreparedRun, prepare

__all__ = ["open_run", "run_plan"]


class _TrioRun(Control):
    """A run in progress in this trio thread."""

    can_cancel_nodes = True

    def __init__(self, prepared: PreparedRun) -> None:
        super().__init__()
        self.id = prepared.run_id
        self._plan = prepared.plan
        self._send, self._receive = trio.open_memory_channel[Event](math.inf)
        self._ended = trio.Event()
        self._result: Result | None = None

    def cancel(self, reason: str = CANCELLED_BY_CALLER, *, node: str | None = None) -> None:
        if node is not None:
            validate_cancellable(node, self._plan.index, self._plan.finally_names)
        super().cancel(reason, node=node)

    async def result(self) -> Result:
        await self._ended.wait()
        if self._result is None:
            raise EngineError("the run was abandoned before its end")
        return self._result

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def run_to_end(self, prepared: PreparedRun) -> None:
        """Run to the end, and wake up those who wait for the result."""
        self._result = await execute(prepared, self, self._send.send_nowait)
        self.close()

    def close(self) -> None:
        """End the iteration over events, and wake up those who wait for the result.

        A failure reaches the code in the block as a cancellation, not by this method.
        """
        self._send.close()
        self._ended.set()


@asynccontextmanager
async def open_run(
    plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None
) -> AsyncIterator[_TrioRun]:
    """Start a run in the background, for a block.

    Leaving the block waits for the end of the run; an exception in the block cancels it. Raises InputError, before anything
    starts, for inputs that do not match the schema or names in `env` and `secrets` that are not set.
    """
    prepared = prepare(plan, inputs, options or Options())
    run = _TrioRun(prepared)
    try:
        with unwrap_groups():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run.run_to_end, prepared)
                yield run
    finally:
        run.close()


async def run_plan(
    plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None
) -> Result:
    """Run a plan to its end and return the result.

    Raises InputError as `open_run` does, and EngineError if the environment fails.
    """
    return await execute(prepare(plan, inputs, options or Options()), Control())
