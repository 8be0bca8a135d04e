"""The handle of a run: follow it, and cancel it or one of its nodes.

Source: docs/language.md, "Cancellation".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import trio

from engine.base.suggestions import unknown_node_message
from engine.errors import InputError
from engine.processes import children
from engine.record.events import Event
from engine.record.questions import Answer
from engine.record.result import Result
from engine.runtime.driver import Driver
from engine.runtime.questions import QuestionBoard
from engine.scheduling.scheduler import Scheduler

__all__ = [
    "CANCELLED_BY_CALLER",
    "CANCELLED_FROM_OUTSIDE",
    "Control",
    "Run",
    "validate_cancellable",
]

CANCELLED_BY_CALLER = "cancelled by the caller"
CANCELLED_FROM_OUTSIDE = "the code around the run was cancelled"


class Run(Protocol):
    """A run in progress.

    `async for event in run` gives each of its events once, from the first on.
    """

    id: str

    def cancel(self, reason: str = CANCELLED_BY_CALLER, *, node: str | None = None) -> None:
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

    can_cancel_nodes = False
    """Whether the caller can cancel single nodes."""

    def __init__(self) -> None:
        self.skip_grace = trio.Event()
        self._cancel_reason: str | None = None
        self._driver: Driver | None = None
        self._scheduler: Scheduler | None = None
        self._owner = ""
        self._question_board: QuestionBoard | None = None
        self._before_run: Control | None = None
        self._nodes_to_cancel: list[tuple[str, str]] = []
        """Nodes to cancel when the run has begun, each with its reason."""

    def cancel(self, reason: str = CANCELLED_BY_CALLER, *, node: str | None = None) -> None:
        """Request cancellation of the run, or of one node; only the first reason counts."""
        if node is not None:
            self._cancel_node(node, reason)
            return
        self._cancel_reason = self._cancel_reason or reason
        if self._before_run is not None:
            self._before_run.cancel(reason)
        if self._driver is not None:
            self._driver.cancel(reason)

    async def kill(self, reason: str = CANCELLED_BY_CALLER) -> None:
        """Cancel the run without a grace period.

        On systems without /proc, child processes still have their grace period.
        """
        self.cancel(reason)
        while self._scheduler is not None and self._scheduler.has_pending_ends:
            await trio.lowlevel.checkpoint()
        self.skip_grace.set()
        if self._owner:
            await children.kill_escaped(self._owner)

    def _cancel_node(self, node: str, reason: str) -> None:
        if self._driver is None:
            self._nodes_to_cancel.append((node, reason))
        else:
            self._driver.cancel(reason, node)

    @property
    def is_cancel_requested(self) -> bool:
        """Whether cancellation of the run has been requested."""
        return self._cancel_reason is not None

    @contextmanager
    def before_run(self) -> Iterator[Control]:
        """Yield a control for the work before the run; a request to cancel that also cancels the run."""
        self._before_run = Control()
        if self._cancel_reason is not None:
            self._before_run.cancel(self._cancel_reason)
        try:
            yield self._before_run
        finally:
            self._before_run = None

    def handle_request(self, kind: str, data: Any) -> None:
        """Handle a request or an answer from outside, or the failure of the journal."""
        if kind == "cancel_node":
            self.cancel(data["reason"], node=data["node"])
        elif kind != "answer":
            self.cancel(data)
        elif self._question_board is not None:
            self._question_board.answer(data["key"], Answer(data["option"], data["feedback"]))

    def attach(
        self, scheduler: Scheduler, runner: Driver, owner: str, people: QuestionBoard
    ) -> None:
        """Connect to the run, which has begun; its processes carry the token `owner`."""
        self._scheduler, self._driver, self._owner = scheduler, runner, owner
        self._question_board = people
        for node, reason in self._nodes_to_cancel:
            self._cancel_node(node, reason)
        if self._cancel_reason is not None:
            runner.cancel(self._cancel_reason)


def validate_cancellable(
    node: str, node_names: Collection[str], finally_nodes: Collection[str]
) -> None:
    """Raise InputError unless the node is in `node_names` and not one of `[finally]`."""
    if node in finally_nodes:
        message = f"`{node}` is in `[finally]`: its nodes cannot be cancelled one by one"
        raise InputError((f"{message}: it ends by itself, or at its deadline",))
    if node not in node_names:
        raise InputError((unknown_node_message(node, node_names),))
