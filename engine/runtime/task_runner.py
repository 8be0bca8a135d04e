"""Run one attempt of a task for real, and turn its end into an `Outcome`.

The body runs where its executor says. This is the one place that turns a task's exception into the outcome `error`.
Cancellation always passes. Outputs are converted to plain JSON and validated against the task's schema.
Source: docs/language.md, "Outcomes", "Limits", "Cancellation".
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import attrs
import trio

from engine.base.classes import define
from engine.base.suggestions import closest_match
from engine.processes import output_capture
from engine.record.result import Outcome
from engine.runtime.recovery import AttemptDirectories, resolve_attempt_executor
from engine.runtime.threads import call_in_trio, run_in_thread
from engine.runtime.workers import Died, Failed, Value, Workers
from engine.scheduling.scheduler import AttemptState
from engine.schemas.validation import validate_value
from engine.sdk.context import PROGRESS_PREFIX, Context, Exit, Failure, Permanent, RetryAfter, Tool
from engine.sdk.task import Task

__all__ = ["TaskRunner", "describe_exception", "to_json_value"]

_LOCAL_FIELDS = ("note", "resources", "tools")
"""The fields of a context that exist only in the run's own process."""
_MAX_MESSAGE_LENGTH = 4000
"""The length at which an error message is cut, in characters."""

_MAX_DEPTH = 200
_MAX_INTEGER_BITS = 14_000
"""The size limit of an integer in bits; Python writes and reads no more than 4300 digits."""


