"""Resources of a run: each is opened before its first user, held in its own trio task, and closed after its last user.

An async context manager is entered and left in one task, which no cancellation of the run reaches: it is
requested to close, and has `CLOSING_TIMEOUT` seconds for it. Resources that are due at one time are closed one after
the other, the last one opened first. Source: docs/language.md, "Resources".
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import trio

from engine.expressions.model import EvaluationError
from engine.runtime.task_runner import describe_exception, to_json_value
from engine.scheduling.state import AttemptState, RunState
from engine.scheduling.values import validate_inputs
from engine.sdk.context import Context

__all__ = ["CLOSING_TIMEOUT", "ResourceError", "ResourceListener", "Resources"]

CLOSING_TIMEOUT = 30.0
"""Seconds that closing one resource may take."""


class ResourceListener(Protocol):
    """Receives the openings and closings of resources: the driver, which passes them to the scheduler with the time."""

    def record_opening(self, run: RunState, name: str) -> None: ...

    def record_closing(self, run: RunState, name: str, error: str | None) -> None: ...


class ResourceError(Exception):
    """Raised when a resource could not be opened, or its `with` could not be evaluated."""


@attrs.define(eq=False)
class _OpenResource:
    """One resource of one run: being opened, open, or being closed."""

    run: RunState
    name: str
    settled: trio.Event = attrs.Factory(trio.Event)
    close_requested: trio.Event = attrs.Factory(trio.Event)
    closed: trio.Event = attrs.Factory(trio.Event)
    opening_scope: trio.CancelScope = attrs.Factory(lambda: trio.CancelScope(shield=True))
    """The scope of the opening; cancelled if the resource is no longer needed before it is open."""
    scope: trio.CancelScope = attrs.Factory(trio.CancelScope)
    """An inner scope, shielded from the outer one as soon as the resource is open.

    So a resource that opens after it was given up is closed like any other.
    """
    value: Any = None
    error: str | None = None
    """The reason why the resource could not be opened, or not be closed."""
    is_open: bool = False


class Resources:
    """The resources of one run and its sub-pipelines.

    `find_listener` returns the receiver of openings and closings at that moment, or None.
    """

    def __init__(
        self,
        run_id: str,
        grace: float,
        redact: Callable[[str], str],
        find_listener: Callable[[], ResourceListener | None],
    ) -> None:
        self._run_id, self._grace, self._redact = run_id, grace, redact
        self._open_resources: dict[tuple[RunState, str], _OpenResource] = {}
        self._closing_queue: list[_OpenResource] = []
        self._wakeup = trio.Event()
        self._closing_scope = trio.CancelScope(shield=True)
        self._find_listener = find_listener

    @asynccontextmanager
    async def manage(self) -> AsyncIterator[Resources]:
        """Serve requests while the block around the run is open, and close all open resources at its end."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._close_queued)
            try:
                yield self
            finally:
                with trio.CancelScope(shield=True):
                    for keeper in [*self._open_resources.values()]:
                        self._request_close(keeper)
                    while self._open_resources:
                        await next(iter(self._open_resources.values())).closed.wait()
                self._closing_scope.cancel()

    async def acquire(self, attempt: AttemptState) -> dict[str, Any]:
        """Return the resources that the attempt's node uses by name, opening them if needed.

        Evaluates the attempt's inputs if they read resources. Raises ResourceError. A trio checkpoint.
        """
        run = attempt.node.run.main_run or attempt.node.run
        found = {name: await self._open(run, name) for name in attempt.node.plan.uses}
        if attempt.scope is not None:
            attempt.inputs = _evaluate_inputs(attempt, found)
        return found

    def release(self, run: RunState, name: str) -> None:
        """Close a resource that has no further users."""
        keeper = self._open_resources.get((run, name))
        if keeper is not None:
            self._request_close(keeper)

    async def _open(self, run: RunState, name: str) -> Any:
        keeper = self._open_resources.get((run, name))
        if keeper is None:
            keeper = self._open_resources[run, name] = _OpenResource(run, name)
            if (listener := self._find_listener()) is not None:
                listener.record_opening(run, name)
            self._nursery.start_soon(self._hold, keeper)
        await keeper.settled.wait()
        if not keeper.is_open:
            raise ResourceError(f"resource `{name}` could not be opened: {keeper.error}")
        return keeper.value

    def _request_close(self, keeper: _OpenResource) -> None:
        """Queue a resource for closing; one that is not open yet is given up."""
        if not keeper.settled.is_set():
            keeper.opening_scope.cancel()
        elif keeper not in self._closing_queue:
            self._closing_queue.append(keeper)
            self._wakeup.set()

    async def _close_queued(self) -> None:
        """Close the queued resources, the last one opened first."""
        with self._closing_scope:
            while True:
                await self._wakeup.wait()
                self._wakeup = trio.Event()
                while self._closing_queue:
                    order = [*self._open_resources.values()]
                    last = max(self._closing_queue, key=order.index)
                    last.scope.deadline = trio.current_time() + CLOSING_TIMEOUT
                    last.close_requested.set()
                    await last.closed.wait()
                    self._closing_queue.remove(last)

    async def _hold(self, keeper: _OpenResource) -> None:
        with keeper.opening_scope, keeper.scope:
            try:
                async with self._build_manager(keeper) as keeper.value:
                    keeper.scope.shield = keeper.is_open = True
                    if keeper.opening_scope.cancel_called:
                        keeper.scope.deadline = trio.current_time() + CLOSING_TIMEOUT
                    else:
                        keeper.settled.set()
                        await keeper.close_requested.wait()
            except Exception as error:  # the resource's own, when it is opened or closed
                keeper.error = self._redact(describe_exception(error))
        if keeper.scope.cancelled_caught:
            keeper.error = f"closing took more than {CLOSING_TIMEOUT:g} s"
        elif keeper.opening_scope.cancelled_caught:
            keeper.error = "the run no longer needs it"
        del self._open_resources[keeper.run, keeper.name]
        keeper.settled.set()
        keeper.closed.set()
        if (listener := self._find_listener()) is not None:
            listener.record_closing(
                keeper.run, keeper.name, keeper.error if keeper.is_open else None
            )

    def _build_manager(self, keeper: _OpenResource) -> Any:
        """Build the context manager of a resource; raises ValueError if its inputs are not valid."""
        run, openings = keeper.run, keeper.run.plan.resource_plan
        assert openings is not None
        [body] = openings.nodes_by_name[keeper.name].bodies
        task = body.task
        assert task is not None
        assert task.open_resource is not None
        inputs = body.with_.evaluate(run.values.build_scope({}))
        if problem := validate_inputs(body, inputs):
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
            run.plan.directory,
            self._grace,
        )
        return task.open_resource(inputs, context)


def _evaluate_inputs(attempt: AttemptState, resources: dict[str, Any]) -> dict[str, Any]:
    """Return the inputs of a task that reads resources."""
    assert attempt.scope is not None
    plans = {name: _to_json_or_none(name, value) for name, value in resources.items()}
    try:
        inputs: dict[str, Any] = attempt.body.with_.evaluate({**attempt.scope, "resources": plans})
    except EvaluationError as error:
        raise ResourceError(str(error)) from None
    if problem := validate_inputs(attempt.body, inputs):
        raise ResourceError(problem)
    return inputs


def _to_json_or_none(name: str, value: Any) -> Any:
    try:
        return to_json_value(value)
    except ValueError:
        return None  # an object: for Python alone
