"""What the databases of runs do each in its own way: opening, transactions, marks of parameters, errors.

SQL is written once, with `?`, for SQLite 3.40 and PostgreSQL 13 and newer.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from engine.errors import JournalError

__all__ = ["Dialect", "Sqlite", "default_store", "dialect_of"]

TABLES = (
    """CREATE TABLE IF NOT EXISTS run (
        id TEXT PRIMARY KEY, pipeline TEXT NOT NULL, path TEXT NOT NULL, hash TEXT NOT NULL,
        files TEXT NOT NULL, inputs TEXT NOT NULL, env TEXT NOT NULL, seed TEXT NOT NULL,
        created {real} NOT NULL, engine TEXT NOT NULL, format INTEGER NOT NULL,
        origin TEXT, key TEXT, status TEXT NOT NULL, message TEXT NOT NULL, ended {real})""",
    "CREATE UNIQUE INDEX IF NOT EXISTS run_by_key ON run (path, pipeline, key)",
    "CREATE INDEX IF NOT EXISTS run_by_time ON run (created)",
    """CREATE TABLE IF NOT EXISTS event (
        run TEXT NOT NULL, seq INTEGER NOT NULL, turn INTEGER NOT NULL, time {real} NOT NULL,
        kind TEXT NOT NULL, path TEXT NOT NULL, data TEXT NOT NULL, PRIMARY KEY (run, seq)){lean}""",
    """CREATE TABLE IF NOT EXISTS lease (
        run TEXT PRIMARY KEY, epoch INTEGER NOT NULL, host TEXT NOT NULL, boot TEXT NOT NULL,
        pid INTEGER NOT NULL, began TEXT NOT NULL, expires {real} NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS request (
        id {serial}, run TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL, at {real} NOT NULL)""",
)


class Dialect(Protocol):
    """One connection."""

    folder: Path
    """Where large values go."""
    errors: tuple[type[Exception], ...]

    def open(self, format: int) -> None:
        """Connect, and make the tables; JournalError if they are of a newer format."""

    def close(self) -> None: ...

    def transaction(self) -> Any:
        """A block whose writes are all done at its end, or none."""

    def do(self, sql: str, values: Sequence[Any]) -> int:
        """Execute; how many rows it was about."""

    def many(self, sql: str, values: Sequence[Sequence[Any]]) -> None: ...

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]: ...

    def shrink(self) -> None:
        """Give the place of what was deleted back."""

    def why(self, error: Exception) -> str:
        """What is wrong, to be said after the store's name."""

    def write(self, path: Path, data: bytes) -> None:
        """Make a file, whole or not at all."""


def dialect_of(where: str, durable: bool) -> Dialect:
    """The dialect of a path or URL."""
    if where.startswith(("postgresql://", "postgres://")):
        raise JournalError("stores in PostgreSQL are not supported yet")
    if "://" in where:
        raise JournalError(
            f"`{where.partition(':')[0]}` is no kind of store: a path, or `postgresql://…`"
        )
    return Sqlite(where, durable)


def default_store() -> str:
    """The file under the user's state directory."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return str(Path(state) / "engine" / "runs.db")


class Sqlite:
    """A file, in write-ahead mode. `durable`: a commit is on disk when it returns."""

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, where: str, durable: bool) -> None:
        self._path, self._durable = Path(where), durable
        self.folder = self._path.parent / f"{self._path.name}-values"

    def open(self, format: int) -> None:
        if self._path.is_dir():
            raise JournalError(f"the store `{self._path}` is a folder, not a file")
        with suppress(FileExistsError):
            self._path.parent.mkdir(parents=True, mode=0o700)
        fresh = not self._path.exists()
        self._db = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False
        )
        if fresh:
            os.chmod(self._path, 0o600)
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > format:
            raise JournalError(
                f"the store `{self._path}` was written by a newer engine: format {version}, this one knows {format}"
            )
        if version < format:
            self._make(format)

    def _make(self, format: int) -> None:
        (mode,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise JournalError(
                f"the store `{self._path}` is on a file system without shared memory: choose another place"
            )
        with self.transaction():
            for table in TABLES:
                self._db.execute(
                    table.format(
                        real="REAL",
                        lean=" WITHOUT ROWID",
                        serial="INTEGER PRIMARY KEY AUTOINCREMENT",
                    )
                )
            self._db.execute(f"PRAGMA user_version = {format}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def do(self, sql: str, values: Sequence[Any]) -> int:
        return self._db.execute(sql, values).rowcount

    def many(self, sql: str, values: Sequence[Sequence[Any]]) -> None:
        self._db.executemany(sql, values)

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        yield from self._db.execute(sql, values)

    def shrink(self) -> None:
        self._db.execute("VACUUM")

    def why(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot be used: {(error.strerror or str(error)).lower()}"
        name = getattr(error, "sqlite_errorname", "")
        return _WHY.get(name.removesuffix("_VTAB"), f"cannot be used: {error}")

    def write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


_WHY = {
    "SQLITE_FULL": "cannot be written: the disk is full",
    "SQLITE_READONLY": "cannot be written: it is read-only",
    "SQLITE_READONLY_DIRECTORY": "cannot be written: its folder is read-only",
    "SQLITE_CANTOPEN": "cannot be opened: no such folder, or no right to write there",
    "SQLITE_NOTADB": "is not a store: the file is no SQLite database",
    "SQLITE_CORRUPT": "is damaged: `sqlite3 FILE .recover` may save what is left",
    "SQLITE_BUSY": "is busy: another process has been writing for half a minute",
    "SQLITE_IOERR_WRITE": "cannot be written: the disk fails",
}
