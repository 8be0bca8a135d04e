"""Recover a resumed run: decide what becomes of each attempt whose end is not recorded.

A detached body is looked for in its attempt's directory: if it still runs, has ended meanwhile or was never begun, the
same attempt goes on, since running it again starts nothing that is already begun. An attempt that was being stopped has ended.
Every other attempt is lost, and its step says what follows. Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from engine.base.classes import frozen
from engine.errors import JournalError
from engine.processes import children, detached
from engine.record.events import Event
from engine.record.result import Outcome
from engine.scheduling.replay import Replayed
from engine.scheduling.state import LiveAttempt
from engine.sdk.task import Executor

__all__ = ["Folders", "executor_of", "outlives", "recovered", "said_by"]


_DIED = "the engine died while it ran"


@frozen
class Folders:
    """The directories of a stored run's detached bodies: one for each attempt, and for each time its body was lost."""

    root: Path
    part: int = 0
    """The number of restarts of the run; after a restart its attempts are others."""

    def of(self, attempt: LiveAttempt) -> str | None:
        """Return the directory of a detached attempt, or None; its name is the body's token."""
        if not outlives(attempt):
            return None
        name = f"{self.root}/{self.part}/{attempt.key}/{attempt.life}"
        return str(self.root / hashlib.sha256(name.encode()).hexdigest()[:32])

    def make(self) -> None:
        """Create the directory of the run; if it does not exist, the run has not run on this machine."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise JournalError(f"`{self.root}` cannot be created: {error.strerror}") from None

    def remove(self) -> None:
        """Remove all directories: the run has ended, and its journal has all that is needed."""
        shutil.rmtree(self.root, ignore_errors=True)


def executor_of(attempt: LiveAttempt) -> Executor:
    """Return where the body of a task runs: the node's executor, else the task's."""
    task = attempt.body.task
    assert task is not None
    chosen = (attempt.node.plan.executor if task.function else None) or task.executor
    return "thread" if chosen == "process" and not task.target else chosen


def outlives(attempt: LiveAttempt) -> bool:
    """Return whether the body goes on when the engine dies."""
    task = attempt.body.task
    return task is not None and (task.outlives or executor_of(attempt) == "process")


async def recovered(
    again: Replayed, folders: Folders | None, owner: str, known: Collection[str]
) -> tuple[list[LiveAttempt], list[LiveAttempt]]:
    """Return the attempts to continue and those to begin; no other process of the run is left.

    `carried_over` are keys of attempts that have no body. A trio checkpoint.
    """
    opened = (*again.fresh, *again.doubtful)
    places = [folders.of(attempt) if folders else None for attempt in opened]
    going = [p for p, a in zip(places, opened, strict=True) if p and not a.stopping]
    await children.kill_strays(owner, frozenset(token for p in going for token in _tokens(p)))
    here = folders is not None and folders.root.exists()  # else it ran on another machine
    adopted: list[LiveAttempt] = []
    begun: list[LiveAttempt] = []
    for attempt, place in zip(opened, places, strict=True):
        fresh = attempt in again.fresh
        if attempt.stopping:
            again.scheduler.ended(attempt, None)
        elif attempt.key in known or attempt.body.asks or (fresh and (place is None or not here)):
            begun.append(attempt)
        elif place is not None and here and detached.look(place) != "dead":
            adopted.append(attempt)
        else:
            begun += _lost(again, attempt)
    return adopted, begun


def _tokens(place: str) -> Iterator[str]:
    """Yield the tokens of a body's processes: of a detached process, and of a worker that serves many calls."""
    yield detached.token(place)
    claim = detached.claim_of(place)
    if claim is not None and claim.alive:
        yield children.last_token(claim.pid)


def _lost(again: Replayed, attempt: LiveAttempt) -> Iterator[LiveAttempt]:
    """Apply the step's `on_interrupt` to an attempt whose body was lost; yield the attempt if it is run again."""
    scheduler = again.scheduler
    match attempt.body.on_interrupt:
        case "rerun":
            yield scheduler.rerun(attempt, scheduler.now)
        case "fail":
            scheduler.ended(
                attempt, Outcome("error", error=f"interrupted: {_DIED}", permanent=True)
            )
        case "route":
            scheduler.ended(attempt, Outcome("interrupted", error=_DIED))


def said_by(adopted: Sequence[LiveAttempt], events: Sequence[Event]) -> Counter[str]:
    """Count the progress messages that each of these attempts has recorded, by its key."""
    counts: Counter[str] = Counter()
    latest: dict[str, str] = {}
    for event in events:
        if event.kind in ("attempt_started", "attempt_rerun"):
            latest[event.path] = event.data["key"]
            counts[event.data["key"]] = 0
        elif event.kind == "attempt_noted":
            counts[latest[event.path]] += 1
    return Counter({attempt.key: counts[attempt.key] for attempt in adopted})
