"""What the caller of a run holds: the run under way, and the means to cancel it or one of its nodes.

Source: LANGUAGE.md sections 8 and 14.
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
            await children.kill_strays(self._owner)

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


def check_node(node: str, known: Collection[str], closing: Collection[str]) -> None:
    """InputError unless a node can be cancelled alone: it is `known`, and none of those that end the run."""
    if node in closing:
        message = f"`{node}` is in `[finally]`: its nodes cannot be cancelled one by one"
        raise InputError((f"{message}: it ends by itself, or at its deadline",))
    if node not in known:
        raise InputError((no_node(node, known),))
