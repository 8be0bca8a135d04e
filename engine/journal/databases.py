"""The interface of the databases that store runs: opening, transactions, parameters, errors.

SQL is written once, with `?` for parameters, for SQLite 3.40 and PostgreSQL 13 and newer.
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
    """One connection to a database."""

    errors: tuple[type[Exception], ...]

    def open(self, format: int) -> None:
        """Connect and create the tables; raises JournalError if they are of a newer format."""

    def close(self) -> None: ...

    def transaction(self, alone: bool) -> Any:
        """Return a context manager whose writes are committed at its end, all or none.

        No two `exclusive` transactions run at the same time.
        """

    def do(self, sql: str, values: Sequence[Any]) -> int:
        """Execute a statement and return the number of rows affected."""

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]: ...

    def why(self, error: Exception) -> str:
        """Describe an error, as a phrase to follow the name of the store."""

    def put(self, name: str, data: bytes) -> None:
        """Store a large value, whole or not at all, unless it is stored already."""

    def get(self, name: str) -> bytes | None: ...

    def forget(self, kept: Collection[str], before: float) -> None:
        """Delete large values that are not referenced and were stored before a time.

        `before` is in seconds since 1970. The space of what was deleted is freed where the database needs that.
        """


def dialect_of(where: str, durable: bool) -> Dialect:
    """Return the database of a path or URL, not connected yet."""
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
    """Return the path of the store in the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return str(Path(state) / "engine" / "runs.db")


def attempts_of(where: str, run: str) -> Path:
    """Return the directory, on this machine, of the attempts of a stored run."""
    if "://" in where:
        folder = Path(default_store()).with_name(f"{_hash(where)}-attempts")
    else:
        folder = Path(f"{os.path.realpath(where)}-attempts")
    return folder / _hash(run)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
