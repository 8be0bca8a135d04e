"""A run of a plan on trio: open one, follow its events, cancel it, get its result.

What a run needs is checked before anything of it starts (`prepare`), then it is run to its end
(`execute`). Does not know how the caller came to be in trio. Source: LANGUAGE.md sections 8, 9 and
14.
"""

from __future__ import annotations

import hashlib
import math
import secrets as random_source
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from typing import Any, Protocol

import attrs
import trio

from engine import processes
from engine.diagnostics import nearest
from engine.errors import EngineError, InputError
from engine.events import Event
from engine.journal.dialects import attempts_of
from engine.people import Answer
from engine.plan import Plan
from engine.replay import Replayed, replay
from engine.result import ABSENT, Outcome, Result
from engine.runtime.asking import People
from engine.runtime.attempts import Performer
from engine.runtime.hooking import Hooking
from engine.runtime.listeners import Hear, Listeners
from engine.runtime.options import Options
from engine.runtime.places import placed
from engine.runtime.prepared import Prepared, prepare
from engine.runtime.recovery import Folders, recovered, said_by
from engine.runtime.resources import CannotOpen, Resources
from engine.runtime.runner import Perform, Runner
from engine.runtime.services import required, unwell
from engine.runtime.workers import Workers
from engine.runtime.writer import Writer
from engine.scheduler import LiveAttempt, Scheduler

__all__ = [
    "CANCELLED",
    "FROM_OUTSIDE",
    "Control",
    "Run",
    "check_node",
    "execute",
    "open_run",
    "outermost",
    "run_plan",
]

CANCELLED = "cancelled by the caller"
FROM_OUTSIDE = "the code around the run was cancelled"


class Run(Protocol):
    """A run under way.

    `async for event in run` gives each of its events once, from the first on.
    """

    id: str

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        """Cancel the run: all work stops within the grace period, and the result says who asked and
        why. With `node` that node alone: what waits for it is skipped, and the rest goes on.
        """

    async def result(self) -> Result:
        """Wait for the end.

        EngineError if the run was abandoned: the block around it was left by an exception.
        """

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...


class Control:
    """The means to cancel a run, before it has begun too; from its own trio thread."""

    reachable = False
    """Whether the caller can cancel single nodes."""

    def __init__(self) -> None:
        self.hurry = trio.Event()
        self._asked: str | None = None
        self._runner: Runner | None = None
        self._scheduler: Scheduler | None = None
        self._owner = ""
        self._people: People | None = None
        self._first: Control | None = None
        self._nodes: list[tuple[str, str]] = []
        """Nodes to be cancelled when the run has begun, and why."""

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        """Ask for the run, or one node, to be cancelled; only the first reason counts."""
        if node is not None:
            self._cancel_node(node, reason)
            return
        self._asked = self._asked or reason
        if self._first is not None:
            self._first.cancel(reason)
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

    def _cancel_node(self, node: str, reason: str) -> None:
        if self._runner is None:
            self._nodes.append((node, reason))
        else:
            self._runner.cancel(reason, node)

    @property
    def asked_for(self) -> bool:
        """Whether it has been asked to cancel."""
        return self._asked is not None

    @contextmanager
    def first(self) -> Iterator[Control]:
        """The means to cancel what is done before the run; a request is the run's too."""
        self._first = Control()
        if self._asked is not None:
            self._first.cancel(self._asked)
        try:
            yield self._first
        finally:
            self._first = None

    def asked(self, kind: str, data: Any) -> None:
        """Somebody asked something of the run from outside, or answered, or its journal failed."""
        if kind == "cancel_node":
            self.cancel(data["reason"], node=data["node"])
        elif kind != "answer":
            self.cancel(data)
        elif self._people is not None:
            self._people.answer(data["key"], Answer(data["option"], data["feedback"]))

    def attach(self, scheduler: Scheduler, runner: Runner, owner: str, people: People) -> None:
        """The run has begun; its processes bear `owner`."""
        self._scheduler, self._runner, self._owner = scheduler, runner, owner
        self._people = people
        for node, reason in self._nodes:
            self._cancel_node(node, reason)
        if self._asked is not None:
            runner.cancel(self._asked)


