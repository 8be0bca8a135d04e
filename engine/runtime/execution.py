"""Execute a prepared run: open all that a run needs around its scheduler, run it, and close it.

Source: docs/language.md, "Services", "Resources", "Cancellation".
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
from engine.journal.databases import locate_attempts
from engine.processes import children
from engine.record.events import Event
from engine.record.result import ABSENT, Outcome, Result
from engine.runtime.admission import admit
from engine.runtime.control import Control
from engine.runtime.driver import Driver, RunAttempt
from engine.runtime.exception_groups import unwrap_all, unwrap_groups
from engine.runtime.journal_writer import JournalWriter
from engine.runtime.listeners import Listener, Listeners
from engine.runtime.preparation import PreparedRun
from engine.runtime.questions import QuestionBoard
from engine.runtime.recovery import AttemptDirectories, count_logged_lines, recover_attempts
from engine.runtime.service_checks import find_failed_services, requires_services
from engine.runtime.task_runner import TaskRunner
from engine.runtime.tool_calls import build_tools
from engine.runtime.workers import Workers
from engine.scheduling.replay import Replayed, replay
from engine.scheduling.scheduler import AttemptState, Scheduler
from engine.scheduling.state import RunState

if TYPE_CHECKING:
    from engine.runtime.hook_calls import HookCaller
    from engine.runtime.resources import ResourceListener, Resources

__all__ = ["execute"]


async def execute(
    prepared: PreparedRun, control: Control, listener: Listener | None = None
) -> Result:
    """Execute a prepared run to its end and return the result.

    Nothing of a cancelled run is left when this returns or raises. A trio checkpoint.
    """
    await _check_services(prepared, control)
    hooking = _build_hook_caller(prepared)
    if hooking is not None:
        await hooking.before_run(prepared.values.build_scope({})["inputs"])
    found = await admit(prepared)
    if isinstance(found, Result):
        return found
    prepared = found
    listeners = Listeners(
        (
            prepared.options.on_event,
            *prepared.options.sinks,
            listener,
            hooking.on_event if hooking is not None else None,
        )
    )
    listen = _redact_events(prepared, listeners) if listeners else None
    owner, before = _build_owner_token(prepared), children.OWNER_TOKEN.get()
    reset = children.OWNER_TOKEN.set(f"{before}/{owner}" if before else owner)
    done = False
    try:
        with unwrap_groups(unwrap_all):
            result = await _run_supervised(prepared, control, listen, owner, hooking)
        done = result.status != "cancelled"
    finally:
        children.OWNER_TOKEN.reset(reset)
        if not done and prepared.options.perform is None:
            await children.kill_escaped(owner)
    if result.status != "waiting" and (folders := _build_attempt_directories(prepared)) is not None:
        await trio.to_thread.run_sync(folders.remove_all)
    if hooking is not None:
        await hooking.after_run(result)
    return result


def _build_hook_caller(prepared: PreparedRun) -> HookCaller | None:
    hooks = prepared.options.hooks
    if not hooks:
        return None
    from engine.runtime.hook_calls import HookCaller

    return HookCaller(hooks, prepared.run_id, prepared.plan.name, prepared.redactor.redact_value)


async def _check_services(prepared: PreparedRun, control: Control) -> None:
    """Raise InputError for failed services, before anything of the run has begun."""
    options = prepared.options
    if (
        options.perform is not None
        or prepared.cancel_reason
        or not requires_services(prepared.plan)
    ):
        return
    with control.before_run() as checks:
        given = prepared.values.build_scope({})["inputs"]
        problems = await find_failed_services(execute, prepared.plan, given, options, checks)
    if problems and not checks.is_cancel_requested:
        raise InputError(problems)


async def _run_supervised(
    prepared: PreparedRun,
    control: Control,
    listen: Listener | None,
    owner: str,
    hooking: HookCaller | None,
) -> Result:
    options, redactor = prepared.options, prepared.redactor

    def note(attempt: AttemptState, message: str, progress: float | None) -> None:
        runner.note(attempt, message, progress)

    def suspend() -> None:
        runner.suspend()

    over = False

    def find_listener() -> Driver | None:
        return None if over else runner

    async with (
        Workers() as workers,
        _open_journal(prepared, control) as writer,
        _open_resources(prepared, find_listener) as resources,
        hooking.deliver() if hooking is not None else nullcontext(),
    ):
        unused = resources.release if resources is not None else None
        again = _build_scheduler(prepared, _build_listener(prepared, writer, listen), unused)
        if prepared.events:
            again.scheduler.release_resources(again.scheduler.now)
        folders = _build_attempt_directories(prepared)
        opened, said = await _open_attempts(prepared, again, folders, owner)
        perform = options.perform or TaskRunner(
            workers,
            prepared.run_id,
            options.grace,
            note,
            redactor.redact_text,
            partial(build_tools, execute, options, prepared.run_id),
            control.skip_grace,
            folders,
            said,
        )
        people = QuestionBoard(options.ask, writer is not None, prepared.given_answers, suspend)
        runner = Driver(
            again.scheduler,
            _with_guards(prepared, writer, perform, people, resources, hooking),
            options.exact,
            opened,
            may_suspend=people.has_all_open,
            waited=prepared.waited,
            scope_per_attempt=prepared.journal_target is not None or control.can_cancel_nodes,
        )
        if prepared.cancel_reason is not None:
            control.cancel(prepared.cancel_reason)
        control.attach(again.scheduler, runner, owner, people)
        result = await runner.run()
        over = True
        return redactor.redact_result(result)


async def _open_attempts(
    prepared: PreparedRun, replayed: Replayed, directories: AttemptDirectories | None, owner: str
) -> tuple[list[AttemptState], Counter[str]]:
    """Return the attempts that are open as the run begins or resumes, and the number of their recorded progress messages.

    Their directories exist afterwards.
    """
    opened, said = list(replayed.fresh), Counter[str]()
    if prepared.events or (
        prepared.journal_target is not None and prepared.journal_target.epoch > 1
    ):
        adopted, begun = await recover_attempts(
            replayed, directories, owner, prepared.carried_over.outcomes
        )
        opened, said = [*adopted, *begun], count_logged_lines(adopted, prepared.events)
    elif directories is not None:
        directories.remove_all()  # of a run with this id in a store that was here before
    if directories is not None:
        directories.create()
    return opened, said


def _open_resources(
    prepared: PreparedRun, find_listener: Callable[[], ResourceListener | None]
) -> AbstractAsyncContextManager[Resources | None]:
    options = prepared.options
    if not prepared.plan.has_resources or options.perform is not None:
        return nullcontext()
    from engine.runtime.resources import Resources

    return Resources(
        prepared.run_id, options.grace, prepared.redactor.redact_text, find_listener
    ).manage()


def _build_attempt_directories(prepared: PreparedRun) -> AttemptDirectories | None:
    place = prepared.journal_target
    if place is None:
        return None
    return AttemptDirectories(locate_attempts(place.store, place.run), prepared.restarts)


def _build_scheduler(
    prepared: PreparedRun,
    listener: Listener | None,
    on_unused: Callable[[RunState, str], None] | None,
) -> Replayed:
    """Return the scheduler of the run, in the state in which its journal ends."""

    def make(listen: Listener | None) -> Scheduler:
        return Scheduler(
            prepared.plan,
            prepared.values,
            prepared.run_id,
            prepared.seed,
            listen,
            prepared.carried_over,
            prepared.start_time,
            on_unused,
        )

    return (
        replay(make, prepared.events, listener)
        if prepared.events
        else Replayed(make(listener), (), ())
    )


def _with_guards(
    prepared: PreparedRun,
    writer: JournalWriter | None,
    perform: RunAttempt,
    people: QuestionBoard,
    resources: Resources | None,
    hooking: HookCaller | None,
) -> RunAttempt:
    """Wrap `perform`: a body starts after the events before it are stored, and no output contains a secret.

    So what other bodies read is what the journal has.
    """

    known = prepared.carried_over.outcomes
    before = writer.wait_written if writer is not None and writer.is_full else None
    asks, plain = prepared.plan.needs_person, resources is None and hooking is None
    if before is None and not known and not prepared.has_secrets and not asks and plain:
        return perform
    ask: RunAttempt = people if prepared.options.perform is None else perform

    async def guarded(attempt: AttemptState) -> Outcome:
        if known and attempt.key in known:
            return known[attempt.key]
        if before is not None:
            await before()
        if resources is not None and attempt.node.plan.uses:
            from engine.runtime.resources import ResourceError

            try:
                attempt.resources = await resources.acquire(attempt)
            except ResourceError as error:
                return Outcome("error", error=prepared.redactor.redact_text(str(error)))
        refused = await hooking.before_attempt(attempt) if hooking is not None else None
        if refused is not None:
            return refused
        outcome = await (ask if attempt.body.needs_person else perform)(attempt)
        if prepared.has_secrets and outcome.output is not ABSENT:
            outcome = attrs.evolve(outcome, output=prepared.redactor.redact_value(outcome.output))
        if hooking is not None:
            await hooking.after_attempt(attempt, outcome)
        return outcome

    return guarded


def _open_journal(
    prepared: PreparedRun, control: Control
) -> AbstractAsyncContextManager[JournalWriter | None]:
    if prepared.journal_target is None:
        return nullcontext()
    return JournalWriter(
        prepared.journal_target, prepared.options.durability, control.handle_request
    )


def _build_listener(
    prepared: PreparedRun, writer: JournalWriter | None, listen: Listener | None
) -> Listener | None:
    """Return the function that receives all events; the journal gets them first."""
    if writer is None:
        return listen
    keep = _redact_events(prepared, writer.emit)
    if listen is None:
        return keep

    def both(event: Event) -> None:
        keep(event)
        listen(event)

    return both


def _redact_events(prepared: PreparedRun, listener: Listener) -> Listener:
    if not prepared.has_secrets:
        return listener
    return lambda event: listener(
        attrs.evolve(event, data=prepared.redactor.redact_event(event.data))
    )


def _build_owner_token(prepared: PreparedRun) -> str:
    """Return the token of a run's processes.

    For a stored run it is always the same, so that a run whose engine was killed finds its own processes; it is never
    that of a run with the same id elsewhere.
    """
    place = prepared.journal_target
    if place is None:
        return random_source.token_hex(16)
    kept = str(locate_attempts(place.store, place.run))
    return hashlib.sha256(kept.encode()).hexdigest()[:32]
