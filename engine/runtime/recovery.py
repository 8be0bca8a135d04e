"""A run that is taken up again: what becomes of each attempt whose end nobody recorded.

A body that outlives the engine is looked for in its attempt's folder: what still runs, has ended
meanwhile or was never begun goes on as the same attempt, for running it again starts nothing that
somebody began. What was being stopped is over. All else is lost, and the step says what follows
from that. Then all processes of the run are killed that belong to none that goes on. Source:
LANGUAGE.md sections 3 and 15 (T6).
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
    """Where the bodies of a run that is kept are: a folder for each attempt, and for each time its body was lost."""

    root: Path
    part: int = 0
    """One more for each time that the run began once more: its attempts are others then."""

    def of(self, attempt: LiveAttempt) -> str | None:
        """The folder of an attempt whose body outlives the engine; its name is the body's token."""
        if not outlives(attempt):
            return None
        name = f"{self.root}/{self.part}/{attempt.key}/{attempt.life}"
        return str(self.root / hashlib.sha256(name.encode()).hexdigest()[:32])

    def make(self) -> None:
        """Make the folder of the run: where there is none, it has not run on this machine."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise JournalError(f"`{self.root}` cannot be created: {error.strerror}") from None

    def remove(self) -> None:
        """Forget all of it: the run has ended, and its journal has what there was."""
        shutil.rmtree(self.root, ignore_errors=True)


def executor_of(attempt: LiveAttempt) -> Executor:
    """Where the body of a task runs: the node says it, else the task."""
    task = attempt.body.task
    assert task is not None
    chosen = (attempt.node.plan.executor if task.function else None) or task.executor
    return "thread" if chosen == "process" and not task.target else chosen


def outlives(attempt: LiveAttempt) -> bool:
    """Whether the body goes on when the engine dies."""
    task = attempt.body.task
    return task is not None and (task.outlives or executor_of(attempt) == "process")


async def recovered(
    again: Replayed, folders: Folders | None, owner: str, known: Collection[str]
) -> tuple[list[LiveAttempt], list[LiveAttempt]]:
    """The attempts to go on with, and those to begin; nothing else of the run is left running.

    `known` are keys of attempts that have no body.
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
    """What the processes of a body bear: those of a shim, and of a worker that serves many."""
    yield detached.token(place)
    claim = detached.claim_of(place)
    if claim is not None and claim.alive:
        yield children.last_token(claim.pid)


def _lost(again: Replayed, attempt: LiveAttempt) -> Iterator[LiveAttempt]:
    """What the step says of a body that was lost."""
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
    """How many lines each of these attempts, by its key, has told already."""
    counts: Counter[str] = Counter()
    latest: dict[str, str] = {}
    for event in events:
        if event.kind in ("attempt_started", "attempt_rerun"):
            latest[event.path] = event.data["key"]
            counts[event.data["key"]] = 0
        elif event.kind == "attempt_noted":
            counts[latest[event.path]] += 1
    return Counter({attempt.key: counts[attempt.key] for attempt in adopted})
