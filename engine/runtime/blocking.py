"""Run a plan from synchronous code: start trio, and turn signals into the cancellation of the run.

The signals are those that end a program: Ctrl-C, SIGTERM, the SIGHUP of a closed terminal, SIGQUIT.
The first signal cancels the run, the second ends the grace period, the third ends the process as if it
handled none. Source: docs/language.md, "Cancellation".
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

import trio

from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.result import Result
from engine.runtime.control import Control
from engine.runtime.exception_groups import unwrap_groups
from engine.runtime.execution import execute
from engine.runtime.options import Options
from engine.runtime.preparation import PreparedRun, prepare
from engine.runtime.service_checks import find_failed_services

__all__ = ["block_on_run", "check_services", "run_blocking"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def run_blocking(plan: Plan, inputs: Mapping[str, Any] | None, options: Options) -> Result:
    """Run a plan to its end and return the result.

    Signals are handled only in the main thread; those that are ignored, or that no Python code handles, are left alone.
    Raises EngineError inside a running event loop.
    """
    return block_on_run(partial(prepare, plan, inputs, options))


def block_on_run(prepare_run: Callable[[], PreparedRun]) -> Result:
    """Execute the run that `prepare_run` returns, with signals handled as in `run_blocking`."""
    if trio.lowlevel.in_trio_run() or _is_in_asyncio():
        raise EngineError(
            "`engine.run` blocks: in async code use `await engine.runtime.run(plan, …)`"
        )
    prepared = prepare_run()

    async def main() -> Result:
        control = Control()
        if threading.current_thread() is not threading.main_thread():
            return await execute(prepared, control)
        with unwrap_groups():
            async with trio.open_nursery() as nursery:
                with _handle_signals(control, nursery):
                    return await execute(prepared, control)
        raise AssertionError

    return trio.run(main)


def _is_in_asyncio() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:  # no loop runs that was not imported
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _handle_signals(control: Control, nursery: trio.Nursery) -> Iterator[None]:
    """Handle the signals as long as the block runs."""
    token = trio.lowlevel.current_trio_token()
    before: dict[int, Any] = {}
    received = 0

    def restore() -> None:
        while before:
            signal.signal(*before.popitem())

    def kill(reason: str) -> None:
        if before:  # the nursery is still open
            nursery.start_soon(control.kill, reason)

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal received
        received += 1
        reason = f"{signal.Signals(number).name} received"
        if received == 1:
            token.run_sync_soon(control.cancel, reason)
        elif received == 2:
            token.run_sync_soon(kill, reason)
        else:
            # What trio had before us waits for tasks that may never end.
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in _SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        restore()


def check_services(
    plan: Plan, inputs: Mapping[str, Any] | None, options: Options
) -> tuple[str, ...]:
    """Check the services as `find_failed_services` does, blocking; raise InputError where a run would."""
    prepared = prepare(plan, inputs, options)
    given = prepared.values.build_scope({})["inputs"]
    return trio.run(find_failed_services, execute, plan, given, options, Control())
