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

__all__ = ["SqliteDatabase"]


class SqliteDatabase:
    """An SQLite file in write-ahead mode.

    With `is_durable` a commit is on disk when it returns.
    """

    errors: tuple[type[Exception], ...] = (sqlite3.Error, OSError)

    def __init__(self, location: str, is_durable: bool) -> None:
        self._path, self._is_durable = Path(location), is_durable
        self._blob_directory = self._path.parent / f"{self._path.name}-values"

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
            self._prepare_connection(format)
            undo.pop_all()

    def _prepare_connection(self, format: int) -> None:
        self._db.execute(f"PRAGMA synchronous = {'FULL' if self._is_durable else 'NORMAL'}")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > format:
            raise JournalError(
                f"the store `{self._path}` was written by a newer engine: format {version}, this one supports {format}"
            )
        if version < format:
            self._create_tables(format)

    def _create_tables(self, format: int) -> None:
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
    def transaction(self, exclusive: bool = True) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:  # what is not committed is not written
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        return self._db.execute(sql, values).rowcount

    def query(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        yield from self._db.execute(sql, values)

    def describe_error(self, error: Exception) -> str:
        if isinstance(error, OSError):
            return f"cannot be used: {(error.strerror or str(error)).lower()}"
        name = getattr(error, "sqlite_errorname", "")
        return _ERROR_MESSAGES.get(name.removesuffix("_VTAB"), f"cannot be used: {error}")

    def put_blob(self, name: str, data: bytes) -> None:
        path = self._locate_blob(name)
        if path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                if self._is_durable:
                    os.fsync(file.fileno())
            os.replace(partial, path)
        finally:  # no part of a value stays
            with suppress(OSError):
                partial.unlink()

    def get_blob(self, name: str) -> bytes | None:
        try:
            return self._locate_blob(name).read_bytes()
        except FileNotFoundError:
            return None

    def delete_blobs(self, referenced: Collection[str], before: float) -> None:
        for path in self._blob_directory.glob("*/*"):
            if path.name not in referenced and path.stat().st_mtime < before:
                path.unlink()
        self._db.execute("VACUUM")

    def _locate_blob(self, name: str) -> Path:
        return self._blob_directory / name[:2] / name


_ERROR_MESSAGES = {
    "SQLITE_FULL": "cannot be written: the disk is full",
    "SQLITE_READONLY": "cannot be written: it is read-only",
    "SQLITE_READONLY_DIRECTORY": "cannot be written: its folder is read-only",
    "SQLITE_CANTOPEN": "cannot be opened: the folder does not exist, or you may not write to it",
    "SQLITE_NOTADB": "is not a store: the file is not a SQLite database",
    "SQLITE_CORRUPT": "is damaged: `sqlite3 FILE .recover` may recover what is left",
    "SQLITE_BUSY": "is busy: another process has been writing for half a minute",
    "SQLITE_IOERR_WRITE": "cannot be written: the disk reports an error",
}
