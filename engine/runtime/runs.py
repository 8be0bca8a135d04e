"""A run of a plan on trio: open one, follow its events, cancel it, get its result.

What a run needs is checked before anything of it starts (`prepare`), then it is run to its end
(`execute`). Does not know how the caller came to be in trio. Source: LANGUAGE.md sections 8, 9 and
14.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets as random_source
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import trio

from engine import processes
from engine.diagnostics import nearest
from engine.errors import EngineError, InputError
from engine.events import Event
from engine.plan import Plan
from engine.result import Result
from engine.runtime.attempts import Performer
from engine.runtime.listeners import Hear, Listeners
from engine.runtime.runner import Perform, Runner
from engine.runtime.secrets import Redactor, chosen, too_short
from engine.runtime.workers import Workers
from engine.scheduler import LiveAttempt, Scheduler
from engine.values import Values, child_inputs

__all__ = [
    "CANCELLED",
    "FROM_OUTSIDE",
    "GRACE",
    "Control",
    "Options",
    "Prepared",
    "Run",
    "execute",
    "open_run",
    "options_of",
    "outermost",
    "prepare",
    "run_plan",
]

GRACE = 5.0
"""Seconds that a cancelled attempt has to end by itself."""

CANCELLED = "cancelled by the caller"
FROM_OUTSIDE = "the code around the run was cancelled"


@attrs.frozen(kw_only=True)
class Options:
    """How to run.

    `env` and `secrets` go before the process's environment. No two runs of one machine may bear one
    `run_id` at a time: when one is cancelled, all processes that bear it are killed. `seed` rules
    jitter, `grace` is in seconds. `on_event` is called with each event as it happens; if it raises,
    that is logged and it is not called again. `perform` runs bodies in place of the real ones,
    `exact` is for virtual clocks: see `engine.testing`.
    """

    env: Mapping[str, str] = attrs.field(factory=dict)
    secrets: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    run_id: str | None = None
    seed: int | str | None = None
    grace: float = GRACE
    on_event: Callable[[Event], None] | None = None
    perform: Perform | None = None
    exact: bool = False


def options_of(given: Mapping[str, Any]) -> Options:
    """Options from keyword arguments; TypeError names one that there is not and the nearest, or one
    of the wrong type.
    """
    known = [field.name for field in attrs.fields(Options)]
    for name in given:
        if name not in known:
            guess = nearest(name, known)
            raise TypeError(
                f"there is no option `{name}`" + (f", did you mean `{guess}`?" if guess else "")
            )
    options = Options(**given)
    grace: object = options.grace
    if isinstance(grace, bool) or not isinstance(grace, (int, float)) or not 0 <= grace < math.inf:
        raise TypeError("option `grace` is a number of seconds, 0 or more")
    for name in ("env", "secrets"):
        values: object = getattr(options, name)
        if not isinstance(values, Mapping) or not all(
            isinstance(value, str) for value in values.values()
        ):
            raise TypeError(f"option `{name}` is a mapping of names to strings")
    if options.run_id is not None and (not isinstance(options.run_id, str) or not options.run_id):
        raise TypeError("option `run_id` is a text that is not empty")
    if options.on_event is not None and not callable(options.on_event):
        raise TypeError("option `on_event` is a function of one event")
    return options


class Run(Protocol):
    """A run under way.

    `async for event in run` gives each of its events once, from the first on.
    """

    id: str

    def cancel(self, reason: str = CANCELLED) -> None:
        """Cancel the run: all work stops within the grace period, and the result says who asked and
        why.
        """

    async def result(self) -> Result:
        """Wait for the end.

        EngineError if the run was abandoned: the block around it was left by an exception.
        """

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...


class Control:
    """The means to cancel a run, before it has begun too; from its own trio thread."""

    def __init__(self) -> None:
        self.hurry = trio.Event()
        self._asked: str | None = None
        self._runner: Runner | None = None
        self._scheduler: Scheduler | None = None
        self._owner = ""

    def cancel(self, reason: str = CANCELLED) -> None:
        """Ask for the run to be cancelled; only the first reason counts."""
        self._asked = self._asked or reason
        if self._runner is not None:
            self._runner.cancel(reason)

    async def kill(self, reason: str = CANCELLED) -> None:
        """Cancel the run without a grace period; where there is no /proc, child processes still
        have theirs.
        """
        self.cancel(reason)
        while self._scheduler is not None and self._scheduler.pending:
            await trio.lowlevel.checkpoint()
        self.hurry.set()
        if self._owner:
            await processes.kill_strays(self._owner)

    def attach(self, scheduler: Scheduler, runner: Runner, owner: str) -> None:
        """The run has begun; its processes bear `owner`."""
        self._scheduler, self._runner, self._owner = scheduler, runner, owner
        if self._asked is not None:
            runner.cancel(self._asked)


@attrs.frozen
class Prepared:
    """A run whose inputs, environment and secrets are there."""

    plan: Plan
    values: Values
    options: Options
    run_id: str
    redactor: Redactor
    hides: bool
    """Whether there is a secret to keep out of what the run tells."""


def prepare(plan: Plan, given: Mapping[str, Any] | None, options: Options) -> Prepared:
    """Check all that a run needs before its first attempt; InputError lists what does not fit or is
    not set.
    """
    if not isinstance(plan, Plan):
        raise TypeError(
            f"expected a Plan, found `{type(plan).__name__}`: make it with `engine.load_plan`"
        )
    if plan.loops:
        raise EngineError(f"the plan of `{plan.name}` has unbounded loops: check it first")
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise InputError(
            (f"inputs are a mapping from names to values, not `{type(given).__name__}`",)
        )
    inputs, problems = child_inputs(plan, given)
    env, missing = chosen(plan, "env", (options.env, os.environ), "environment variable")
    hidden, unset = chosen(plan, "secrets", (options.secrets, os.environ), "secret")
    wrong = (*problems, *missing, *unset, *too_short(hidden))
    if wrong:
        raise InputError(wrong)
    run_id = options.run_id or random_source.token_hex(8)
    values = Values(inputs, env, hidden)
    return Prepared(plan, values, options, run_id, Redactor(hidden.values()), any(hidden.values()))


async def execute(prepared: Prepared, control: Control, hear: Hear | None = None) -> Result:
    """Run to the end. Of a run that was cancelled nothing is left when this returns or raises."""
    listeners = Listeners((prepared.options.on_event, hear))
    listen = _without_secrets(prepared, listeners) if listeners else None
    owner, before = _owner(prepared.run_id), processes.OWNER.get()
    reset = processes.OWNER.set(f"{before}/{owner}" if before else owner)
    done = False
    try:
        result = await _supervise(prepared, control, listen, owner)
        done = result.status != "cancelled"
        return result
    except BaseExceptionGroup as group:
        raise _single(group) from None
    finally:
        processes.OWNER.reset(reset)
        if not done and prepared.options.perform is None:
            await processes.kill_strays(owner)


async def _supervise(
    prepared: Prepared, control: Control, listen: Hear | None, owner: str
) -> Result:
    options, run_id, redactor = prepared.options, prepared.run_id, prepared.redactor
    seed = options.seed if options.seed is not None else run_id
    scheduler = Scheduler(prepared.plan, prepared.values, run_id, seed, listen)

    def note(attempt: LiveAttempt, message: str) -> None:
        runner.note(attempt, message)

    async with Workers() as workers:
        perform = options.perform or Performer(
            workers,
            run_id,
            options.grace,
            note,
            redactor.text,
            control.hurry,
        )
        runner = Runner(scheduler, perform, options.exact)
        control.attach(scheduler, runner, owner)
        return redactor.result(await runner.run())


def _without_secrets(prepared: Prepared, hear: Hear) -> Hear:
    if not prepared.hides:
        return hear
    return lambda event: hear(attrs.evolve(event, data=prepared.redactor.event(event.data)))


def _owner(run_id: str) -> str:
    """The token of a run's processes: the same for one id, so that a run whose engine was killed
    finds its own.
    """
    return hashlib.sha256(run_id.encode()).hexdigest()[:32]


def _single(error: BaseException) -> BaseException:
    """The exception in groups of one: what one cause raised is shown as itself."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def outermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery of ours caught, without the group around it if that is all; groups of others
    stay.
    """
    return group.exceptions[0] if len(group.exceptions) == 1 else group


class _TrioRun(Control):
    """A run under way in this trio thread."""

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.id = run_id
        self._send, self._receive = trio.open_memory_channel[Event](math.inf)
        self._over = trio.Event()
        self._result: Result | None = None

    async def result(self) -> Result:
        await self._over.wait()
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

    async def work(self, prepared: Prepared) -> None:
        """Run to the end, and let those who wait know."""
        self._result = await execute(prepared, self, self._send.send_nowait)
        self.leave()

    def leave(self) -> None:
        """There is nothing more to come.

        Those in the block hear of a failure by being cancelled, not by this.
        """
        self._send.close()
        self._over.set()


@asynccontextmanager
async def open_run(
    plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None
) -> AsyncIterator[_TrioRun]:
    """Start a run in the background; leaving the block waits for its end, an exception in the block
    cancels it.

    Raises InputError, before anything starts, for inputs that do not fit or names in `env` and
    `secrets` that are not set.
    """
    prepared = prepare(plan, inputs, options or Options())
    run = _TrioRun(prepared.run_id)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run.work, prepared)
            yield run
    except BaseExceptionGroup as group:
        raise outermost(group) from None
    finally:
        run.leave()


async def run_plan(
    plan: Plan, inputs: Mapping[str, Any] | None = None, options: Options | None = None
) -> Result:
    """Run a plan to its end.

    Raises InputError as `open_run` does, and EngineError if the world fails.
    """
    return await execute(prepare(plan, inputs, options or Options()), Control())
