"""Drive a `Scheduler` on trio: start and stop bodies, and report their ends and the time to the scheduler.

Attempts run as tasks of one nursery; a task whose attempt has ended goes on with one that may start now. What can be stopped
while the run goes on has a cancel scope, which attempts that follow each other in one task share until it is used. One more task
sleeps until the scheduler's next deadline or wake-up. Under a virtual clock only that task takes turns, after every other task
is idle, so that all that happens at one instant is processed in the defined order. The driver does not know what a body does
(`perform`). Source: docs/language.md, "Limits", "Cancellation".
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext

import trio

from engine.base.durations import whole
from engine.errors import EngineError
from engine.record.result import Outcome, Result
from engine.scheduling.scheduler import LiveAttempt, Scheduler
from engine.scheduling.state import LiveRun

__all__ = ["Perform", "Runner"]

Perform = Callable[[LiveAttempt], Awaitable[Outcome]]

_OUTSIDE = "the scope around the run was cancelled"
_BREATH = 512
"""How many attempts a task runs in a row before a checkpoint: some milliseconds of the shortest ones.

A thread that waits for the interpreter gets it after 5 ms in which no other thread released it: more checkpoints would starve it.
"""


class Runner:
    """Drives one run: await `run()` once, and call `cancel` from the same trio thread.

    The run's time continues from the scheduler's, plus `waited` seconds. `open_attempts` were started earlier, and their bodies
    are run first. `may_suspend` returns whether that number of questions are all still open: if nothing else goes on, the run then
    ends with the status `waiting`.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        perform: Perform,
        exact: bool = False,
        opened: Sequence[LiveAttempt] = (),
        *,
        parks: Callable[[int], bool] | None = None,
        elapsed: float = 0.0,
        apart: bool = False,
    ) -> None:
        self._scheduler, self._perform, self._exact = scheduler, perform, exact
        self._opened, self._parks = opened, parks
        self._parked: Result | None = None
        self._apart = apart
        self._clock = trio.lowlevel.current_clock().current_time
        self._start = self._clock() - scheduler.now - elapsed
        self._wake = trio.Event()
        self._over = trio.Event()
        self._sleep = trio.CancelScope()
        self._until = math.inf
        self._turned = False

    def cancel(self, message: str, node: str | None = None) -> None:
        """Request cancellation of the run, or of one node; `run` still returns the result."""
        if node is None:
            self._scheduler.cancel(message, self._now())
        else:
            self._scheduler.cancel_node(node, message, self._now())
        self._wake.set()

    def note(self, attempt: LiveAttempt, message: str, progress: float | None = None) -> None:
        """Record a progress message of a body, and the fraction of its work that is done, if reported."""
        self._scheduler.note(attempt, message, self._now(), progress)

    def opening(self, run: LiveRun, name: str) -> None:
        """Record that a resource is being opened."""
        self._scheduler.opening(run, name, self._now())

    def closed(self, run: LiveRun, name: str, error: str | None) -> None:
        """Record that a resource is closed; its run may be waiting for that."""
        self._scheduler.closed(run, name, error, self._now())
        self._wake.set()

    async def run(self) -> Result:
        """Run to the end and return the result.

        When cancelled from outside, it stops all work, waits for the cleanup, and lets the cancellation pass.
        """
        if not self._scheduler.root.plan.lingers:
            return await self._run()
        async with trio.open_nursery() as guard:
            guard.start_soon(self._watch)
            with trio.CancelScope(shield=True):
                result = await self._run()
            guard.cancel_scope.cancel()
        return result

    async def _watch(self) -> None:
        """Notice a cancellation from outside while the run itself is shielded."""
        try:
            await trio.sleep_forever()
        finally:
            if self._scheduler.result is None and self._parked is None:
                self.cancel(_OUTSIDE)

    async def _run(self) -> Result:
        async with trio.open_nursery() as outer:
            outer.start_soon(self._drive)
            async with trio.open_nursery() as self._workers:
                for attempt in self._opened:
                    self._workers.start_soon(self._work, self._stoppable(attempt))
                try:
                    await self._over.wait()
                    if self._parked is not None:
                        self._workers.cancel_scope.cancel()
                except trio.Cancelled:
                    self._scheduler.cancel(_OUTSIDE, self._now())
                    raise
        result = self._scheduler.result or self._parked
        assert result is not None
        return result

    async def _drive(self) -> None:
        """Take turns until the run is over: when woken, and when the scheduler's next deadline has come."""
        try:
            while self._scheduler.result is None and self._parked is None:
                self._wake = trio.Event()
                if self._exact:
                    await self._rest()
                first = self._turn()
                if first is not None:
                    self._workers.start_soon(self._work, first)
                if self._exact and self._scheduler.idle:
                    await self._rest()
                if self._scheduler.result is None and self._parked is None:
                    with trio.CancelScope(deadline=self._start + self._until) as self._sleep:
                        await self._wake.wait()
        except trio.Cancelled:
            self._end_from_outside()
            raise
        finally:
            self._over.set()

    async def _rest(self) -> None:
        """Wait until every body has done all it can at this instant.

        Raises EngineError for a run that could never end.
        """
        from trio.testing import wait_all_tasks_blocked

        await wait_all_tasks_blocked()
        asleep = trio.lowlevel.current_statistics().seconds_to_next_deadline == math.inf
        if asleep and self._turned and self._scheduler.idle and not self._wake.is_set():
            hanging = ", ".join(f"`{path}`" for path in self._scheduler.running)
            raise EngineError(
                f"the run would never end: {hanging} hangs, and no timeout or deadline stops it"
            )

    # -- turns -------------------------------------------------------------------------------------------------

    def _now(self) -> float:
        return whole(self._clock() - self._start)

    def _turn(self, scope: trio.CancelScope | None = None) -> LiveAttempt | None:
        """Give the scheduler the time, and do what it returns.

        The first attempt to start is returned for the caller to run, in its `scope`.
        """
        scheduler = self._scheduler
        now = self._now()
        self._turned = True
        first: LiveAttempt | None = None
        while True:
            stops = scheduler.strike(now)
            for attempt in stops:
                self._stop(attempt)
            for attempt in () if stops else scheduler.give(now):
                if first is None:
                    first = self._stoppable(attempt, scope)
                else:
                    self._workers.start_soon(self._work, self._stoppable(attempt))
            more = stops or scheduler.pending
            if more and self._exact:
                self._wake.set()  # once the bodies that end at this instant have ended
            if self._exact or not more:
                break
        self.park()
        self._set_alarm()
        return first

    def park(self) -> None:
        """End the run as `waiting` if only open questions are left and none is answered."""
        alone = self._scheduler.asking and self._parked is None
        if alone and self._parks is not None and self._parks(self._scheduler.asked):
            self._parked = self._scheduler.park(time.time(), self._now())
            self._wake.set()

    def _stoppable(
        self, attempt: LiveAttempt, scope: trio.CancelScope | None = None
    ) -> LiveAttempt:
        if scope is None and (self._apart or attempt.killable):
            scope = trio.CancelScope()
        attempt.handle = scope
        return attempt

    def _set_alarm(self) -> None:
        """Set when the driver wakes: at the next deadline, or at once when the run is over."""
        if self._scheduler.result is not None or self._parked is not None:
            self._wake.set()
            return
        until = self._scheduler.next_time
        if until != self._until:
            self._until = until
            self._sleep.deadline = self._start + until

    def _stop(self, attempt: LiveAttempt) -> None:
        """Cancel a body by its own scope, or with all others when the whole run is being cancelled."""
        scope = attempt.handle or self._workers.cancel_scope
        scope.cancel()

    def _end_from_outside(self) -> None:
        """Record a cancellation from outside as the run's own, so that its record is complete."""
        self._scheduler.cancel(_OUTSIDE, self._now())
        self._turn()

    # -- attempts ----------------------------------------------------------------------------------------------

    async def _work(self, attempt: LiveAttempt | None) -> None:
        """Run attempts one after the other, as long as the end of one lets another start."""
        while attempt is not None:
            attempt = await self._follow(attempt)

    async def _follow(self, attempt: LiveAttempt) -> LiveAttempt | None:
        """Run an attempt and its successors in one scope until one is stopped, and return the next attempt, if any."""
        scope, breath = attempt.handle, 0
        under: LiveAttempt | None = attempt
        outcome: Outcome | None = None
        try:
            with scope or nullcontext():
                while True:
                    if attempt.stopping or not breath % _BREATH:
                        await trio.lowlevel.checkpoint()
                    outcome = await self._perform(attempt)
                    if scope is not None and scope.cancel_called:
                        break
                    under = None
                    following = self._ended(attempt, outcome, scope)
                    if following is None or following.handle is not scope:
                        return following
                    under = attempt = following
                    outcome = None
                    breath += 1
        except BaseException:  # cancelled, alone or in a group, or a bug: the record is made whole
            if self._parked is None and under is not None:
                self._scheduler.ended(under, None)
                self._end_from_outside()
            raise
        return self._ended(attempt, outcome, None)

    def _ended(
        self, attempt: LiveAttempt, outcome: Outcome | None, scope: trio.CancelScope | None
    ) -> LiveAttempt | None:
        """Record the end of an attempt, and return the attempt to run next, in `scope` if possible."""
        self._scheduler.ended(attempt, outcome)
        if self._exact:
            self._wake.set()
            return None
        return self._turn(scope)
