"""What a task's body is given, and how it ends: `Context`, `Exit`, and the exceptions that say more than "error".

A body ends by returning: a plain value is exit 0 with that output, an `Exit` says which; raising is the outcome
`error`. Nothing is guessed from the shape of what comes back. Source: LANGUAGE.md sections 4 and 9.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from engine.base.classes import frozen

if TYPE_CHECKING:
    import tempfile

    import trio

__all__ = ["SHARE", "Context", "Exit", "Failure", "Permanent", "RetryAfter", "Tool"]

SHARE = "\0progress "
"""What the line of progress begins with that `report` tells; it does not come out of the engine."""


@frozen
class Exit:
    """How an attempt ended: `code` is 0 to 255 or a name that the task or the step declares.

    `permanent` says that trying again cannot help: only a retry whose `on` names the exit serves it.
    `retry_after` asks for at least that many
    seconds before the next try.
    """

    code: int | str = 0
    output: Any = None
    permanent: bool = False
    retry_after: float | None = None


class Permanent(Exception):
    """Raise it from a task: outcome `error`, and no retry."""


class Failure(Exception):
    """What a built-in task says in its own words: outcome `error`, told without the exception's type."""


class RetryAfter(Exception):
    """Raise it from a task: outcome `error`, and a retry waits at least `seconds`."""

    def __init__(self, seconds: float, message: str = "") -> None:
        self.seconds = seconds
        super().__init__(message or f"asked for a retry in {seconds:g} s")


def _unheard(message: str) -> None:
    """The `note` of a context that nobody listens to; unlike a lambda, it can be pickled."""


@frozen
class Tool:
    """A task or a sub-pipeline that the `with` of an attempt names, for its body to run when it likes."""

    name: str
    """The task's id, or the name of the pipeline."""
    description: str
    inputs: Mapping[str, Any]
    """A JSON Schema, of an object."""
    call: Callable[[Mapping[str, Any], str], Awaitable[Exit]] = attrs.field(eq=False, repr=False)
    """`await call(inputs, name)` runs it, under a name that no other call of the attempt has; Failure if it gives no exit."""


@frozen
class Context:
    """What a body may know of its attempt. `visit` and `attempt` count from 1; `key` is the same
    when a crash makes it run again."""

    run_id: str
    pipeline: str
    node: str
    step: str
    visit: int
    attempt: int
    key: str
    folder: str = "."
    """The folder of the spec file; relative paths of built-in tasks start here."""
    grace: float = 5.0
    """Seconds a cancelled attempt has to end by itself."""
    note: Callable[[str], None] = attrs.field(default=_unheard, eq=False, repr=False)
    """Called with a line of progress; it becomes an event of the run."""
    resources: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """What its node uses, by name; not in a worker process."""
    place: str | None = attrs.field(default=None, eq=False, repr=False)
    """The attempt's own folder, where its body may outlive the engine; None if it does not."""
    history: Sequence[Mapping[str, Any]] = attrs.field(default=(), eq=False, repr=False)
    """The attempts of this node before this one, in order: `step visit attempt outcome started ended`, `error` where there is one."""
    steps: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """The latest outputs of this node's steps, as far as they are kept: those its expressions read, all of a class of several steps."""
    state: Mapping[str, Any] = attrs.field(factory=dict, eq=False, repr=False)
    """The states of the run as the attempt begins; not to be changed."""
    tools: Mapping[tuple[str, str], Tool] = attrs.field(factory=dict, eq=False, repr=False)
    """What its `with` names: `tools["task", id]`, `tools["pipeline", name]`; not in a worker process."""

    def log(self, message: str) -> None:
        """Tell a line of progress, as `note`."""
        self.note(message)

    def report(self, progress: float, message: str = "") -> None:
        """Tell how much of the work is done, 0 to 1, and what; the event has the number too. ValueError for another number."""
        if not 0 <= progress <= 1:
            raise ValueError("progress must be a number from 0 to 1")
        self.note(f"{SHARE}{float(progress)!r} {message}")

    def shield(self) -> trio.CancelScope:
        """A cancel scope for what an async body must still do when it is cancelled: `with context.shield():`, for at most the grace
        period."""
        import trio

        return trio.move_on_after(self.grace, shield=True)

    def temporary(self) -> tempfile.TemporaryDirectory[str]:
        """A folder for this attempt: `with context.temporary() as path`, gone afterwards, however the block ends."""
        import tempfile

        return tempfile.TemporaryDirectory(prefix=f"{self.pipeline}-{self.node}-")