@define(eq=False)
class TaskRunner:
    """Runs task bodies for one run, in worker processes where needed; call it with an attempt.

    `on_note` receives progress messages, `redact` removes secrets from messages, `grace` is in seconds.
    """

    workers: Workers
    run_id: str
    grace: float
    on_note: Callable[[AttemptState, str, float | None], None]
    redact: Callable[[str], str]
    tools_for: Callable[[AttemptState, Callable[[str], None]], Mapping[tuple[str, str], Tool]]
    """Returns the tools that an attempt's body may call, given the function that receives their progress messages."""
    skip_grace: trio.Event = attrs.field(factory=trio.Event)
    """Set when the run waits for threads no longer."""
    directories: AttemptDirectories | None = None
    """Directories of bodies that survive the engine's process; None if there are none."""
    logged_line_counts: Counter[str] = attrs.field(factory=Counter)
    """The number of progress messages of an attempt, by its key, that an earlier engine has already recorded."""
    thread_id: int = attrs.field(factory=threading.get_ident, init=False)
    token: trio.lowlevel.TrioToken = attrs.field(
        factory=trio.lowlevel.current_trio_token, init=False
    )
    """The way into the run's own thread from other threads."""

    async def __call__(self, attempt: AttemptState) -> Outcome:
        """Run the attempt's body to its end and return the outcome; a trio checkpoint for bodies that are."""
        task = attempt.body.task
        assert task is not None
        capture = (
            output_capture.begin_attempt_output(partial(self._record_note, attempt))
            if output_capture.is_capturing()
            else None
        )
        try:
            if task.function is None:  # the common case, without a coroutine in between
                inputs = (
                    attempt.inputs if attempt.body.with_.is_constant else _copy_json(attempt.inputs)
                )
                value = await task.body(
                    inputs, self._build_context(attempt, partial(self._record_note, attempt))
                )
            else:
                value = await self._run_body(attempt, task)
        except BaseException as error:  # a task may raise anything, and here it becomes `error`
            _reraise_cancellation(error)
            return self._convert_exception(error)
        finally:
            if capture is not None:
                output_capture.end_attempt_output(capture)
        return self._convert_value(attempt, task, value)

    async def _run_body(self, attempt: AttemptState, task: Task) -> Any:
        executor = resolve_attempt_executor(attempt)
        if executor == "async":
            return await task.body(
                _copy_json(attempt.inputs),
                self._build_context(attempt, partial(self._record_note, attempt)),
            )
        if executor == "process":
            assert task.target is not None
            return await self._run_in_worker(attempt, task.target)
        return await self._run_in_thread(attempt, task)

    async def _run_in_thread(self, attempt: AttemptState, task: Task) -> Any:
        from engine.sdk.decorator import call_arguments, unstructure_result

        assert task.function is not None
        function = task.function
        context = self._build_context(attempt, partial(self._record_note, attempt))
        inputs = _copy_json(attempt.inputs)

        def call() -> Any:
            return unstructure_result(function(**call_arguments(task, inputs, context)))

        return await run_in_thread(call, self.grace, self.skip_grace, f"engine {attempt.path}")

    async def _run_in_worker(self, attempt: AttemptState, target: str) -> Any:
        context = self._build_context(attempt, partial(self._record_note, attempt))
        fields = attrs.asdict(context, filter=lambda field, _: field.name not in _LOCAL_FIELDS)
        reply = await self.workers.call(
            target, (context.folder,), attempt.inputs, fields, self.grace, context.note
        )
        match reply:
            case Value():
                return reply.value
            case Failed():
                return Outcome(
                    "error",
                    error=reply.message,
                    permanent=reply.permanent,
                    retry_after=reply.retry_after,
                )
            case Died():
                return Outcome("error", error=reply.message)
            case Exit():
                return reply

    def _build_context(self, attempt: AttemptState, note: Callable[[str], None]) -> Context:
        node, record = attempt.node, attempt.record
        plan = node.run.plan
        return Context(  # by place: names would cost a tenth of an attempt
            self.run_id,
            plan.name,
            node.plan.name,
            record.step,
            record.visit,
            record.attempt,
            f"{self.run_id}/{attempt.key}",
            plan.directory,
            self.grace,
            note,
            attempt.resources,
            self.directories.directory_of(attempt) if self.directories else None,
            [each.to_json() for each in node.attempts[:-1]] if len(node.attempts) > 1 else (),
            node.steps or {},
            node.run.values.state,
            self.tools_for(attempt, note) if attempt.body.called_plans else {},
        )

    def _record_note(self, attempt: AttemptState, message: str) -> None:
        """Record a progress message, from any thread; messages after the attempt's end are ignored."""
        if self.logged_line_counts and self.logged_line_counts[attempt.key]:
            self.logged_line_counts[attempt.key] -= 1
            return
        text = self.redact(str(message))
        if threading.get_ident() == self.thread_id:
            self._emit_note(attempt, text)
        else:
            call_in_trio(self.token, self._emit_note, attempt, text)

    def _emit_note(self, attempt: AttemptState, text: str) -> None:
        if attempt.is_over:
            return
        share, _, message = text.removeprefix(PROGRESS_PREFIX).partition(" ")
        try:
            progress = float(share) if text.startswith(PROGRESS_PREFIX) else None
        except ValueError:  # the prefix is not from `report`
            progress = None
        shown = text if progress is None else f"{progress:.0%} {message}".rstrip()
        self.on_note(attempt, shown, progress)

    # -- outcomes ---------------------------------------------------------------------------------

    def _convert_value(self, attempt: AttemptState, task: Task, value: Any) -> Outcome:
        """Turn an `Exit` or a plain value into an outcome; a value that the task may not return becomes `error`."""
        if isinstance(value, Outcome):
            return self._build_error_outcome(value.error or "", value.permanent, value.retry_after)
        end = value if isinstance(value, Exit) else Exit(0, value)
        code = end.code if type(end.code) is int else _resolve_exit_code(attempt, end.code)
        if code is None or not 0 <= code <= 255:
            return self._build_error_outcome(
                f"`{task.id}` has no exit `{end.code}`{_suggest_exit(attempt, end.code)}"
            )
        try:
            output = None if end.output is None else to_json_value(end.output)
        except ValueError as error:
            return self._build_error_outcome(f"the output is not JSON: {error}")
        if (
            task.output_contract == "checked"
            and task.output_schema is not None
            and (code == 0 or output is not None)
        ):
            problems = validate_value(task.output_schema, output)
            if problems:
                return self._build_error_outcome("output: " + "; ".join(map(str, problems)))
        if end.retry_after is not None and _is_invalid_delay(end.retry_after):
            return self._build_error_outcome(_INVALID_DELAY)
        return Outcome(code, output, None, bool(end.permanent), end.retry_after)

    def _convert_exception(self, error: BaseException) -> Outcome:
        message = describe_exception(error)
        if isinstance(error, RetryAfter):
            if _is_invalid_delay(error.seconds):
                return self._build_error_outcome(f"{message}: {_INVALID_DELAY}")
            return self._build_error_outcome(message, retry_after=error.seconds)
        return self._build_error_outcome(message, permanent=isinstance(error, Permanent))

    def _build_error_outcome(
        self, message: str, permanent: bool = False, retry_after: float | None = None
    ) -> Outcome:
        message = self.redact(message)
        if len(message) > _MAX_MESSAGE_LENGTH:
            message = message[:_MAX_MESSAGE_LENGTH] + " …"
        return Outcome("error", error=message, permanent=permanent, retry_after=retry_after)


