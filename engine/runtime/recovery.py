"""Recover a resumed run: decide what becomes of each attempt whose end is not recorded.

A detached body is found by its attempt's directory: if it still runs, has ended meanwhile or was never begun, the
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
from engine.scheduling.state import AttemptState
from engine.sdk.task import Executor

__all__ = [
    "AttemptDirectories",
    "count_logged_lines",
    "is_detached",
    "recover_attempts",
    "resolve_attempt_executor",
]


_ENGINE_DIED = "the engine died while it ran"


@frozen
class AttemptDirectories:
    """The directories of a stored run's detached bodies: one for each attempt, and for each time its body was lost."""

    root: Path
    restarts: int = 0
    """The number of restarts of the run; after a restart its attempts are others."""

    def directory_of(self, attempt: AttemptState) -> str | None:
        """Return the directory of a detached attempt, or None; its name is the body's token."""
        if not is_detached(attempt):
            return None
        name = f"{self.root}/{self.restarts}/{attempt.key}/{attempt.execution}"
        return str(self.root / hashlib.sha256(name.encode()).hexdigest()[:32])

    def create(self) -> None:
        """Create the directory of the run; if it does not exist, the run has not run on this machine."""
        try:
            self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise JournalError(f"`{self.root}` cannot be created: {error.strerror}") from None

    def remove_all(self) -> None:
        """Remove all directories: the run has ended, and its journal has all that is needed."""
        shutil.rmtree(self.root, ignore_errors=True)


def resolve_attempt_executor(attempt: AttemptState) -> Executor:
    """Return where the body of a task runs: the node's executor, else the task's."""
    task = attempt.body.task
    assert task is not None
    chosen = (attempt.node.plan.executor if task.function else None) or task.executor
    return "thread" if chosen == "process" and not task.target else chosen


def is_detached(attempt: AttemptState) -> bool:
    """Return whether the body goes on when the engine dies."""
    task = attempt.body.task
    return task is not None and (task.is_detached or resolve_attempt_executor(attempt) == "process")


async def recover_attempts(
    replayed: Replayed,
    directories: AttemptDirectories | None,
    owner: str,
    carried_over: Collection[str],
) -> tuple[list[AttemptState], list[AttemptState]]:
    """Return the attempts to continue and those to begin; no other process of the run is left.

    `carried_over` are keys of attempts that have no body. A trio checkpoint.
    """
    opened = (*replayed.fresh, *replayed.unresolved)
    places = [directories.directory_of(attempt) if directories else None for attempt in opened]
    going = [p for p, a in zip(places, opened, strict=True) if p and not a.stopping]
    await children.kill_escaped(
        owner, frozenset(token for p in going for token in _iter_process_tokens(p))
    )
    here = directories is not None and directories.root.exists()  # else it ran on another machine
    adopted: list[AttemptState] = []
    begun: list[AttemptState] = []
    for attempt, place in zip(opened, places, strict=True):
        fresh = attempt in replayed.fresh
        if attempt.stopping:
            replayed.scheduler.attempt_ended(attempt, None)
        elif (
            attempt.key in carried_over
            or attempt.body.needs_person
            or (fresh and (place is None or not here))
        ):
            begun.append(attempt)
        elif place is not None and here and detached.state_of(place) != "dead":
            adopted.append(attempt)
        else:
            begun += _handle_lost(replayed, attempt)
    return adopted, begun


def _iter_process_tokens(directory: str) -> Iterator[str]:
    """Yield the tokens of a body's processes: of a detached process, and of a worker that serves many calls."""
    yield detached.token_of_directory(directory)
    claim = detached.read_claim(directory)
    if claim is not None and claim.is_alive:
        yield children.find_last_token(claim.pid)


def _handle_lost(replayed: Replayed, attempt: AttemptState) -> Iterator[AttemptState]:
    """Apply the step's `on_interrupt` to an attempt whose body was lost; yield the attempt if it is run again."""
    scheduler = replayed.scheduler
    match attempt.body.on_interrupt:
        case "rerun":
            yield scheduler.rerun(attempt, scheduler.now)
        case "fail":
            scheduler.attempt_ended(
                attempt, Outcome("error", error=f"interrupted: {_ENGINE_DIED}", permanent=True)
            )
        case "route":
            scheduler.attempt_ended(attempt, Outcome("interrupted", error=_ENGINE_DIED))


def count_logged_lines(adopted: Sequence[AttemptState], events: Sequence[Event]) -> Counter[str]:
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
