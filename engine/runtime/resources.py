"""Resources of a run: each is opened before its first user, held in its own trio task, and closed after its last user.

An async context manager is entered and left in one task, which no cancellation of the run reaches: it is
requested to close, and has `CLOSING_TIMEOUT` seconds for it. Resources that are due at one time are closed one after the other,
the last one opened first. Source: docs/language.md, "Resources".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import trio

from engine.expressions.model import EvaluationError
from engine.runtime.task_runner import plain, told
from engine.scheduling.state import LiveAttempt, LiveRun
from engine.scheduling.values import task_inputs
from engine.sdk.context import Context

__all__ = ["CLOSING", "CannotOpen", "Opening", "Resources"]

CLOSING = 30.0
"""Seconds that closing one resource may take."""


class Opening(Protocol):
    """Receives the openings and closings of resources: the driver, which passes them to the scheduler with the time."""

    def opening(self, run: LiveRun, name: str) -> None: ...

    def closed(self, run: LiveRun, name: str, error: str | None) -> None: ...


class CannotOpen(Exception):
    """Raised when a resource could not be opened, or its `with` could not be evaluated."""


@attrs.define(eq=False)
class _Keeper:
    """One resource of one run: being opened, open, or being closed."""

    run: LiveRun
    name: str
    ready: trio.Event = attrs.Factory(trio.Event)
    over: trio.Event = attrs.Factory(trio.Event)
    gone: trio.Event = attrs.Factory(trio.Event)
    given_up: trio.CancelScope = attrs.Factory(lambda: trio.CancelScope(shield=True))
    """The scope of the opening; cancelled if the resource is no longer needed before it is open."""
    life: trio.CancelScope = attrs.Factory(trio.CancelScope)
    """An inner scope, shielded from the outer one as soon as the resource is open.

    So a resource that opens after it was given up is closed like any other.
    """
    value: Any = None
    error: str | None = None
    """Why the resource could not be opened, or not be closed."""
    is_open: bool = False


class Resources:
    """The resources of one run and its sub-pipelines. `hears` gives who listens at that moment, if anything does."""

    def __init__(
        self,
        run_id: str,
        grace: float,
        redact: Callable[[str], str],
        hears: Callable[[], Opening | None],
    ) -> None:
        self._run_id, self._grace, self._redact = run_id, grace, redact
        self._keepers: dict[tuple[LiveRun, str], _Keeper] = {}
        self._due: list[_Keeper] = []
        self._bell = trio.Event()
        self._closing = trio.CancelScope(shield=True)
        self._hears = hears

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[Resources]:
        """A block around the run; leaving it closes all resources that are still open."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._close_all)
            try:
                yield self
            finally:
                with trio.CancelScope(shield=True):
                    for keeper in [*self._keepers.values()]:
                        self._ask(keeper)
                    while self._keepers:
                        await next(iter(self._keepers.values())).gone.wait()
                self._closing.cancel()

    async def given(self, attempt: LiveAttempt) -> dict[str, Any]:
        """Return the resources that the attempt's node uses by name, opening them if needed.

        Evaluates the attempt's inputs if they read resources. Raises ResourceError. A trio checkpoint.
        """
        run = attempt.node.run.of or attempt.node.run
        found = {name: await self._open(run, name) for name in attempt.node.plan.uses}
        if attempt.scope is not None:
            attempt.inputs = _inputs(attempt, found)
        return found

    def unused(self, run: LiveRun, name: str) -> None:
        """Close a resource that has no further users."""
        keeper = self._keepers.get((run, name))
        if keeper is not None:
            self._ask(keeper)

    async def _open(self, run: LiveRun, name: str) -> Any:
        keeper = self._keepers.get((run, name))
        if keeper is None:
            keeper = self._keepers[run, name] = _Keeper(run, name)
            if (listener := self._hears()) is not None:
                listener.opening(run, name)
            self._nursery.start_soon(self._keep, keeper)
        await keeper.ready.wait()
        if not keeper.is_open:
            raise CannotOpen(f"resource `{name}` could not be opened: {keeper.error}")
        return keeper.value

    def _ask(self, keeper: _Keeper) -> None:
        """Queue a resource for closing; one that is not open yet is given up."""
        if not keeper.ready.is_set():
            keeper.given_up.cancel()
        elif keeper not in self._due:
            self._due.append(keeper)
            self._bell.set()

    async def _close_all(self) -> None:
        """Close the queued resources, the last one opened first."""
        with self._closing:
            while True:
                await self._bell.wait()
                self._bell = trio.Event()
                while self._due:
                    order = [*self._keepers.values()]
                    last = max(self._due, key=order.index)
                    last.life.deadline = trio.current_time() + CLOSING
                    last.over.set()
                    await last.gone.wait()
                    self._due.remove(last)

    async def _keep(self, keeper: _Keeper) -> None:
        with keeper.given_up, keeper.life:
            try:
                async with self._entered(keeper) as keeper.value:
                    keeper.life.shield = keeper.is_open = True
                    if keeper.given_up.cancel_called:
                        keeper.life.deadline = trio.current_time() + CLOSING
                    else:
                        keeper.ready.set()
                        await keeper.over.wait()
            except Exception as error:  # the resource's own, when it is opened or closed
                keeper.error = self._redact(told(error))
        if keeper.life.cancelled_caught:
            keeper.error = f"closing took more than {CLOSING:g} s"
        elif keeper.given_up.cancelled_caught:
            keeper.error = "the run no longer needs it"
        del self._keepers[keeper.run, keeper.name]
        keeper.ready.set()
        keeper.gone.set()
        if (listener := self._hears()) is not None:
            listener.closed(keeper.run, keeper.name, keeper.error if keeper.is_open else None)

    def _entered(self, keeper: _Keeper) -> Any:
        """Build the context manager of a resource; raises ValueError if its inputs are not valid."""
        run, openings = keeper.run, keeper.run.plan.openings
        assert openings is not None
        [body] = openings.known[keeper.name].bodies
        task = body.task
        assert task is not None
        assert task.opens is not None
        inputs = body.with_.evaluate(run.values.scope({}))
        if problem := task_inputs(body, inputs):
            raise ValueError(problem)
        name = keeper.name
        context = Context(
            self._run_id,
            run.plan.name,
            name,
            name,
            1,
            1,
            f"{self._run_id}/{run.key}{name}",
            run.plan.folder,
            self._grace,
        )
        return task.opens(inputs, context)


def _inputs(attempt: LiveAttempt, resources: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a task that reads resources."""
    assert attempt.scope is not None
    plans = {name: _plain(name, value) for name, value in resources.items()}
    try:
        inputs: dict[str, Any] = attempt.body.with_.evaluate({**attempt.scope, "resources": plans})
    except EvaluationError as error:
        raise CannotOpen(str(error)) from None
    if problem := task_inputs(attempt.body, inputs):
        raise CannotOpen(problem)
    return inputs


def _plain(name: str, value: Any) -> Any:
    try:
        return plain(value)
    except ValueError:
        return None  # an object: for Python alone
