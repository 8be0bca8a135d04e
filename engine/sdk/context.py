"""Values a task body receives and returns: `Context`, `Exit`, and exceptions that refine `error`.

A body ends by returning: a plain value is exit 0 with that output, an `Exit` names another exit; raising is the
outcome `error`. Nothing is guessed from the shape of the returned value.

Source: docs/language.md, "Outcomes", "Retry".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from engine.base.classes import value

if TYPE_CHECKING:
    import tempfile

    import trio

__all__ = ["PROGRESS_PREFIX", "Context", "Exit", "Failure", "Permanent", "RetryAfter", "Tool"]

PROGRESS_PREFIX = "\0progress "
"""Prefix of a progress line that carries a number from `Context.report`; it never leaves the engine."""


@value
class Exit:
    """The end of an attempt: `code` is 0 to 255, or an exit name that the task or the step declares.

    `permanent` says that a retry cannot help: only a retry whose `on` names the exit applies. `retry_after` asks for
    at least that many seconds before the next attempt.
    """

    code: int | str = 0
    output: Any = None
    permanent: bool = False
    retry_after: float | None = None


class Permanent(Exception):
    """Raised by a task for the outcome `error` without a retry."""


class Failure(Exception):
    """An error of a built-in task whose message is complete: outcome `error`, shown without the exception's type."""


class RetryAfter(Exception):
    """Raised by a task for the outcome `error` whose retry waits at least `seconds`."""

    def __init__(self, seconds: float, message: str = "") -> None:
        self.seconds = seconds
        super().__init__(message or f"asked for a retry in {seconds:g} s")


def _discard(message: str) -> None:
    """Discard a line of progress: the default `note` of a context; unlike a lambda, it can be pickled."""


@value
class Tool:
    """A task or a sub-pipeline that the `with` of an attempt names, for its body to call at will."""

    name: str
    """The task's id, or the pipeline's name."""
    description: str
    inputs: Mapping[str, Any]
    """A JSON Schema of an object."""
    call: Callable[[Mapping[str, Any], str], Awaitable[Exit]] = attrs.field(eq=False, repr=False)
    """`await call(inputs, name)` runs the tool and returns its exit.

    `name` must be unique among the calls of the attempt. Raises `Failure` if the tool ends without an exit.
    """


@value
class Context:
    """Facts about the current attempt, passed to a task body.

    `visit` and `attempt` count from 1. `key` identifies the attempt: it is the same when the attempt runs again
    after a crash.
    """

    run_id: str
    pipeline: str
    node: str
    step: str
    visit: int
    attempt: int
    key: str
    folder: str = "."
    """The directory of the spec file; built-in tasks resolve relative paths against it."""
    grace: float = 5.0
    """Seconds that a cancelled attempt has to end by itself."""
    note: Callable[[str], None] = attrs.field(default=_discard, eq=False, repr=False)
    """Report a line of progress, which becomes an event of the run."""
    resources: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """The resources that the node uses, by name; empty in a worker process."""
    place: str | None = attrs.field(default=None, eq=False, repr=False)
    """The attempt's own state directory if its body may outlive the engine, else None."""
    history: Sequence[Mapping[str, Any]] = attrs.field(default=(), eq=False, repr=False)
    """The earlier attempts of this node, in order.

    Each has `step visit attempt outcome started ended`, and `error` if there was one.
    """
    steps: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """The latest output of each step of this node, as far as it is stored.

    Stored are the outputs that the node's expressions read; for a class of several steps, all of them.
    """
    state: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """The state of the run when the attempt begins; do not change it."""
    tools: Mapping[tuple[str, str], Tool] = attrs.field(factory=dict, eq=False, repr=False)
    """The tools that the step's `with` names: `tools["task", id]` and `tools["pipeline", name]`.

    Empty in a worker process.
    """

    def log(self, message: str) -> None:
        """Report a line of progress; the same as `note`."""
        self.note(message)

    def report(self, progress: float, message: str = "") -> None:
        """Report the fraction of the work that is done, 0 to 1, and an optional message.

        The event carries the number too. Raises ValueError for a number out of range.
        """
        if not 0 <= progress <= 1:
            raise ValueError("progress must be a number from 0 to 1")
        self.note(f"{PROGRESS_PREFIX}{float(progress)!r} {message}")

    def shield(self) -> trio.CancelScope:
        """Return a cancel scope that protects cleanup from cancellation for at most the grace period.

        For async bodies: `with context.shield(): ...`.
        """
        import trio

        return trio.move_on_after(self.grace, shield=True)

    def temporary(self) -> tempfile.TemporaryDirectory[str]:
        """Return a temporary directory as a context manager: `with context.temporary() as path`.

        It is removed however the block ends.
        """
        import tempfile

        return tempfile.TemporaryDirectory(prefix=f"{self.pipeline}-{self.node}-")