async def execute(prepared: Prepared, control: Control, hear: Hear | None = None) -> Result:
    """Run to the end. Of a run that was cancelled nothing is left when this returns or raises."""
    await _look(prepared, control)
    hooking = _hooking(prepared)
    if hooking is not None:
        await hooking.before_run(prepared.values.scope({})["inputs"])
    found = await placed(prepared)
    if isinstance(found, Result):
        return found
    prepared = found
    listeners = Listeners(
        (
            prepared.options.on_event,
            *prepared.options.sinks,
            hear,
            hooking.hear if hooking is not None else None,
        )
    )
    listen = _without_secrets(prepared, listeners) if listeners else None
    owner, before = _owner(prepared), processes.OWNER.get()
    reset = processes.OWNER.set(f"{before}/{owner}" if before else owner)
    done = False
    try:
        result = await _supervise(prepared, control, listen, owner, hooking)
        done = result.status != "cancelled"
    except BaseExceptionGroup as group:
        raise _single(group) from None
    finally:
        processes.OWNER.reset(reset)
        if not done and prepared.options.perform is None:
            await processes.kill_strays(owner)
    if result.status != "waiting" and (folders := _folders(prepared)) is not None:
        await trio.to_thread.run_sync(folders.remove)
    if hooking is not None:
        await hooking.after_run(result)
    return result


def _hooking(prepared: Prepared) -> Hooking | None:
    hooks = prepared.options.hooks
    if not hooks:
        return None
    return Hooking(hooks, prepared.run_id, prepared.plan.name, prepared.redactor.value)


async def _look(prepared: Prepared, control: Control) -> None:
    """InputError for services that are not well: nothing of the run has begun."""
    options = prepared.options
    if options.perform is not None or prepared.cancelled or not required(prepared.plan):
        return
    with control.first() as looks:
        given = prepared.values.scope({})["inputs"]
        problems = await unwell(prepared.plan, given, options, looks)
    if problems and not looks.asked_for:
        raise InputError(problems)


async def _supervise(
    prepared: Prepared,
    control: Control,
    listen: Hear | None,
    owner: str,
    hooking: Hooking | None,
) -> Result:
    options, redactor = prepared.options, prepared.redactor

    def note(attempt: LiveAttempt, message: str, progress: float | None) -> None:
        runner.note(attempt, message, progress)

    async with (
        Workers() as workers,
        _journal(prepared, control) as writer,
        _resources(prepared) as resources,
        hooking or nullcontext(),
    ):
        again = _begun(prepared, _heard(prepared, writer, listen))
        if prepared.before:
            again.scheduler.lose(again.scheduler.now)
        folders, known = _folders(prepared), prepared.known.ends
        opened, said = list(again.fresh), Counter[str]()
        if prepared.before or (prepared.place is not None and prepared.place.epoch > 1):
            adopted, begun = await recovered(again, folders, owner, known)
            opened, said = [*adopted, *begun], said_by(adopted, prepared.before)
        elif folders is not None:
            folders.remove()  # of a run with this id in a store that was here before
        if folders is not None:
            folders.make()
        perform = options.perform or Performer(
            workers,
            prepared.run_id,
            options.grace,
            note,
            redactor.text,
            control.hurry,
            folders,
            said,
        )
        people = People(options.ask, writer is not None, prepared.answers)
        runner = Runner(
            again.scheduler,
            _guarded(prepared, writer, perform, people, resources, hooking),
            options.exact,
            opened,
            parks=people.all_open,
            elapsed=prepared.elapsed,
            apart=prepared.place is not None or control.reachable,
        )
        people.when_open = runner.park
        if resources is not None:
            resources.hears, again.scheduler.unused = runner, resources.unused
        if prepared.cancelled is not None:
            control.cancel(prepared.cancelled)
        control.attach(again.scheduler, runner, owner, people)
        result = await runner.run()
        if resources is not None:
            resources.hears = None
        return redactor.result(result)


def _resources(prepared: Prepared) -> AbstractAsyncContextManager[Resources | None]:
    options = prepared.options
    if not prepared.plan.opens or options.perform is not None:
        return nullcontext()
    return Resources(prepared.run_id, options.grace, prepared.redactor.text)


def _folders(prepared: Prepared) -> Folders | None:
    place = prepared.place
    if place is None:
        return None
    return Folders(attempts_of(place.store, place.run), prepared.part)


