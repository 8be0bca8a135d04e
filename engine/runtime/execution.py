"""Execute a prepared run: open all that a run needs around its scheduler, run it, and close it.

Source: docs/language.md, "Resources", "Cancellation".
"""

from __future__ import annotations

import hashlib
import secrets as random_source
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from engine.errors import InputError
from engine.journal.databases import attempts_of
from engine.processes import children
from engine.record.events import Event
from engine.record.result import ABSENT, Outcome, Result
from engine.runtime.admission import placed
from engine.runtime.control import Control
from engine.runtime.driver import Perform, Runner
from engine.runtime.exception_groups import single, unwrapped
from engine.runtime.journal_writer import Writer
from engine.runtime.listeners import Hear, Listeners
from engine.runtime.preparation import Prepared
from engine.runtime.questions import People
from engine.runtime.recovery import Folders, recovered, said_by
from engine.runtime.service_checks import required, unwell
from engine.runtime.task_runner import Performer
from engine.runtime.tool_calls import tools_of
from engine.runtime.workers import Workers
from engine.scheduling.replay import Replayed, replay
from engine.scheduling.scheduler import LiveAttempt, Scheduler
from engine.scheduling.state import LiveRun

if TYPE_CHECKING:
    from engine.runtime.hook_calls import Hooking
    from engine.runtime.resources import Opening, Resources

__all__ = ["execute"]


async def execute(prepared: Prepared, control: Control, hear: Hear | None = None) -> Result:
    """Execute a prepared run to its end and return the result.

    Nothing of a cancelled run is left when this returns or raises. A trio checkpoint.
    """
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
    owner, before = _owner(prepared), children.OWNER.get()
    reset = children.OWNER.set(f"{before}/{owner}" if before else owner)
    done = False
    try:
        with unwrapped(single):
            result = await _supervise(prepared, control, listen, owner, hooking)
        done = result.status != "cancelled"
    finally:
        children.OWNER.reset(reset)
        if not done and prepared.options.perform is None:
            await children.kill_strays(owner)
    if result.status != "waiting" and (folders := _folders(prepared)) is not None:
        await trio.to_thread.run_sync(folders.remove)
    if hooking is not None:
        await hooking.after_run(result)
    return result


def _hooking(prepared: Prepared) -> Hooking | None:
    hooks = prepared.options.hooks
    if not hooks:
        return None
    from engine.runtime.hook_calls import Hooking

    return Hooking(hooks, prepared.run_id, prepared.plan.name, prepared.redactor.value)


async def _look(prepared: Prepared, control: Control) -> None:
    """Raise InputError for failed services, before anything of the run has begun."""
    options = prepared.options
    if options.perform is not None or prepared.cancelled or not required(prepared.plan):
        return
    with control.first() as looks:
        given = prepared.values.scope({})["inputs"]
        problems = await unwell(execute, prepared.plan, given, options, looks)
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

    def park() -> None:
        runner.park()

    over = False

    def hears() -> Runner | None:
        return None if over else runner

    async with (
        Workers() as workers,
        _journal(prepared, control) as writer,
        _resources(prepared, hears) as resources,
        hooking.telling() if hooking is not None else nullcontext(),
    ):
        unused = resources.unused if resources is not None else None
        again = _begun(prepared, _heard(prepared, writer, listen), unused)
        if prepared.before:
            again.scheduler.lose(again.scheduler.now)
        folders = _folders(prepared)
        opened, said = await _opened(prepared, again, folders, owner)
        perform = options.perform or Performer(
            workers,
            prepared.run_id,
            options.grace,
            note,
            redactor.text,
            partial(tools_of, execute, options, prepared.run_id),
            control.hurry,
            folders,
            said,
        )
        people = People(options.ask, writer is not None, prepared.answers, park)
        runner = Runner(
            again.scheduler,
            _guarded(prepared, writer, perform, people, resources, hooking),
            options.exact,
            opened,
            parks=people.all_open,
            elapsed=prepared.elapsed,
            apart=prepared.place is not None or control.reachable,
        )
        if prepared.cancelled is not None:
            control.cancel(prepared.cancelled)
        control.attach(again.scheduler, runner, owner, people)
        result = await runner.run()
        over = True
        return redactor.result(result)


async def _opened(
    prepared: Prepared, again: Replayed, folders: Folders | None, owner: str
) -> tuple[list[LiveAttempt], Counter[str]]:
    """Return the attempts that are open as the run begins or resumes, and the number of their recorded progress messages.

    Their directories exist afterwards.
    """
    opened, said = list(again.fresh), Counter[str]()
    if prepared.before or (prepared.place is not None and prepared.place.epoch > 1):
        adopted, begun = await recovered(again, folders, owner, prepared.known.ends)
        opened, said = [*adopted, *begun], said_by(adopted, prepared.before)
    elif folders is not None:
        folders.remove()  # of a run with this id in a store that was here before
    if folders is not None:
        folders.make()
    return opened, said


def _resources(
    prepared: Prepared, hears: Callable[[], Opening | None]
) -> AbstractAsyncContextManager[Resources | None]:
    options = prepared.options
    if not prepared.plan.opens or options.perform is not None:
        return nullcontext()
    from engine.runtime.resources import Resources

    return Resources(prepared.run_id, options.grace, prepared.redactor.text, hears).kept()


def _folders(prepared: Prepared) -> Folders | None:
    place = prepared.place
    if place is None:
        return None
    return Folders(attempts_of(place.store, place.run), prepared.part)


def _begun(
    prepared: Prepared, hear: Hear | None, unused: Callable[[LiveRun, str], None] | None
) -> Replayed:
    """Return the scheduler of the run, in the state in which its journal ends."""

    def make(listen: Hear | None) -> Scheduler:
        return Scheduler(
            prepared.plan,
            prepared.values,
            prepared.run_id,
            prepared.seed,
            listen,
            prepared.known,
            prepared.since,
            unused,
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
    """Wrap `perform`: a body starts after the events before it are stored, and no output contains a secret.

    So what other bodies read is what the journal has.
    """

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
            from engine.runtime.resources import CannotOpen

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
    """Return the function that receives all events; the journal gets them first."""
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
    """Return the token of a run's processes.

    For a stored run it is always the same, so that a run whose engine was killed finds its own processes; it is never that of a
    run with the same id elsewhere.
    """
    place = prepared.place
    if place is None:
        return random_source.token_hex(16)
    kept = str(attempts_of(place.store, place.run))
    return hashlib.sha256(kept.encode()).hexdigest()[:32]
