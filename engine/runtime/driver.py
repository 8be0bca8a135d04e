"""Drive a `Scheduler` on trio: start and stop bodies, and report their ends and the time to the scheduler.

Attempts run as tasks of one nursery; a task whose attempt has ended goes on with one that may start now. What can be
stopped while the run goes on has a cancel scope, which attempts that follow each other in one task share until it is
used. One more task sleeps until the scheduler's next deadline or wake-up. Under a virtual clock only that task takes
turns, after every other task is idle, so that all that happens at one instant is processed in the defined order. The
driver does not know what a body does (`perform`). Source: docs/language.md, "Limits", "Cancellation".
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext

import trio

from engine.base.durations import round_to_nanoseconds
from engine.errors import EngineError
from engine.record.result import Outcome, Result
from engine.scheduling.scheduler import AttemptState, Scheduler
from engine.scheduling.state import RunState

__all__ = ["Driver", "RunAttempt"]

RunAttempt = Callable[[AttemptState], Awaitable[Outcome]]

_CANCELLED_FROM_OUTSIDE = "the scope around the run was cancelled"
_MAX_ATTEMPTS_BEFORE_CHECKPOINT = 512
"""The number of attempts that a task runs in a row before a checkpoint: some milliseconds of the shortest ones.

A thread that waits for the interpreter gets it after 5 ms in which no other thread released it: more checkpoints would
starve it.
"""


class Driver:
    """Drives one run: await `run()` once, and call `cancel` from the same trio thread.

    The run's time continues from the scheduler's, plus `waited` seconds. `open_attempts` were started earlier, and
    their bodies are run first. `may_suspend` returns whether that number of questions are all still open: if nothing
    else goes on, the run then ends with the status `waiting`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        perform: RunAttempt,
        virtual_clock: bool = False,
        open_attempts: Sequence[AttemptState] = (),
        *,
        may_suspend: Callable[[int], bool] | None = None,
        waited: float = 0.0,
        scope_per_attempt: bool = False,
    ) -> None:
        self._scheduler, self._perform, self._virtual_clock = scheduler, perform, virtual_clock
        self._open_attempts, self._may_suspend = open_attempts, may_suspend
        self._suspended_result: Result | None = None
        self._scope_per_attempt = scope_per_attempt
        self._clock = trio.lowlevel.current_clock().current_time
        self._start = self._clock() - scheduler.now - waited
        self._wake = trio.Event()
        self._ended = trio.Event()
        self._sleep = trio.CancelScope()
        self._next_deadline = math.inf
        self._has_turned = False

    def cancel(self, message: str, node: str | None = None) -> None:
        """Request cancellation of the run, or of one node; `run` still returns the result."""
        if node is None:
            self._scheduler.cancel(message, self._now())
        else:
            self._scheduler.cancel_node(node, message, self._now())
        self._wake.set()

    def note(self, attempt: AttemptState, message: str, progress: float | None = None) -> None:
        """Record a progress message of a body, and the fraction of its work that is done, if reported."""
        self._scheduler.note(attempt, message, self._now(), progress)

    def record_opening(self, run: RunState, name: str) -> None:
        """Record that a resource is being opened."""
        self._scheduler.resource_opening(run, name, self._now())

    def record_closing(self, run: RunState, name: str, error: str | None) -> None:
        """Record that a resource is closed; its run may be waiting for that."""
        self._scheduler.resource_closed(run, name, error, self._now())
        self._wake.set()

    async def run(self) -> Result:
        """Run to the end and return the result.

        When cancelled from outside, it stops all work, waits for the cleanup, and lets the cancellation pass.
        """
        if not self._scheduler.root.plan.has_cleanup:
            return await self._run()
        async with trio.open_nursery() as guard:
            guard.start_soon(self._watch_cancellation)
            with trio.CancelScope(shield=True):
                result = await self._run()
            guard.cancel_scope.cancel()
        return result

    async def _watch_cancellation(self) -> None:
        """Notice a cancellation from outside while the run itself is shielded."""
        try:
            await trio.sleep_forever()
        finally:
            if self._scheduler.result is None and self._suspended_result is None:
                self.cancel(_CANCELLED_FROM_OUTSIDE)

    async def _run(self) -> Result:
        async with trio.open_nursery() as outer:
            outer.start_soon(self._drive)
            async with trio.open_nursery() as self._workers:
                for attempt in self._open_attempts:
                    self._workers.start_soon(self._run_attempts, self._with_scope(attempt))
                try:
                    await self._ended.wait()
                    if self._suspended_result is not None:
                        self._workers.cancel_scope.cancel()
                except trio.Cancelled:
                    self._scheduler.cancel(_CANCELLED_FROM_OUTSIDE, self._now())
                    raise
        result = self._scheduler.result or self._suspended_result
        assert result is not None
        return result

    async def _drive(self) -> None:
        """Take turns until the run is over: when woken, and when the scheduler's next deadline has come."""
        try:
            while self._scheduler.result is None and self._suspended_result is None:
                self._wake = trio.Event()
                if self._virtual_clock:
                    await self._wait_until_idle()
                first = self._take_turn()
                if first is not None:
                    self._workers.start_soon(self._run_attempts, first)
                if self._virtual_clock and self._scheduler.is_idle:
                    await self._wait_until_idle()
                if self._scheduler.result is None and self._suspended_result is None:
                    with trio.CancelScope(
                        deadline=self._start + self._next_deadline
                    ) as self._sleep:
                        await self._wake.wait()
        except trio.Cancelled:
            self._end_from_outside()
            raise
        finally:
            self._ended.set()

    async def _wait_until_idle(self) -> None:
        """Wait until every body has done all it can at this instant.

        Raises EngineError for a run that could never end.
        """
        from trio.testing import wait_all_tasks_blocked

        await wait_all_tasks_blocked()
        asleep = trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        if asleep and self._has_turned and self._scheduler.is_idle and not self._wake.is_set():
            hanging = ", ".join(f"`{path}`" for path in self._scheduler.running_paths)
            raise EngineError(
                f"the run would never end: {hanging} hangs, and no timeout or deadline stops it"
            )

    # -- turns -------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return round_to_nanoseconds(self._clock() - self._start)

    def _take_turn(self, scope: trio.CancelScope | None = None) -> AttemptState | None:
        """Give the scheduler the time, and do what it returns.

        The first attempt to start is returned for the caller to run, in its `scope`.
        """
        scheduler = self._scheduler
        now = self._now()
        self._has_turned = True
        first: AttemptState | None = None
        while True:
            stops = scheduler.process_due(now)
            for attempt in stops:
                self._stop(attempt)
            for attempt in () if stops else scheduler.start_ready(now):
                if first is None:
                    first = self._with_scope(attempt, scope)
                else:
                    self._workers.start_soon(self._run_attempts, self._with_scope(attempt))
            more = stops or scheduler.has_pending_ends
            if more and self._virtual_clock:
                self._wake.set()  # once the bodies that end at this instant have ended
            if self._virtual_clock or not more:
                break
        self.suspend()
        self._schedule_wakeup()
        return first

    def suspend(self) -> None:
        """End the run as `waiting` if only open questions are left and none is answered."""
        alone = self._scheduler.waits_for_people and self._suspended_result is None
        if alone and self._may_suspend is not None and self._may_suspend(self._scheduler.asked):
            self._suspended_result = self._scheduler.suspend(time.time(), self._now())
            self._wake.set()

    def _with_scope(
        self, attempt: AttemptState, scope: trio.CancelScope | None = None
    ) -> AttemptState:
        if scope is None and (self._scope_per_attempt or attempt.needs_scope):
            scope = trio.CancelScope()
        attempt.handle = scope
        return attempt

    def _schedule_wakeup(self) -> None:
        """Set when the driver wakes: at the next deadline, or at once when the run is over."""
        if self._scheduler.result is not None or self._suspended_result is not None:
            self._wake.set()
            return
        until = self._scheduler.next_time
        if until != self._next_deadline:
            self._next_deadline = until
            self._sleep.deadline = self._start + until

    def _stop(self, attempt: AttemptState) -> None:
        """Cancel a body by its own scope, or with all others when the whole run is being cancelled."""
        scope = attempt.handle or self._workers.cancel_scope
        scope.cancel()

    def _end_from_outside(self) -> None:
        """Record a cancellation from outside as the run's own, so that its record is complete."""
        self._scheduler.cancel(_CANCELLED_FROM_OUTSIDE, self._now())
        self._take_turn()

    # -- attempts ----------------------------------------------------------------------------------------------

    async def _run_attempts(self, attempt: AttemptState | None) -> None:
        """Run attempts one after the other, as long as the end of one lets another start."""
        while attempt is not None:
            attempt = await self._run_chain(attempt)

    async def _run_chain(self, attempt: AttemptState) -> AttemptState | None:
        """Run an attempt and its successors in one scope until one is stopped, and return the next attempt, if any."""
        scope, breath = attempt.handle, 0
        under: AttemptState | None = attempt
        outcome: Outcome | None = None
        try:
            with scope or nullcontext():
                while True:
                    if attempt.stopping or not breath % _MAX_ATTEMPTS_BEFORE_CHECKPOINT:
                        await trio.lowlevel.checkpoint()
                    outcome = await self._perform(attempt)
                    if scope is not None and scope.cancel_called:
                        break
                    under = None
                    following = self._record_end(attempt, outcome, scope)
                    if following is None or following.handle is not scope:
                        return following
                    under = attempt = following
                    outcome = None
                    breath += 1
        except BaseException:  # cancelled, alone or in a group, or a bug: the record is made whole
            if self._suspended_result is None and under is not None:
                self._scheduler.attempt_ended(under, None)
                self._end_from_outside()
            raise
        return self._record_end(attempt, outcome, None)

    def _record_end(
        self, attempt: AttemptState, outcome: Outcome | None, scope: trio.CancelScope | None
    ) -> AttemptState | None:
        """Record the end of an attempt, and return the attempt to run next, in `scope` if possible."""
        self._scheduler.attempt_ended(attempt, outcome)
        if self._virtual_clock:
            self._wake.set()
            return None
        return self._take_turn(scope)
