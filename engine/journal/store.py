"""Store runs in a database: headers, events, leases, and requests from outside.

One `Store` is one connection, for one thread. Every write of a run's events renews its lease in the same transaction,
and fails with LeaseLost if another process has taken the run over since: a process that was suspended for long cannot
interfere with its successor. Large values are stored as blobs beside the database. `databases` holds the differences
between SQLite and PostgreSQL.
Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any

import attrs

from engine.base.gc_pause import gc_paused
from engine.errors import JournalError
from engine.journal.databases import Database, locate_attempts, open_database
from engine.journal.records import (
    JOURNAL_FORMAT,
    Header,
    LeaseHolder,
    StoredRun,
    decode_events,
    encode_events,
    this_process,
)
from engine.journal.tables import hide_password
from engine.record.events import Event

__all__ = [
    "LEASE_DURATION",
    "DuplicateKey",
    "LeaseLost",
    "NoSuchRun",
    "PipelineBusy",
    "RunInUse",
    "Store",
]

LEASE_DURATION = 30.0
"""Seconds until a lease expires unless renewed, where its holder cannot be checked."""

_BLOB_REFERENCE = re.compile(r'"\$file":"([0-9a-f]{64})"')
_MIN_BLOB_AGE = 3600.0
"""Seconds for which a large value may still wait for the event that names it."""

_HEADER_COLUMNS = tuple(field.name for field in attrs.fields(Header))
_JSON_COLUMNS = frozenset({"files", "inputs", "env", "seed"})


class RunInUse(JournalError):
    """Another process runs this run."""


class LeaseLost(JournalError):
    """Another process has taken the run over in the meantime."""


class DuplicateKey(JournalError):
    """A run with this idempotency key exists already."""

    def __init__(self, stored: StoredRun) -> None:
        self.stored = stored
        super().__init__(f"run `{stored.header.id}` has the key `{stored.header.key}`")


class PipelineBusy(JournalError):
    """An exclusive run cannot start while other runs of its pipeline are running."""

    def __init__(self, runs: tuple[str, ...]) -> None:
        self.runs = runs
        super().__init__(f"run `{runs[0]}` of the same pipeline is running")


class NoSuchRun(JournalError):
    """No stored run has this id."""


class Store:
    """A connection to a store, whose tables are created if it is new."""

    def __init__(self, location: str, is_durable: bool = True) -> None:
        self.location = hide_password(location)
        self._database: Database = open_database(location, is_durable)
        with self._wrap_errors():
            self._database.open(JOURNAL_FORMAT)

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- leases -------------------------------------------------------------------------------------------

    def create(self, header: Header, epoch: int = 1, exclusive: bool = False) -> int:
        """Store a new run held by this process, and return the epoch of its lease.

        Raises DuplicateKey if a run with its key exists, and PipelineBusy if it is `exclusive` and other runs of its
        pipeline are running.
        """
        values = [_encode_column(name, getattr(header, name)) for name in _HEADER_COLUMNS]
        marks = ", ".join("?" * (len(_HEADER_COLUMNS) + 2))
        with self._transaction(exclusive=True):
            if header.key is not None and (
                same := self._find_runs_of_pipeline(header, "key = ?", header.key)
            ):
                raise DuplicateKey(same[0])
            running = (
                self._find_runs_of_pipeline(header, "status = ?", "running") if exclusive else []
            )
            if busy := [each.header.id for each in running if each.holder]:
                raise PipelineBusy(tuple(busy))
            self._execute(
                f"INSERT INTO run ({', '.join(_HEADER_COLUMNS)}, status, message) VALUES ({marks})",
                (*values, "running", ""),
            )
            self._write_lease(header.id, epoch, is_new=True)
        return epoch

    def acquire(self, run: str) -> int:
        """Take the lease of a run that no process runs, and return its new epoch.

        Raises RunInUse if another process runs it.
        """
        with self._transaction(exclusive=True):
            found = self._query(
                "SELECT epoch, host, boot, pid, began, expires FROM lease WHERE run = ?", (run,)
            )
            if not found:
                raise self._build_no_such_run(run)
            epoch, *holder, expires = found[0]
            if _is_lease_valid(LeaseHolder(*holder), expires):
                raise RunInUse(f"run `{run}` is already being run by {LeaseHolder(*holder)}")
            self._write_lease(run, epoch + 1)
            self._execute(
                "UPDATE run SET status = 'running', message = '' WHERE id = ? AND status = 'waiting'",
                (run,),
            )
        return int(epoch) + 1

    def _write_lease(self, run: str, epoch: int, is_new: bool = False) -> None:
        values = (epoch, *attrs.astuple(this_process()), time.time() + LEASE_DURATION, run)
        self._execute(
            "INSERT INTO lease (epoch, host, boot, pid, began, expires, run) VALUES (?, ?, ?, ?, ?, ?, ?)"
            if is_new
            else "UPDATE lease SET epoch = ?, host = ?, boot = ?, pid = ?, began = ?, expires = ? WHERE run = ?",
            values,
        )

    def release(self, run: str, epoch: int) -> None:
        """Give up the lease, so that other processes can run the run at once."""
        with self._transaction():
            self._execute(
                "UPDATE lease SET expires = 0, pid = 0 WHERE run = ? AND epoch = ?", (run, epoch)
            )

    # -- events ---------------------------------------------------------------------------------------------------

    def append(
        self,
        run: str,
        epoch: int,
        last: int,
        events: Sequence[Event],
        final_status: tuple[str, str] | None = None,
    ) -> None:
        """Append events, all or none, and renew the lease.

        `last` is the number of the last event; `final_status` is the run's status and message if the events end it.
        Raises LeaseLost if another process has taken the run over.
        """
        data = encode_events(events, self.put_blob) if events else ""
        with self._transaction():
            values = (time.time() + LEASE_DURATION, run, epoch)
            if not self._execute(
                "UPDATE lease SET expires = ? WHERE run = ? AND epoch = ?", values
            ):
                raise LeaseLost(f"run `{run}` has been taken over by another process")
            if events:
                self._execute(
                    "INSERT INTO event (run, last, data) VALUES (?, ?, ?)", (run, last, data)
                )
            if final_status is not None:
                end = None if final_status[0] == "waiting" else time.time()
                self._execute(
                    "UPDATE run SET status = ?, message = ?, ended = ? WHERE id = ?",
                    (*final_status, end, run),
                )
                if end is not None:  # no process sends it requests any more
                    self._execute("DELETE FROM request WHERE run = ?", (run,))

    def reopen(self, header: Header, epoch: int, last: int, events: Sequence[Event]) -> None:
        """Restart a run that has ended, possibly with a changed spec; its events so far stay."""
        self.append(header.id, epoch, last, events)
        with self._transaction():
            values = (header.path, header.hash, json.dumps(header.files), header.id)
            self._execute(
                "UPDATE run SET status = 'running', message = '', ended = NULL, "
                "path = ?, hash = ?, files = ? WHERE id = ?",
                values,
            )

    def iter_events_after(self, run: str, after: int = 0) -> Iterator[tuple[int, list[Event]]]:
        """Yield the events after a number, in the groups they were written in.

        Each group comes with the number of its last event.
        """
        sql = "SELECT last, data FROM event WHERE run = ? AND last > ? ORDER BY last"
        with self._wrap_errors():
            for last, data in self._database.query(sql, (run, after)):
                yield last, decode_events(data, self.get_blob)

    def read_events(self, run: str) -> list[Event]:
        """Return all events of a run, in order."""
        with gc_paused():
            return [event for _, events in self.iter_events_after(run) for event in events]

    # -- runs -----------------------------------------------------------------------------------------------------

    def find_run(self, id: str) -> StoredRun:
        """Return the run with an id, or with the only id that begins with these characters.

        Raises NoSuchRun if there is none, or more than one.
        """
        found = self._query_runs(
            "WHERE id = ? OR id LIKE ? ESCAPE '!' ORDER BY id", (id, _build_like_pattern(id))
        )
        exact = [kept for kept in found if kept.header.id == id]
        if not id:  # a prefix of every id
            raise self._build_no_such_run(id)
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise NoSuchRun(f"`{id}` is ambiguous: {len(found)} run ids begin with it")
        raise self._build_no_such_run(id)

    def list_runs(self, pipeline: str | None = None, since: float | None = None) -> list[StoredRun]:
        """Return the runs, latest first; `since` is in seconds since 1970."""
        terms = [("pipeline = ?", pipeline), ("created >= ?", since)]
        used = [(term, value) for term, value in terms if value is not None]
        where = f"WHERE {' AND '.join(term for term, _ in used)}" if used else ""
        return self._query_runs(f"{where} ORDER BY created DESC, id", [value for _, value in used])

    def _find_runs_of_pipeline(self, header: Header, term: str, value: str) -> list[StoredRun]:
        """Return the runs of the same pipeline."""
        return self._query_runs(
            f"WHERE path = ? AND pipeline = ? AND {term}", (header.path, header.pipeline, value)
        )

    def remove(self, run: str) -> None:
        """Delete a run that no process runs, with its attempts' directories."""
        with self._transaction():
            for table in ("event", "lease", "request"):
                self._execute(f"DELETE FROM {table} WHERE run = ?", (run,))
            self._execute("DELETE FROM run WHERE id = ?", (run,))
        shutil.rmtree(locate_attempts(self.location, run), ignore_errors=True)

    def vacuum(self) -> None:
        """Delete large values that no event references, and free their space on disk."""
        kept: set[str] = set()
        with self._wrap_errors():
            for (data,) in self._database.query(
                "SELECT data FROM event WHERE data LIKE ?", ("%$file%",)
            ):
                kept |= set(_BLOB_REFERENCE.findall(data))
            self._database.delete_blobs(kept, time.time() - _MIN_BLOB_AGE)

    def _query_runs(self, tail: str, values: Sequence[Any]) -> list[StoredRun]:
        columns = ", ".join(f"run.{name}" for name in _HEADER_COLUMNS)
        sql = (
            f"SELECT {columns}, status, message, ended, host, boot, pid, began, expires "
            f"FROM run JOIN lease ON lease.run = run.id {tail}"
        )
        return [_build_stored_run(row) for row in self._query(sql, values)]

    def _build_no_such_run(self, run: str) -> NoSuchRun:
        return NoSuchRun(f"there is no run `{run}` in `{self.location}`")

    # -- requests from outside ------------------------------------------------------------------------

    def send_request(self, run: str, kind: str, data: Any) -> None:
        """Send a request to the process that runs a run."""
        with self._transaction():
            self._execute(
                "INSERT INTO request (run, kind, data, at) VALUES (?, ?, ?, ?)",
                (run, kind, json.dumps(data), time.time()),
            )

    def pending_requests(self, run: str, after: int = 0) -> list[tuple[int, str, Any]]:
        """Return the requests after a number, each with its number, kind and data."""
        found = self._query(
            "SELECT id, kind, data FROM request WHERE run = ? AND id > ? ORDER BY id", (run, after)
        )
        return [(id, kind, json.loads(data)) for id, kind, data in found]

    # -- large values ---------------------------------------------------------------------------------------------

    def put_blob(self, text: str) -> str:
        """Store a large text and return its name, which is its hash.

        The text is on disk when this returns, if the store is durable.
        """
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        with self._wrap_errors():
            self._database.put_blob(name, data)
        return name

    def get_blob(self, name: str) -> str:
        """Return the text with a name; raises JournalError if it is missing or damaged."""
        with self._wrap_errors():
            data = self._database.get_blob(name)
        if data is None or hashlib.sha256(data).hexdigest() != name:
            what = "is missing" if data is None else "is damaged"
            raise JournalError(f"the value `{name[:12]}…` of the store `{self.location}` {what}")
        return data.decode()

    # -- the database -----------------------------------------------------------------------------------------------

    @contextmanager
    def _wrap_errors(self) -> Iterator[None]:
        try:
            yield
        except self._database.errors as error:
            raise JournalError(
                f"the store `{self.location}` {self._database.describe_error(error)}"
            ) from error

    @contextmanager
    def _transaction(self, exclusive: bool = False) -> Iterator[None]:
        with self._wrap_errors(), self._database.transaction(exclusive):
            yield

    def _execute(self, sql: str, values: Sequence[Any]) -> int:
        return self._database.execute(sql, values)

    def _query(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._wrap_errors():
            return list(self._database.query(sql, values))


def _is_lease_valid(holder: LeaseHolder, expires: float) -> bool:
    alive = holder.is_alive
    if not holder.pid or alive is False:
        return False
    return alive is True or expires > time.time()


def _build_stored_run(row: Sequence[Any]) -> StoredRun:
    *header, status, message, ended, host, boot, pid, began, expires = row
    holder = LeaseHolder(host, boot, pid, began)
    return StoredRun(
        header=Header(
            **{
                name: _decode_column(name, each)
                for name, each in zip(_HEADER_COLUMNS, header, strict=True)
            }
        ),
        status=status,
        message=message,
        ended=ended,
        holder=holder if status == "running" and _is_lease_valid(holder, expires) else None,
    )


def _encode_column(name: str, value: Any) -> Any:
    return json.dumps(value) if name in _JSON_COLUMNS else value


def _decode_column(name: str, column: Any) -> Any:
    return json.loads(column) if name in _JSON_COLUMNS else column


def _build_like_pattern(id: str) -> str:
    return id.translate({ord(each): f"!{each}" for each in "!%_"}) + "%"
