"""Drives a `Scheduler` on trio: starts bodies, stops them, tells it what ended and what time it is.

Attempts run as tasks of one nursery; a task whose attempt has ended goes on with one that may start now. What can be stopped while
the run goes on has a cancel scope, which attempts that follow each other in one task share until it is used. One more task, the
driver, sleeps until the scheduler's next deadline or wake-up. Under a virtual clock (`exact`) the driver alone takes turns, after
everything else has come to rest, so that all that happens at one instant is dealt with in the order of LANGUAGE.md section 6. Does
not know what a body does (`perform`).
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
"""A task that goes on from attempt to attempt lets others run after this many: some milliseconds of the shortest ones.

A thread that waits for the interpreter gets it when it has waited for 5 ms in which nobody let go of it: more often would starve it."""


class Runner:
    """One run under way. `await run()` once; `cancel` from the same trio thread.

    Its time goes on from the scheduler's, `elapsed` seconds later; `opened` are attempts that this gave before, and whose bodies are to be
    run first. `parks` says whether so many questions are all still open: when nothing else goes on the run ends, `waiting`.
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
        """Ask for the run, or one node, to be cancelled; `run` still gives its result."""
        if node is None:
            self._scheduler.cancel(message, self._now())
        else:
            self._scheduler.cancel_node(node, message, self._now())
        self._wake.set()

    def note(self, attempt: LiveAttempt, message: str, progress: float | None = None) -> None:
        """A line of progress from a body, and how much of its work is done if it tells that."""
        self._scheduler.note(attempt, message, self._now(), progress)

    def opening(self, run: LiveRun, name: str) -> None:
        """A resource is being opened."""
        self._scheduler.opening(run, name, self._now())

    def closed(self, run: LiveRun, name: str, error: str | None) -> None:
        """A resource is closed: its run may be waiting for that."""
        self._scheduler.closed(run, name, error, self._now())
        self._wake.set()

    async def run(self) -> Result:
        """The run's result. Cancelled from outside, it stops all work, waits for what is to be done then, and lets the cancellation
        pass."""
        if not self._scheduler.root.plan.lingers:
            return await self._run()
        async with trio.open_nursery() as guard:
            guard.start_soon(self._watch)
            with trio.CancelScope(shield=True):
                result = await self._run()
            guard.cancel_scope.cancel()
        return result

    async def _watch(self) -> None:
        """Hear of a cancellation from outside where nothing else does."""
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
        """Take turns until the run is over: when woken, and when the scheduler's next time has come."""
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
        """Wait until every body has done all it can at this instant."""
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
        """Tell the scheduler the time, do what it says; the first attempt to start is the caller's to run, in its `scope`."""
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
        """End for now if nothing goes on but that people are asked, and none has answered."""
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
        """Let the driver wake in time, or at once when the run is over."""
        if self._scheduler.result is not None or self._parked is not None:
            self._wake.set()
            return
        until = self._scheduler.next_time
        if until != self._until:
            self._until = until
            self._sleep.deadline = self._start + until

    def _stop(self, attempt: LiveAttempt) -> None:
        """Cancel a body: by its own scope, or with all others when the whole run is being cancelled."""
        scope = attempt.handle or self._workers.cancel_scope
        scope.cancel()

    def _end_from_outside(self) -> None:
        """A cancellation that is not ours becomes the run's, so that its record is whole."""
        self._scheduler.cancel(_OUTSIDE, self._now())
        self._turn()

    # -- attempts ----------------------------------------------------------------------------------------------

    async def _work(self, attempt: LiveAttempt | None) -> None:
        """Run attempts one after the other, for as long as the end of one lets another start."""
        while attempt is not None:
            attempt = await self._follow(attempt)

    async def _follow(self, attempt: LiveAttempt) -> LiveAttempt | None:
        """Run an attempt, and in its scope those that its end lets start, until one is stopped; the next one, if there is any."""
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
        """Tell of the end; the attempt that the caller runs next, in `scope` if it can be."""
        self._scheduler.ended(attempt, outcome)
        if self._exact:
            self._wake.set()
            return None
        return self._turn(scope)
