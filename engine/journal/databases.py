"""What the databases of runs do each in its own way: opening, transactions, marks of parameters, errors.

SQL is written once, with `?`, for SQLite 3.40 and PostgreSQL 13 and newer.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from engine.errors import JournalError

__all__ = ["Dialect", "attempts_of", "default_store", "dialect_of"]


class Dialect(Protocol):
    """One connection."""

    errors: tuple[type[Exception], ...]

    def open(self, format: int) -> None:
        """Connect, and make the tables; JournalError if they are of a newer format."""

    def close(self) -> None: ...

    def transaction(self, alone: bool) -> Any:
        """A block whose writes are all done at its end, or none; no two that are `alone` go on at a time."""

    def do(self, sql: str, values: Sequence[Any]) -> int:
        """Execute; how many rows it was about."""

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]: ...

    def why(self, error: Exception) -> str:
        """What is wrong, to be said after the store's name."""

    def put(self, name: str, data: bytes) -> None:
        """Keep a large value, whole or not at all, unless it is there."""

    def get(self, name: str) -> bytes | None: ...

    def forget(self, kept: Collection[str], before: float) -> None:
        """Forget large values but those kept and those put since a time; give back the place of what was deleted."""


def dialect_of(where: str, durable: bool) -> Dialect:
    """The dialect of a path or URL."""
    if where.startswith(("postgresql://", "postgres://")):
        from engine.journal.postgres import Postgres

        return Postgres(where, durable)
    if "://" in where:
        raise JournalError(
            f"`{where.partition(':')[0]}` is not a supported kind of store: use a path, or `postgresql://…`"
        )
    from engine.journal.sqlite import Sqlite

    return Sqlite(where, durable)


def default_store() -> str:
    """The file under the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return str(Path(state) / "engine" / "runs.db")


def attempts_of(where: str, run: str) -> Path:
    """Where the attempts of a run that is kept in a store have their folders: on this machine."""
    if "://" in where:
        folder = Path(default_store()).with_name(f"{_hash(where)}-attempts")
    else:
        folder = Path(f"{os.path.realpath(where)}-attempts")
    return folder / _hash(run)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
