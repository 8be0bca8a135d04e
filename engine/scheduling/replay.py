"""Rebuild the scheduler of a run from its events, through the scheduler itself.

Everything that was reported to the scheduler is reported to it again, at the same times: ends of attempts, and
requests to cancel. It then does everything else by itself, and each event that it emits must be the next one of the
journal; a different event means that the spec or the engine has changed. Where the journal ends, further events are
new, and go to the listener from then on. Replay uses no clock, no trio, and no store.

Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.base.classes import frozen
from engine.base.gc_pause import gc_paused
from engine.errors import JournalError
from engine.record.events import Event
from engine.scheduling.carry_over import outcome_of
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.state import AttemptState

__all__ = ["Replayed", "replay"]

_IGNORED_KINDS = ("attempt_noted", "run_waiting")
"""The kinds of events that change nothing in the scheduler."""

EventListener = Callable[[Event], None]


@frozen
class Replayed:
    """The scheduler where the journal ends, and the attempts that it waits for."""

    scheduler: Scheduler
    fresh: tuple[AttemptState, ...]
    """The attempts to start that the journal does not contain."""
    unresolved: tuple[AttemptState, ...]
    """The attempts that started according to the journal but have no end there."""


def replay(
    make: Callable[[EventListener], Scheduler],
    events: Sequence[Event],
    listen: EventListener | None = None,
) -> Replayed:
    """Build a scheduler and bring it to the point where `events` end.

    `make` receives the function that the scheduler emits its events to. New events go to `listen`.
    Raises JournalError if the events do not belong to this plan.
    """
    fold = _Replay([event for event in events if event.kind not in _IGNORED_KINDS], listen)
    fold.scheduler = make(fold.on_event)
    fold.made, fold.scheduler.brief = True, fold.at < len(fold.events)
    with gc_paused():
        while fold.at < len(fold.events):
            fold.step()
    fold.scheduler.listen = listen
    opened = fold.open.items()
    return Replayed(
        fold.scheduler,
        tuple(attempt for key, attempt in opened if key not in fold.seen),
        tuple(attempt for key, attempt in opened if key in fold.seen),
    )


class _Replay:
    """A replay in progress; `at` is the index of the first event that has not been emitted again."""

    scheduler: Scheduler

    def __init__(self, events: Sequence[Event], listen: EventListener | None) -> None:
        self.events, self.listen, self.at = events, listen, 0
        self.made = False
        self.open: dict[str, AttemptState] = {}
        self.seen: set[str] = set()

    def step(self) -> None:
        """Report to the scheduler what the next event needs, until the scheduler has emitted that event."""
        event, before = self.events[self.at], self.at
        if event.kind == "cancel_asked":
            self._replay_cancel(event)
        elif event.kind == "attempt_rerun":
            key = event.data["key"]
            self.open[key] = self.scheduler.rerun(self.open[key], event.time)
        elif event.kind in ("resource_opening", "resource_closed"):
            self._replay_resource(event)
        else:
            self._replay_turn(event)
        if self.at == before:
            raise self._build_mismatch_error(None)

    def _replay_cancel(self, event: Event) -> None:
        """Replay a request to cancel the run or one node."""
        if event.path:
            self.scheduler.cancel_node(event.path, event.data["message"], event.time)
        else:
            self.scheduler.cancel(event.data["message"], event.time)

    def _replay_resource(self, event: Event) -> None:
        run, name = self.scheduler.find_run(event.path), event.data["resource"]
        if run is None:
            raise self._build_mismatch_error(None)
        if event.kind == "resource_opening":
            self.scheduler.resource_opening(run, name, event.time)
        else:
            self.scheduler.resource_closed(run, name, event.data["error"], event.time)

    def _replay_turn(self, event: Event) -> None:
        scheduler = self.scheduler
        scheduler.turn = event.turn - 1
        for at in range(self.at, len(self.events)):
            other = self.events[at]
            if other.turn != event.turn:
                break
            if other.kind == "attempt_ended" and other.data["key"] in self.open:
                attempt = self.open.pop(other.data["key"])
                scheduler.attempt_ended(attempt, None if attempt.stopping else outcome_of(other))
        if not scheduler.process_due(event.time):
            self.open |= {attempt.key: attempt for attempt in scheduler.start_ready(event.time)}

    def on_event(self, event: Event) -> None:
        """Compare an emitted event with the journal, and go on to the next event."""
        if self.at == len(self.events):
            if self.listen is not None:
                self.listen(event)
            return
        known = self.events[self.at]
        if known.kind != event.kind or known.path != event.path:
            raise self._build_mismatch_error(event)
        self.at += 1
        if event.kind == "attempt_started":
            self.seen.add(known.data["key"])
        if self.at == len(self.events):
            if self.made:  # events from now on are new
                self.scheduler.brief = False
        else:
            follow = self.events[self.at]
            if follow.kind == "cancel_asked" and follow.turn == event.turn:
                # A listener asked in the middle of a turn, which then went on otherwise.
                self._replay_cancel(follow)

    def _build_mismatch_error(self, event: Event | None) -> JournalError:
        known = self.events[self.at]
        emitted = f"`{event.kind}` of `{event.path}`" if event else "nothing"
        return JournalError(
            f"the journal belongs to another spec or engine version: its event {self.at + 1} is "
            f"`{known.kind}` of `{known.path}`, but replaying the run gives {emitted}"
        )
