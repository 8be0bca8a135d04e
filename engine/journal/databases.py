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

__all__ = ["Database", "find_default_store", "locate_attempts", "open_database"]


class Database(Protocol):
    """One connection to a database."""

    errors: tuple[type[Exception], ...]

    def open(self, format: int) -> None:
        """Connect and create the tables; raises JournalError if they are of a newer format."""

    def close(self) -> None: ...

    def transaction(self, exclusive: bool) -> Any:
        """Return a context manager whose writes are committed at its end, all or none.

        No two `exclusive` transactions run at the same time.
        """

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        """Execute a statement and return the number of rows affected."""

    def query(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]: ...

    def describe_error(self, error: Exception) -> str:
        """Describe an error, as a phrase to follow the name of the store."""

    def put_blob(self, name: str, data: bytes) -> None:
        """Store a large value, whole or not at all, unless it is stored already."""

    def get_blob(self, name: str) -> bytes | None: ...

    def delete_blobs(self, referenced: Collection[str], before: float) -> None:
        """Delete large values that are not referenced and were stored before a time.

        `before` is in seconds since 1970. The space of what was deleted is freed where the database needs that.
        """


def open_database(location: str, is_durable: bool) -> Database:
    """Return the database of a path or URL, not connected yet."""
    if location.startswith(("postgresql://", "postgres://")):
        from engine.journal.postgres import PostgresDatabase

        return PostgresDatabase(location, is_durable)
    if "://" in location:
        raise JournalError(
            f"`{location.partition(':')[0]}` is not a supported kind of store: use a path, or `postgresql://…`"
        )
    from engine.journal.sqlite import SqliteDatabase

    return SqliteDatabase(location, is_durable)


def find_default_store() -> str:
    """Return the path of the store in the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return str(Path(state) / "engine" / "runs.db")


def locate_attempts(location: str, run: str) -> Path:
    """Return the directory, on this machine, of the attempts of a stored run."""
    if "://" in location:
        folder = Path(find_default_store()).with_name(f"{_hash(location)}-attempts")
    else:
        folder = Path(f"{os.path.realpath(location)}-attempts")
    return folder / _hash(run)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]