_INVALID_DELAY = "the time to wait is not a valid number of seconds"


def _is_invalid_delay(value: object) -> bool:
    """Return whether a requested delay is not a valid number of seconds."""
    return isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0


def _reraise_cancellation(error: BaseException) -> None:
    """Reraise a cancellation, an interrupt or a GeneratorExit, also out of exception groups.

    Other errors in a group with a cancellation are consequences of it.
    """
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            _reraise_cancellation(part)
    elif isinstance(error, (trio.Cancelled, KeyboardInterrupt, GeneratorExit)):
        raise error


def _resolve_exit_code(attempt: AttemptState, code: object) -> int | None:
    """Return the code of an exit that a task named or numbered; None if there is none."""
    if isinstance(code, str):
        return _get_exits(attempt).get(code)
    if isinstance(code, bool) or not isinstance(code, int):
        return None
    return int(code)


def _suggest_exit(attempt: AttemptState, code: object) -> str:
    guess = closest_match(code, _get_exits(attempt)) if isinstance(code, str) else None
    return f", did you mean `{guess}`?" if guess else ""


def _get_exits(attempt: AttemptState) -> Mapping[str, int]:
    state = attempt.node.state
    assert state is not None
    return attempt.node.plan.machine.steps[state.step].aliases


def describe_exception(error: BaseException) -> str:
    """Describe an exception: its message and where it was raised, with its type if that adds something."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe_exception(part) for part in error.exceptions)
    try:
        text = str(error).strip()
    except Exception:  # the task's own, which cannot even say what it is
        text = ""
    if isinstance(error, (Failure, Permanent, RetryAfter)) and text:
        return text
    said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    from engine.sdk.tracebacks import find_user_location

    place = find_user_location(error)
    return f"{said} ({place})" if place else said


def to_json_value(value: Any, depth: int = 0) -> Any:
    """Return a copy of a value in JSON's types; raises ValueError that names what JSON does not have."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _check_text(value)
    if isinstance(value, int):
        return _check_integer(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"the number {value}")
        return float(value)
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested more than {_MAX_DEPTH} levels deep, or contains itself")
    if isinstance(value, (list, tuple)):
        return [to_json_value(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise ValueError(f"the key {wrong!r}, which is not a string")
        return {_check_text(key): to_json_value(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"a value of type `{type(value).__name__}`")


def _copy_json(value: Any) -> Any:
    """Return a copy of a JSON value that a task may change without changing what others read."""
    if isinstance(value, Mapping):
        return {key: _copy_json(item) for key, item in value.items()}
    return [_copy_json(item) for item in value] if isinstance(value, (list, tuple)) else value


def _check_text(value: str) -> str:
    try:
        value.isascii() or value.encode()
    except UnicodeEncodeError:
        raise ValueError("a text with a lone surrogate, half a character") from None
    return value if type(value) is str else str.__str__(value)


def _check_integer(value: int) -> int:
    if value.bit_length() > _MAX_INTEGER_BITS:
        raise ValueError("an integer with more digits than JSON parsers accept")
    return int(value)
