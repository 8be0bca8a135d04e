"""The run API for trio and asyncio code, and the runtime behind it, which is trio only.

It sees the Plan, never the Spec or the rules.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import trio

from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.events import Event
from engine.record.result import Result
from engine.runtime.control import Run
from engine.runtime.options import Options, parse_options
from engine.runtime.trio_runs import open_run, run_plan

__all__ = ["Event", "Options", "Result", "Run", "run", "start"]


async def run(plan: Plan, inputs: Mapping[str, Any] | None = None, **options: Any) -> Result:
    """Run a plan to its end, from trio or asyncio code; `options` are the fields of `Options`.

    When cancelled, it cancels the run, waits until nothing of it is left, and lets the cancellation
    pass. Raises InputError, before anything starts, for inputs that do not match the schema or names in `env`
    and `secrets` that are not set; EngineError if the environment fails; TypeError for an unknown option.
    """
    chosen = parse_options(options)
    if _is_in_trio():
        return await run_plan(plan, inputs, chosen)
    from engine.runtime.asyncio_bridge import run_bridged

    return await run_bridged(plan, inputs, chosen)


def start(
    plan: Plan, inputs: Mapping[str, Any] | None = None, **options: Any
) -> AbstractAsyncContextManager[Run]:
    """Open a run that goes on in the background: `async with start(plan) as run`.

    Leaving the block waits for the end of the run; an exception in the block, a cancellation included,
    cancels the run first. Options and errors are those of `run`.
    """
    return _open_run(plan, inputs, parse_options(options))


@asynccontextmanager
async def _open_run(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> AsyncIterator[Run]:
    if _is_in_trio():
        async with open_run(plan, inputs, options) as run:
            yield run
    else:
        from engine.runtime.asyncio_bridge import open_bridged_run

        async with open_bridged_run(plan, inputs, options) as bridged:
            yield bridged


def _is_in_trio() -> bool:
    """Return whether the caller runs in trio; raise EngineError if it runs in neither trio nor asyncio."""
    if trio.lowlevel.in_trio_task():
        return True
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        raise EngineError(
            "this needs trio or asyncio: call `engine.run` in synchronous code"
        ) from None
    return False
