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

from engine.base.gc_pause import without_collecting
from engine.errors import JournalError
from engine.journal.databases import Dialect, attempts_of, dialect_of
from engine.journal.records import FORMAT, Header, Holder, Kept, decoded, encoded, myself
from engine.journal.tables import shown
from engine.record.events import Event

__all__ = ["LEASE", "Busy", "Held", "LeaseLost", "NoSuchRun", "SameKey", "Store"]

LEASE = 30.0
"""Seconds until a lease expires unless renewed, where its holder cannot be checked."""

_NAME = re.compile(r'"\$file":"([0-9a-f]{64})"')
_FRESH = 3600.0
"""Seconds for which a large value may still wait for the event that names it."""

_HEADER = tuple(field.name for field in attrs.fields(Header))
_AS_JSON = frozenset({"files", "inputs", "env", "seed"})


class Held(JournalError):
    """Another process runs this run."""


class LeaseLost(JournalError):
    """Another process has taken the run over in the meantime."""


class SameKey(JournalError):
    """A run with this idempotency key exists already."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        super().__init__(f"run `{kept.header.id}` has the key `{kept.header.key}`")


class Busy(JournalError):
    """An exclusive run cannot start while other runs of its pipeline are running."""

    def __init__(self, runs: tuple[str, ...]) -> None:
        self.runs = runs
        super().__init__(f"run `{runs[0]}` of the same pipeline is running")


class NoSuchRun(JournalError):
    """No stored run has this id."""


class Store:
    """A connection to a store, whose tables are created if it is new."""

    def __init__(self, where: str, durable: bool = True) -> None:
        self.where = shown(where)
        self._dialect: Dialect = dialect_of(where, durable)
        with self._told():
            self._dialect.open(FORMAT)

    def close(self) -> None:
        """Close the connection."""
        self._dialect.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # -- who may write -------------------------------------------------------------------------------------------

    def create(self, header: Header, epoch: int = 1, alone: bool = False) -> int:
        """Store a new run held by this process, and return the epoch of its lease.

        Raises DuplicateKey if a run with its key exists, and PipelineBusy if it is `exclusive` and other runs of its
        pipeline are running.
        """
        values = [_column(name, getattr(header, name)) for name in _HEADER]
        marks = ", ".join("?" * (len(_HEADER) + 2))
        with self._transaction(alone=True):
            if header.key is not None and (same := self._of(header, "key = ?", header.key)):
                raise SameKey(same[0])
            running = self._of(header, "status = ?", "running") if alone else []
            if busy := [each.header.id for each in running if each.holder]:
                raise Busy(tuple(busy))
            self._do(
                f"INSERT INTO run ({', '.join(_HEADER)}, status, message) VALUES ({marks})",
                (*values, "running", ""),
            )
            self._take(header.id, epoch, new=True)
        return epoch

    def acquire(self, run: str) -> int:
        """Take the lease of a run that no process runs, and return its new epoch.

        Raises RunInUse if another process runs it.
        """
        with self._transaction(alone=True):
            found = self._rows(
                "SELECT epoch, host, boot, pid, began, expires FROM lease WHERE run = ?", (run,)
            )
            if not found:
                raise self._no_such(run)
            epoch, *holder, expires = found[0]
            if _lives(Holder(*holder), expires):
                raise Held(f"run `{run}` is already being run by {Holder(*holder)}")
            self._take(run, epoch + 1)
            self._do(
                "UPDATE run SET status = 'running', message = '' WHERE id = ? AND status = 'waiting'",
                (run,),
            )
        return int(epoch) + 1

    def _take(self, run: str, epoch: int, new: bool = False) -> None:
        values = (epoch, *attrs.astuple(myself()), time.time() + LEASE, run)
        self._do(
            "INSERT INTO lease (epoch, host, boot, pid, began, expires, run) VALUES (?, ?, ?, ?, ?, ?, ?)"
            if new
            else "UPDATE lease SET epoch = ?, host = ?, boot = ?, pid = ?, began = ?, expires = ? WHERE run = ?",
            values,
        )

    def release(self, run: str, epoch: int) -> None:
        """Give up the lease, so that other processes can run the run at once."""
        with self._transaction():
            self._do(
                "UPDATE lease SET expires = 0, pid = 0 WHERE run = ? AND epoch = ?", (run, epoch)
            )

    # -- events ---------------------------------------------------------------------------------------------------

    def append(
        self,
        run: str,
        epoch: int,
        last: int,
        events: Sequence[Event],
        ended: tuple[str, str] | None = None,
    ) -> None:
        """Append events, all or none, and renew the lease.

        `last` is the number of the last event; `final_status` is the run's status and message if the events end it. Raises
        LeaseLost if another process has taken the run over.
        """
        data = encoded(events, self.keep) if events else ""
        with self._transaction():
            values = (time.time() + LEASE, run, epoch)
            if not self._do("UPDATE lease SET expires = ? WHERE run = ? AND epoch = ?", values):
                raise LeaseLost(f"run `{run}` has been taken over by another process")
            if events:
                self._do("INSERT INTO event (run, last, data) VALUES (?, ?, ?)", (run, last, data))
            if ended is not None:
                end = None if ended[0] == "waiting" else time.time()
                self._do(
                    "UPDATE run SET status = ?, message = ?, ended = ? WHERE id = ?",
                    (*ended, end, run),
                )
                if end is not None:  # nobody asks anything of it any more
                    self._do("DELETE FROM request WHERE run = ?", (run,))

    def reopen(self, header: Header, epoch: int, last: int, events: Sequence[Event]) -> None:
        """Restart a run that has ended, possibly with a changed spec; its events so far stay."""
        self.append(header.id, epoch, last, events)
        with self._transaction():
            values = (header.path, header.hash, json.dumps(header.files), header.id)
            self._do(
                "UPDATE run SET status = 'running', message = '', ended = NULL, "
                "path = ?, hash = ?, files = ? WHERE id = ?",
                values,
            )

    def since(self, run: str, after: int = 0) -> Iterator[tuple[int, list[Event]]]:
        """Yield the events after a number, in the groups they were written in.

        Each group comes with the number of its last event.
        """
        sql = "SELECT last, data FROM event WHERE run = ? AND last > ? ORDER BY last"
        with self._told():
            for last, data in self._dialect.rows(sql, (run, after)):
                yield last, decoded(data, self.fetch)

    def events(self, run: str) -> list[Event]:
        """Return all events of a run, in order."""
        with without_collecting():
            return [event for _, events in self.since(run) for event in events]

    # -- runs -----------------------------------------------------------------------------------------------------

    def run(self, id: str) -> Kept:
        """Return the run with an id, or with the only id that begins with these characters.

        Raises NoSuchRun if there is none, or more than one.
        """
        found = self._kept("WHERE id = ? OR id LIKE ? ESCAPE '!' ORDER BY id", (id, _prefix(id)))
        exact = [kept for kept in found if kept.header.id == id]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise NoSuchRun(f"`{id}` is ambiguous: {len(found)} run ids begin with it")
        raise self._no_such(id)

    def runs(self, pipeline: str | None = None, since: float | None = None) -> list[Kept]:
        """Return the runs, latest first; `since` is in seconds since 1970."""
        terms = [("pipeline = ?", pipeline), ("created >= ?", since)]
        used = [(term, value) for term, value in terms if value is not None]
        where = f"WHERE {' AND '.join(term for term, _ in used)}" if used else ""
        return self._kept(f"{where} ORDER BY created DESC, id", [value for _, value in used])

    def _of(self, header: Header, term: str, value: str) -> list[Kept]:
        """Return the runs of the same pipeline."""
        return self._kept(
            f"WHERE path = ? AND pipeline = ? AND {term}", (header.path, header.pipeline, value)
        )

    def remove(self, run: str) -> None:
        """Delete a run that no process runs, with its attempts' directories."""
        with self._transaction():
            for table in ("event", "lease", "request"):
                self._do(f"DELETE FROM {table} WHERE run = ?", (run,))
            self._do("DELETE FROM run WHERE id = ?", (run,))
        shutil.rmtree(attempts_of(self.where, run), ignore_errors=True)

    def tidy(self) -> None:
        """Delete large values that no event references, and free their space on disk."""
        kept: set[str] = set()
        with self._told():
            for (data,) in self._dialect.rows(
                "SELECT data FROM event WHERE data LIKE ?", ("%$file%",)
            ):
                kept |= set(_NAME.findall(data))
            self._dialect.forget(kept, time.time() - _FRESH)

    def _kept(self, tail: str, values: Sequence[Any]) -> list[Kept]:
        columns = ", ".join(f"run.{name}" for name in _HEADER)
        sql = (
            f"SELECT {columns}, status, message, ended, host, boot, pid, began, expires "
            f"FROM run JOIN lease ON lease.run = run.id {tail}"
        )
        return [_kept(row) for row in self._rows(sql, values)]

    def _no_such(self, run: str) -> NoSuchRun:
        return NoSuchRun(f"there is no run `{run}` in `{self.where}`")

    # -- what is asked of a run from outside ------------------------------------------------------------------------

    def ask(self, run: str, kind: str, data: Any) -> None:
        """Send a request to the process that runs a run."""
        with self._transaction():
            self._do(
                "INSERT INTO request (run, kind, data, at) VALUES (?, ?, ?, ?)",
                (run, kind, json.dumps(data), time.time()),
            )

    def requests(self, run: str, after: int = 0) -> list[tuple[int, str, Any]]:
        """Return the requests after a number, each with its number, kind and data."""
        found = self._rows(
            "SELECT id, kind, data FROM request WHERE run = ? AND id > ? ORDER BY id", (run, after)
        )
        return [(id, kind, json.loads(data)) for id, kind, data in found]

    # -- large values ---------------------------------------------------------------------------------------------

    def keep(self, text: str) -> str:
        """Store a large text and return its name, which is its hash.

        The text is on disk when this returns, if the store is durable.
        """
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        with self._told():
            self._dialect.put(name, data)
        return name

    def fetch(self, name: str) -> str:
        """Return the text with a name; raises JournalError if it is missing or damaged."""
        with self._told():
            data = self._dialect.get(name)
        if data is None or hashlib.sha256(data).hexdigest() != name:
            what = "is missing" if data is None else "is damaged"
            raise JournalError(f"the value `{name[:12]}…` of the store `{self.where}` {what}")
        return data.decode()

    # -- the database -----------------------------------------------------------------------------------------------

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except self._dialect.errors as error:
            raise JournalError(f"the store `{self.where}` {self._dialect.why(error)}") from error

    @contextmanager
    def _transaction(self, alone: bool = False) -> Iterator[None]:
        with self._told(), self._dialect.transaction(alone):
            yield

    def _do(self, sql: str, values: Sequence[Any]) -> int:
        return self._dialect.do(sql, values)

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._told():
            return list(self._dialect.rows(sql, values))


def _lives(holder: Holder, expires: float) -> bool:
    alive = holder.alive
    if not holder.pid or alive is False:
        return False
    return alive is True or expires > time.time()


def _kept(row: Sequence[Any]) -> Kept:
    *header, status, message, ended, host, boot, pid, began, expires = row
    holder = Holder(host, boot, pid, began)
    return Kept(
        header=Header(
            **{name: _value(name, each) for name, each in zip(_HEADER, header, strict=True)}
        ),
        status=status,
        message=message,
        ended=ended,
        holder=holder if status == "running" and _lives(holder, expires) else None,
    )


def _column(name: str, value: Any) -> Any:
    return json.dumps(value) if name in _AS_JSON else value


def _value(name: str, column: Any) -> Any:
    return json.loads(column) if name in _AS_JSON else column


def _prefix(id: str) -> str:
    return id.translate({ord(each): f"!{each}" for each in "!%_"}) + "%"