def _begun(prepared: Prepared, hear: Hear | None) -> Replayed:
    """The scheduler of the run, where the journal of it ends."""

    def make(listen: Hear | None) -> Scheduler:
        return Scheduler(
            prepared.plan,
            prepared.values,
            prepared.run_id,
            prepared.seed,
            listen,
            prepared.known,
            prepared.since,
        )

    return replay(make, prepared.before, hear) if prepared.before else Replayed(make(hear), (), ())


def _guarded(
    prepared: Prepared,
    writer: Writer | None,
    perform: Perform,
    people: People,
    resources: Resources | None,
    hooking: Hooking | None,
) -> Perform:
    """Bodies begin when what led to them is kept, and no output holds a secret: what others read is
    what the journal has."""

    known = prepared.known.ends
    before = writer.before if writer is not None and writer.full else None
    asks, plain = prepared.plan.asks, resources is None and hooking is None
    if before is None and not known and not prepared.hides and not asks and plain:
        return perform
    ask: Perform = people if prepared.options.perform is None else perform

    async def guarded(attempt: LiveAttempt) -> Outcome:
        if known and attempt.key in known:
            return known[attempt.key]
        if before is not None:
            await before()
        if resources is not None and attempt.node.plan.uses:
            try:
                attempt.resources = await resources.given(attempt)
            except CannotOpen as error:
                return Outcome("error", error=prepared.redactor.text(str(error)))
        refused = await hooking.before(attempt) if hooking is not None else None
        if refused is not None:
            return refused
        outcome = await (ask if attempt.body.asks else perform)(attempt)
        if prepared.hides and outcome.output is not ABSENT:
            outcome = attrs.evolve(outcome, output=prepared.redactor.value(outcome.output))
        if hooking is not None:
            await hooking.after(attempt, outcome)
        return outcome

    return guarded


def _journal(prepared: Prepared, control: Control) -> AbstractAsyncContextManager[Writer | None]:
    if prepared.place is None:
        return nullcontext()
    return Writer(prepared.place, prepared.options.durability, control.asked)


def _heard(prepared: Prepared, writer: Writer | None, listen: Hear | None) -> Hear | None:
    """Who hears the events: the journal first."""
    if writer is None:
        return listen
    keep = _without_secrets(prepared, writer.emit)
    if listen is None:
        return keep

    def both(event: Event) -> None:
        keep(event)
        listen(event)

    return both


def _without_secrets(prepared: Prepared, hear: Hear) -> Hear:
    if not prepared.hides:
        return hear
    return lambda event: hear(attrs.evolve(event, data=prepared.redactor.event(event.data)))


def _owner(prepared: Prepared) -> str:
    """The token of a run's processes: of one that is kept always the same, so that a run whose engine
    was killed finds its own; never that of a run with this id elsewhere.
    """
    place = prepared.place
    if place is None:
        return random_source.token_hex(16)
    kept = str(attempts_of(place.store, place.run))
    return hashlib.sha256(kept.encode()).hexdigest()[:32]


def _single(error: BaseException) -> BaseException:
    """The exception in groups of one, in however many places it was raised: what one cause raised is
    shown as itself."""
    while isinstance(error, BaseExceptionGroup) and len({*map(_single, error.exceptions)}) == 1:
        error = error.exceptions[0]
    return error


def outermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery of ours caught, without the group around it if that is all; groups of others
    stay.
    """
    return group.exceptions[0] if len(group.exceptions) == 1 else group


def check_node(plan: Plan, node: str) -> None:
    """InputError if a plan has no such node."""
    if node not in plan.index:
        guess = nearest(node, plan.index)
        cure = f", did you mean `{guess}`?" if guess else ""
        raise InputError((f"there is no node `{node}`{cure}",))


class _TrioRun(Control):
    """A run under way in this trio thread."""

    reachable = True

    def __init__(self, prepared: Prepared) -> None:
        super().__init__()
        self.id = prepared.run_id
        self._plan = prepared.plan
        self._send, self._receive = trio.open_memory_channel[Event](math.inf)
        self._over = trio.Event()
        self._result: Result | None = None

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        if node is not None:
            check_node(self._plan, node)
        super().cancel(reason, node=node)

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
    run = _TrioRun(prepared)
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
