"""Store runs in an SQLite file in write-ahead mode, and large values in files beside it."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from engine.errors import JournalError
from engine.journal.tables import TABLES

__all__ = ["Sqlite"]


class Sqlite:
    """An SQLite file in write-ahead mode.

    With `is_durable` a commit is on disk when it returns.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, where: str, durable: bool) -> None:
        self._path, self._durable = Path(where), durable
        self._folder = self._path.parent / f"{self._path.name}-values"

    def open(self, format: int) -> None:
        if self._path.is_dir():
            raise JournalError(f"the store `{self._path}` is a folder, not a file")
        with suppress(FileExistsError):
            self._path.parent.mkdir(parents=True, mode=0o700)
        fresh = not self._path.exists()
        self._db = sqlite3.connect(
            self._path, timeout=30, isolation_level=None, check_same_thread=False
        )
        with ExitStack() as undo:
            undo.callback(self._db.close)
            if fresh:
                os.chmod(self._path, 0o600)
            self._begin(format)
            undo.pop_all()

    def _begin(self, format: int) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > format:
            raise JournalError(
                f"the store `{self._path}` was written by a newer engine: format {version}, this one supports {format}"
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
                        serial="INTEGER",
                    )
                )
            self._db.execute(f"PRAGMA user_version = {format}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self, alone: bool = True) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:  # what is not committed is not written
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def do(self, sql: str, values: Sequence[Any]) -> int:
        return self._db.execute(sql, values).rowcount

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        yield from self._db.execute(sql, values)

    def why(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot be used: {(error.strerror or str(error)).lower()}"
        name = getattr(error, "sqlite_errorname", "")
        return _WHY.get(name.removesuffix("_VTAB"), f"cannot be used: {error}")

    def put(self, name: str, data: bytes) -> None:
        path = self._file(name)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                if self._durable:
                    os.fsync(file.fileno())
            os.replace(partial, path)
        finally:  # no part of a value stays
            with suppress(OSError):
                partial.unlink()

    def get(self, name: str) -> bytes | None:
        try:
            return self._file(name).read_bytes()
        except FileNotFoundError:
            return None

    def forget(self, kept: Collection[str], before: float) -> None:
        for path in self._folder.glob("*/*"):
            if path.name not in kept and path.stat().st_mtime < before:
                path.unlink()
        self._db.execute("VACUUM")

    def _file(self, name: str) -> Path:
        return self._folder / name[:2] / name


_WHY = {
    "SQLITE_FULL": "cannot be written: the disk is full",
    "SQLITE_READONLY": "cannot be written: it is read-only",
    "SQLITE_READONLY_DIRECTORY": "cannot be written: its folder is read-only",
    "SQLITE_CANTOPEN": "cannot be opened: the folder does not exist, or you may not write to it",
    "SQLITE_NOTADB": "is not a store: the file is not a SQLite database",
    "SQLITE_CORRUPT": "is damaged: `sqlite3 FILE .recover` may recover what is left",
    "SQLITE_BUSY": "is busy: another process has been writing for half a minute",
    "SQLITE_IOERR_WRITE": "cannot be written: the disk reports an error",
}
