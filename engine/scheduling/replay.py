"""Events of a run -> the scheduler as it was: a fold, through the scheduler that ran them.

What was told to the scheduler is told to it again, at the same times: ends of attempts, and that
somebody asked to cancel. It then does all else by itself, and each event that it tells must be the
next of the journal: one that is not means that spec or engine is another than it was. Where the
journal ends, what is still to be told is new, and goes to whoever listens from then on. Knows no
clock, no trio, no store. Source: LANGUAGE.md section 15 (T6).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.base.classes import frozen
from engine.base.gc_pause import without_collecting
from engine.errors import JournalError
from engine.record.events import Event
from engine.scheduling.carry_over import outcome_of
from engine.scheduling.scheduler import Scheduler
from engine.scheduling.state import LiveAttempt

__all__ = ["Replayed", "replay"]

_BESIDES = ("attempt_noted", "run_waiting")
"""Events that change nothing."""

Hear = Callable[[Event], None]


@frozen
class Replayed:
    """The scheduler where the journal ends, and what it waits for."""

    scheduler: Scheduler
    fresh: tuple[LiveAttempt, ...]
    """Attempts to start, of which the journal does not know."""
    doubtful: tuple[LiveAttempt, ...]
    """Attempts that the journal saw start and not end."""


def replay(
    make: Callable[[Hear], Scheduler], events: Sequence[Event], listen: Hear | None = None
) -> Replayed:
    """Make a scheduler that tells its events to the function it is given, and bring it to where
    `events` end; new ones go to `listen`. JournalError if they are not of this plan."""
    fold = _Fold([event for event in events if event.kind not in _BESIDES], listen)
    fold.scheduler = make(fold.hear)
    fold.made, fold.scheduler.brief = True, fold.at < len(fold.events)
    with without_collecting():
        while fold.at < len(fold.events):
            fold.step()
    fold.scheduler.listen = listen
    opened = fold.open.items()
    return Replayed(
        fold.scheduler,
        tuple(attempt for key, attempt in opened if key not in fold.seen),
        tuple(attempt for key, attempt in opened if key in fold.seen),
    )


class _Fold:
    """A replay under way: `at` is the first event that has not been told again."""

    scheduler: Scheduler

    def __init__(self, events: Sequence[Event], listen: Hear | None) -> None:
        self.events, self.listen, self.at = events, listen, 0
        self.made = False
        self.open: dict[str, LiveAttempt] = {}
        self.seen: set[str] = set()

    def step(self) -> None:
        """Tell the scheduler what the next event needs, until it has told that event."""
        event, before = self.events[self.at], self.at
        if event.kind == "cancel_asked":
            self._cancel(event)
        elif event.kind == "attempt_rerun":
            key = event.data["key"]
            self.open[key] = self.scheduler.rerun(self.open[key], event.time)
        elif event.kind in ("resource_opening", "resource_closed"):
            self._resource(event)
        else:
            self._turn(event)
        if self.at == before:
            raise self._unlike(None)

    def _cancel(self, event: Event) -> None:
        """Of the run, or of one node."""
        if event.path:
            self.scheduler.cancel_node(event.path, event.data["message"], event.time)
        else:
            self.scheduler.cancel(event.data["message"], event.time)

    def _resource(self, event: Event) -> None:
        run, name = self.scheduler.run_at(event.path), event.data["resource"]
        if run is None:
            raise self._unlike(None)
        if event.kind == "resource_opening":
            self.scheduler.opening(run, name, event.time)
        else:
            self.scheduler.closed(run, name, event.data["error"], event.time)

    def _turn(self, event: Event) -> None:
        scheduler = self.scheduler
        scheduler.turn = event.turn - 1
        for at in range(self.at, len(self.events)):
            other = self.events[at]
            if other.turn != event.turn:
                break
            if other.kind == "attempt_ended" and other.data["key"] in self.open:
                attempt = self.open.pop(other.data["key"])
                scheduler.ended(attempt, None if attempt.stopping else outcome_of(other))
        if not scheduler.strike(event.time):
            self.open |= {attempt.key: attempt for attempt in scheduler.give(event.time)}

    def hear(self, event: Event) -> None:
        """Compare what the scheduler tells with the journal, and go on to the next event."""
        if self.at == len(self.events):
            if self.listen is not None:
                self.listen(event)
            return
        known = self.events[self.at]
        if known.kind != event.kind or known.path != event.path:
            raise self._unlike(event)
        self.at += 1
        if event.kind == "attempt_started":
            self.seen.add(known.data["key"])
        if self.at == len(self.events):
            if self.made:  # what is told from now on is new
                self.scheduler.brief = False
        else:
            follow = self.events[self.at]
            if follow.kind == "cancel_asked" and follow.turn == event.turn:
                # A listener asked in the middle of a turn, which then went on otherwise.
                self._cancel(follow)

    def _unlike(self, event: Event | None) -> JournalError:
        known = self.events[self.at]
        told = f"`{event.kind}` of `{event.path}`" if event else "nothing"
        return JournalError(
            f"the journal belongs to another spec or engine version: its event {self.at + 1} is "
            f"`{known.kind}` of `{known.path}`, but replaying the run gives {told}"
        )
