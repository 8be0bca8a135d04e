"""The run API on trio: open a run of a plan, follow its events, cancel it, get its result. Source: LANGUAGE.md sections 8, 9, 14."""

from __future__ import annotations

import math
import os
import secrets as random_source
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from engine.errors import EngineError, InputError
from engine.events import Event
from engine.plan import Plan
from engine.result import Result
from engine.runtime.attempts import Performer
from engine.runtime.runner import Perform, Runner
from engine.runtime.secrets import Redactor, chosen
from engine.runtime.workers import Workers
from engine.scheduler import Scheduler
from engine.values import Values, child_inputs

__all__ = ["GRACE", "Options", "Run", "open_run", "run_plan"]

GRACE = 5.0
"""Seconds that a cancelled attempt has to end by itself."""


@attrs.frozen(kw_only=True)
class Options:
    """How to run. `env` and `secrets` go before the process's environment; `seed` rules jitter; `on_event` is called with each
    event as it happens. `perform` runs bodies in place of the real ones, `exact` is for virtual clocks: see `engine.testing`."""

    env: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    run_id: str | None = None
    seed: int | str | None = None
    grace: float = GRACE
    on_event: Callable[[Event], None] | None = None
    perform: Perform | None = None
    exact: bool = False


class Run:
    """A run under way. Iterate over it for its events from the first on; `await result()` for how it ended."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self._send, self._receive = trio.open_memory_channel[Event](math.inf)
        self._over = trio.Event()
        self._result: Result | None = None
        self._runner: Runner | None = None
        self._asked: str | None = None

    def cancel(self, reason: str = "cancelled by the caller") -> None:
        """Cancel the run: all work stops within the grace period, and the result says who asked and why."""
        self._asked = reason
        if self._runner is not None:
            self._runner.cancel(reason)

    async def result(self) -> Result:
        """Wait for the end."""
        await self._over.wait()
        assert self._result is not None
        return self._result

    async def __aiter__(self) -> AsyncIterator[Event]:
        async for event in self._receive:
            yield event

    def _hears(self, event: Event) -> None:
        self._send.send_nowait(event)

    def _starts(self, runner: Runner) -> None:
        self._runner = runner
        if self._asked is not None:
            runner.cancel(self._asked)

    def _ends(self, result: Result) -> None:
        self._result = result
        self._send.close()
        self._over.set()


@asynccontextmanager
async def open_run(plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None) -> AsyncIterator[Run]:
    """Start a run in the background; leaving the block waits for its end, an exception in the block cancels it.

    Raises InputError, before anything starts, for inputs that do not fit or names in `env` and `secrets` that are not set.
    """
    options = options or Options()
    prepared = _prepare(plan, inputs or {}, options)
    run = Run(prepared.run_id)

    async def work() -> None:
        run._ends(await _execute(prepared, run))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work)
            yield run
    except BaseExceptionGroup as group:
        raise _single(group) from None


async def run_plan(plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None) -> Result:
    """Run a plan to its end. Raises InputError as `open_run` does, and EngineError if the world fails."""
    prepared = _prepare(plan, inputs or {}, options or Options())
    try:
        return await _execute(prepared, None)
    except BaseExceptionGroup as group:
        raise _single(group) from None


def _single(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception in a group of one: what one cause raised is shown as itself."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@attrs.frozen
class _Prepared:
    plan: Plan
    values: Values
    options: Options
    run_id: str
    redactor: Redactor


def _prepare(plan: Plan, given: Mapping[str, Any], options: Options) -> _Prepared:
    """Check all that a run needs before its first attempt."""
    if plan.loops:
        raise EngineError(f"the plan of `{plan.name}` has unbounded loops: check it first")
    inputs, problems = child_inputs(plan, given)
    env, missing = chosen(plan.env, (options.env, os.environ), "environment variable")
    hidden, unset = chosen(plan.secrets, (options.secrets, os.environ), "secret")
    if problems or missing or unset:
        raise InputError((*problems, *missing, *unset))
    run_id = options.run_id or random_source.token_hex(8)
    return _Prepared(plan, Values(inputs, env, hidden), options, run_id, Redactor(hidden.values()))


async def _execute(prepared: _Prepared, run: Run | None) -> Result:
    options, redactor = prepared.options, prepared.redactor
    listeners = [hear for hear in (options.on_event, run._hears if run else None) if hear]

    def listen(event: Event) -> None:
        event = attrs.evolve(event, data=redactor.value(event.data))
        for hear in listeners:
            hear(event)

    seed = options.seed if options.seed is not None else prepared.run_id
    scheduler = Scheduler(prepared.plan, prepared.values, prepared.run_id, seed, listen if listeners else None)
    async with Workers() as workers:
        perform = options.perform or Performer(
            workers, prepared.run_id, options.grace, scheduler.note, redactor.text
        )
        runner = Runner(scheduler, perform, options.exact)
        if run is not None:
            run._starts(runner)
        return redactor.result(await runner.run())
