"""Store runs and large values in PostgreSQL: any machine that reaches the database can resume a run.

Needs psycopg, the extra `engine[postgres]`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from engine.errors import JournalError
from engine.journal.tables import TABLES, hide_password

__all__ = ["PostgresDatabase"]

_LOCK_NUMBER = 0x656E67696E65
"""The number of the advisory lock of exclusive transactions."""
_BATCH_SIZE = 1000

_POSTGRES_TABLES = (
    "CREATE TABLE IF NOT EXISTS format (version INTEGER NOT NULL)",
    """CREATE TABLE IF NOT EXISTS value (
        name TEXT PRIMARY KEY, data BYTEA NOT NULL, at DOUBLE PRECISION NOT NULL)""",
)


class PostgresDatabase:
    """A PostgreSQL database, given by its URL.

    With `is_durable` a commit is on disk when it returns.
    """

    errors: tuple[type[Exception], ...]

    def __init__(self, location: str, is_durable: bool) -> None:
        try:
            import psycopg
        except ImportError:
            raise JournalError(
                "a store in PostgreSQL needs psycopg: pip install 'engine[postgres]'"
            ) from None
        self._location, self._is_durable = location, is_durable
        self._connect = psycopg.connect
        self.errors = (psycopg.Error, OSError)

    def open(self, format: int) -> None:
        self._db = self._connect(self._location, autocommit=True, connect_timeout=10)
        with ExitStack() as undo:
            undo.callback(self._db.close)
            self._prepare_connection(format)
            undo.pop_all()

    def _prepare_connection(self, format: int) -> None:
        self._db.execute(f"SET synchronous_commit = {'on' if self._is_durable else 'off'}")
        version = self._read_format()
        if version > format:
            raise JournalError(
                f"the store `{hide_password(self._location)}` was written by a newer engine: format {version}, "
                f"this one supports {format}"
            )
        if version < format:
            self._create_tables(format)

    def _read_format(self) -> int:
        if self._query_value("SELECT to_regclass('format')") is None:
            return 0
        return int(self._query_value("SELECT max(version) FROM format") or 0)

    def _query_value(self, sql: str) -> Any:
        row = self._db.execute(sql.encode()).fetchone()
        return row[0] if row else None

    def _create_tables(self, format: int) -> None:
        with self.transaction(exclusive=True):
            for table in (*TABLES, *_POSTGRES_TABLES):
                sql = table.format(
                    real="DOUBLE PRECISION", lean="", serial="BIGINT GENERATED ALWAYS AS IDENTITY"
                )
                self._db.execute(sql.encode())
            self._db.execute("INSERT INTO format VALUES (%s)", (format,))

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self, exclusive: bool) -> Iterator[None]:
        with self._db.transaction():
            if exclusive:
                self._db.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK_NUMBER,))
            yield

    def execute(self, sql: str, values: Sequence[Any]) -> int:
        return self._db.execute(_translate_parameters(sql), values).rowcount

    def query(self, sql: str, values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
        with self._db.cursor() as cursor:
            cursor.execute(_translate_parameters(sql), values)
            while found := cursor.fetchmany(_BATCH_SIZE):
                yield from found

    def describe_error(self, error: Exception) -> str:
        text = str(error).strip().splitlines()
        return f"cannot be used: {text[0] if text else type(error).__name__}"

    def put_blob(self, name: str, data: bytes) -> None:
        self._db.execute(
            "INSERT INTO value VALUES (%s, %s, extract(epoch FROM clock_timestamp())) "
            "ON CONFLICT (name) DO UPDATE SET at = excluded.at",
            (name, data),
        )

    def get_blob(self, name: str) -> bytes | None:
        row = self._db.execute("SELECT data FROM value WHERE name = %s", (name,)).fetchone()
        return bytes(row[0]) if row else None

    def delete_blobs(self, referenced: Collection[str], before: float) -> None:
        self._db.execute(
            "DELETE FROM value WHERE at < %s AND NOT name = ANY(%s)", (before, list(referenced))
        )


def _translate_parameters(sql: str) -> bytes:
    """Replace the parameter marks by those of psycopg."""
    return sql.replace("?", "%s").encode()
