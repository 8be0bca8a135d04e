"""The handle of a run: follow it, and cancel it or one of its nodes.

Source: docs/language.md, "Cancellation".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio

from engine.base.suggestions import no_node
from engine.errors import InputError
from engine.processes import children
from engine.record.events import Event
from engine.record.questions import Answer
from engine.record.result import Result
from engine.runtime.driver import Runner
from engine.runtime.questions import People
from engine.scheduling.scheduler import Scheduler

__all__ = ["CANCELLED", "FROM_OUTSIDE", "Control", "Run", "check_node"]

CANCELLED = "cancelled by the caller"
FROM_OUTSIDE = "the code around the run was cancelled"


class Run(Protocol):
    """A run in progress.

    `async for event in run` gives each of its events once, from the first on.
    """

    id: str

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        """Cancel the run: all work stops within the grace period, and the result has the reason.

        With `node`, cancel that node alone: nodes that wait for it are skipped, and the rest goes on.
        """

    async def result(self) -> Result:
        """Wait for the end of the run and return its result.

        Raises EngineError if the run was abandoned: the block around it was left by an exception.
        """

    def __aiter__(self) -> AsyncIterator[Event]: ...

    async def __anext__(self) -> Event: ...


class Control:
    """Cancels a run, also before it has begun; use it from the run's own trio thread."""

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
        """Nodes to cancel when the run has begun, each with its reason."""

    def cancel(self, reason: str = CANCELLED, *, node: str | None = None) -> None:
        """Request cancellation of the run, or of one node; only the first reason counts."""
        if node is not None:
            self._cancel_node(node, reason)
            return
        self._asked = self._asked or reason
        if self._first is not None:
            self._first.cancel(reason)
        if self._runner is not None:
            self._runner.cancel(reason)

    async def kill(self, reason: str = CANCELLED) -> None:
        """Cancel the run without a grace period.

        On systems without /proc, child processes still have their grace period.
        """
        self.cancel(reason)
        while self._scheduler is not None and self._scheduler.pending:
            await trio.lowlevel.checkpoint()
        self.hurry.set()
        if self._owner:
            await children.kill_strays(self._owner)

    def _cancel_node(self, node: str, reason: str) -> None:
        if self._runner is None:
            self._nodes.append((node, reason))
        else:
            self._runner.cancel(reason, node)

    @property
    def asked_for(self) -> bool:
        """Whether cancellation of the run has been requested."""
        return self._asked is not None

    @contextmanager
    def first(self) -> Iterator[Control]:
        """Yield a control for the work before the run; a request to cancel that also cancels the run."""
        self._first = Control()
        if self._asked is not None:
            self._first.cancel(self._asked)
        try:
            yield self._first
        finally:
            self._first = None

    def asked(self, kind: str, data: Any) -> None:
        """Handle a request or an answer from outside, or the failure of the journal."""
        if kind == "cancel_node":
            self.cancel(data["reason"], node=data["node"])
        elif kind != "answer":
            self.cancel(data)
        elif self._people is not None:
            self._people.answer(data["key"], Answer(data["option"], data["feedback"]))

    def attach(self, scheduler: Scheduler, runner: Runner, owner: str, people: People) -> None:
        """Connect to the run, which has begun; its processes carry the token `owner`."""
        self._scheduler, self._runner, self._owner = scheduler, runner, owner
        self._people = people
        for node, reason in self._nodes:
            self._cancel_node(node, reason)
        if self._asked is not None:
            runner.cancel(self._asked)


def check_node(node: str, known: Collection[str], closing: Collection[str]) -> None:
    """Raise InputError unless the node is in `node_names` and not one of `[finally]`."""
    if node in closing:
        message = f"`{node}` is in `[finally]`: its nodes cannot be cancelled one by one"
        raise InputError((f"{message}: it ends by itself, or at its deadline",))
    if node not in known:
        raise InputError((no_node(node, known),))
