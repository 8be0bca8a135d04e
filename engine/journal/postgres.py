"""Store runs and large values in PostgreSQL: any machine that reaches the database can resume a run.

Needs psycopg, the extra `engine[postgres]`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.errors import JournalError
from engine.journal.tables import TABLES, shown

__all__ = ["Postgres"]

_LOCK = 0x656E67696E65
"""The number of the advisory lock of exclusive transactions."""
_BATCH = 1000

_MORE = (
    "CREATE TABLE IF NOT EXISTS format (version INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS value (
        name TEXT PRIMARY KEY, data BYTEA NOT NULL, at DOUBLE PRECISION NOT NULL)""",
)


class Postgres:
    """A PostgreSQL database, given by its URL.

    With `is_durable` a commit is on disk when it returns.
    """

    errors: tuple[type[Exception], ...]

    def __init__(self, where: str, durable: bool) -> None:
        try:
            import psycopg
        except ImportError:
            raise JournalError(
                "a store in PostgreSQL needs psycopg: pip install 'engine[postgres]'"
            ) from None
        self._where, self._durable = where, durable
        self._connect = psycopg.connect
        self.errors = (psycopg.Error, OSError)

    def open(self, format: int) -> None:
        self._db = self._connect(self._where, autocommit=True, connect_timeout=10)
        with ExitStack() as undo:
            undo.callback(self._db.close)
            self._begin(format)
            undo.pop_all()

    def _begin(self, format: int) -> None:
        self._db.execute(f"SET synchronous_commit = {'on' if self._durable else 'off'}")
        version = self._version()
        if version > format:
            raise JournalError(
                f"the store `{shown(self._where)}` was written by a newer engine: format {version}, "
                f"this one supports {format}"
            )
        if version < format:
            self._make(format)

    def _version(self) -> int:
        if self._one("SELECT to_regclass('format')") is None:
            return 0
        return int(self._one("SELECT max(version) FROM format") or 0)

    def _one(self, sql: str) -> Any:
        row = self._db.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def _make(self, format: int) -> None:
        with self.transaction(alone=True):
            for table in (*TABLES, *_MORE):
                sql = table.format(
                    real="DOUBLE PRECISION", lean="", serial="BIGINT GENERATED ALWAYS AS IDENTITY"
                )
                self._db.execute(sql.encode())
            self._db.execute("INSERT INTO format VALUES (%s)", (format,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self, alone: bool) -> Iterator[None]:
        with self._db.transaction():
            if alone:
                self._db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            yield

    def do(self, sql: str, values: Sequence[Any]) -> int:
        return self._db.execute(_own(sql), values).rowcount

    def rows(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with self._db.cursor() as cursor:
            cursor.execute(_own(sql), values)
            while found := cursor.fetchmany(_BATCH):
                yield from found

    def why(self, error: Exception) -> str:
        text = str(error).strip().splitlines()
        return f"cannot be used: {text[0] if text else type(error).__name__}"

    def put(self, name: str, data: bytes) -> None:
        self._db.execute(
            "INSERT INTO value VALUES (%s, %s, extract(epoch FROM clock_timestamp())) "
            "ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            (name, data),
        )

    def get(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT data FROM value WHERE name = %s", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def forget(self, kept: Collection[str], before: float) -> None:
        self._db.execute(
            "DELETE FROM value WHERE at < %s AND NOT name = ANY(%s)", (before, list(kept))
        )


def _own(sql: str) -> bytes:
    """Replace the parameter marks by those of psycopg."""
    return sql.replace("?", "%s").encode()
