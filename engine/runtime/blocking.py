"""A run from plain code: starts trio, and turns Ctrl-C and SIGTERM into the cancellation of the run. Source: LANGUAGE.md section 14."""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from typing import Any

import trio

from engine.plan import Plan
from engine.result import Result
from engine.runtime.runs import Options, Run, open_run

__all__ = ["run_blocking"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def run_blocking(plan: Plan, inputs: Mapping[str, Any] | None, options: Options) -> Result:
    """Run to the end. Outside the main thread signals are left alone."""

    async def main() -> Result:
        async with open_run(plan, inputs, options) as run:
            if threading.current_thread() is not threading.main_thread():
                return await run.result()
            with trio.open_signal_receiver(*_SIGNALS) as received:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_obey, received, run)
                    result = await run.result()
                    nursery.cancel_scope.cancel()
                    return result
        raise AssertionError

    return trio.run(main)


async def _obey(received: Any, run: Run) -> None:
    async for number in received:
        run.cancel(f"{signal.Signals(number).name} received")
