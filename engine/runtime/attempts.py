"""One attempt of a task for real: runs the body where its executor says, and turns how it ended into an `Outcome`.

The one place that turns a task's exception into the outcome `error`. Cancellation always passes. Outputs are made plain JSON and
checked against the task's schema. Source: LANGUAGE.md sections 3, 9 and 14.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from engine.functions import call_arguments, plain_result
from engine.registry import Context, Exit, Permanent, RetryAfter, Task
from engine.result import Outcome
from engine.runtime.threads import run_in_thread
from engine.runtime.workers import Died, Failed, Value, Workers
from engine.scheduler import LiveAttempt
from engine.schemas import misfits

__all__ = ["Performer"]

_LONGEST = 4000


@attrs.define(eq=False)
class Performer:
    """Runs bodies for one run, in its worker processes where they must be. Call it with an attempt.

    `note` is told of progress, `redact` takes secrets out of messages, `grace` is in seconds.
    """

    workers: Workers
    run_id: str
    grace: float
    note: Callable[[LiveAttempt, str], None]
    redact: Callable[[str], str]

    async def __call__(self, attempt: LiveAttempt) -> Outcome:
        """Run the attempt's body to its end."""
        task = attempt.body.task
        assert task is not None
        try:
            value = await self._value(attempt, task)
        except Permanent as error:
            return self._error(_told(error), permanent=True)
        except RetryAfter as error:
            return self._error(_told(error), retry_after=error.seconds)
        except Exception as error:  # a task may raise anything, and here it becomes `error`
            return self._error(_told(error))
        return self._outcome(attempt, task, value)

    async def _value(self, attempt: LiveAttempt, task: Task) -> Any:
        executor = (attempt.node.plan.executor if task.function else None) or task.executor
        context = self._context(attempt)
        if executor == "async":
            return await task.body(attempt.inputs, context)
        if executor == "process" and task.target:
            return await self._in_worker(attempt, task.target, context)
        assert task.function is not None
        arguments = call_arguments(task, attempt.inputs, context)
        return plain_result(await run_in_thread(task.function, arguments, self.grace))

    async def _in_worker(self, attempt: LiveAttempt, target: str, context: Context) -> Any:
        fields = attrs.asdict(context, filter=lambda field, _: field.name != "note")
        reply = await self.workers.call(
            target, (context.folder,), attempt.inputs, fields, self.grace, context.note
        )
        match reply:
            case Value():
                return reply.value
            case Failed():
                return Outcome(
                    "error", error=reply.message, permanent=reply.permanent, retry_after=reply.retry_after
                )
            case Died():
                return Outcome("error", error=reply.message)
            case Exit():
                return reply

    def _context(self, attempt: LiveAttempt) -> Context:
        node, record = attempt.node, attempt.record
        return Context(
            run_id=self.run_id,
            pipeline=node.run.plan.name,
            node=node.plan.name,
            step=record.step,
            visit=record.visit,
            attempt=record.attempt,
            key=f"{self.run_id}/{attempt.key}",
            folder=node.run.plan.folder,
            grace=self.grace,
            note=lambda message: self.note(attempt, self.redact(str(message))),
        )

    # -- how it ended ------------------------------------------------------------------------------------------

    def _outcome(self, attempt: LiveAttempt, task: Task, value: Any) -> Outcome:
        """An `Exit` or a plain value as an outcome; what the task may not give is `error`."""
        if isinstance(value, Outcome):
            return attrs.evolve(value, error=self.redact(value.error or ""))
        end = value if isinstance(value, Exit) else Exit(0, value)
        code = _code(attempt, end.code)
        if code is None:
            return self._error(f"`{task.id}` has no exit `{end.code}`")
        try:
            output = plain(end.output)
        except ValueError as error:
            return self._error(f"the output is not JSON: {error}")
        if task.output_schema is not None and code == 0:
            problems = misfits(task.output_schema, output)
            if problems:
                return self._error("output: " + "; ".join(map(str, problems)))
        return Outcome(code, output, None, end.permanent, end.retry_after)

    def _error(self, message: str, permanent: bool = False, retry_after: float | None = None) -> Outcome:
        message = self.redact(message)
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + " …"
        return Outcome("error", error=message, permanent=permanent, retry_after=retry_after)


def _code(attempt: LiveAttempt, code: int | str) -> int | None:
    """The number of an exit that a task named or numbered; None if there is no such."""
    if isinstance(code, str):
        state = attempt.node.state
        assert state is not None
        return attempt.node.plan.machine.steps[state.step].aliases.get(code)
    return int(code) if 0 <= code <= 255 else None


def _told(error: BaseException) -> str:
    """What an exception says; its type where that says more."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_told(part) for part in error.exceptions)
    text = str(error).strip()
    if isinstance(error, (Permanent, RetryAfter)) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def plain(value: Any) -> Any:
    """A copy of a value in JSON's types; ValueError names what JSON does not have."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"the number {value}")
        return float(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        wrong = next((key for key in value if not isinstance(key, str)), None)
        if wrong is not None:
            raise ValueError(f"the key {wrong!r}, which is no string")
        return {str(key): plain(item) for key, item in value.items()}
    raise ValueError(f"a value of type `{type(value).__name__}`")
