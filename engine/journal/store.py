"""Runs in a database: headers, events, leases, and what is asked of runs from outside.

One `Store` is one connection, for one thread. Every write of a run's events renews its lease in the
same transaction and fails with LeaseLost where another has taken it over since: whoever was stopped
for long cannot write behind the back of who went on. Large values are files beside the database.
`dialects` says what SQLite and PostgreSQL do differently. Source: LANGUAGE.md section 15 (T6).
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
"""Seconds after which a lease that is not renewed has run out, where nobody can tell whether its
holder lives."""

_NAME = re.compile(r'"\$file":"([0-9a-f]{64})"')
_FRESH = 3600.0
"""Seconds in which a large value may still be waiting for the event that names it."""

_HEADER = tuple(field.name for field in attrs.fields(Header))
_AS_JSON = frozenset({"files", "inputs", "env", "seed"})


class Held(JournalError):
    """Somebody else runs this run."""


class LeaseLost(JournalError):
    """Somebody else has taken the run over meanwhile."""


class SameKey(JournalError):
    """There is a run with this idempotency key."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        super().__init__(f"run `{kept.header.id}` has the key `{kept.header.key}`")


class Busy(JournalError):
    """Runs of the same pipeline, which wants to be alone, are being run."""

    def __init__(self, runs: tuple[str, ...]) -> None:
        self.runs = runs
        super().__init__(f"run `{runs[0]}` of the same pipeline is running")


class NoSuchRun(JournalError):
    """There is no run of this id."""


class Store:
    """Opens the database, and makes what it needs in it if it is new."""

    def __init__(self, where: str, durable: bool = True) -> None:
        self.where = shown(where)
        self._dialect: Dialect = dialect_of(where, durable)
        with self._told():
            self._dialect.open(FORMAT)

    def close(self) -> None:
        """Give the connection back."""
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
        """Keep a new run, held by this process; gives the lease's epoch. SameKey if there is a run with its key, Busy if it is to be
        `alone` and others of its pipeline are being run."""
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
        """Take a run that nobody runs; gives the lease's new epoch. Held if somebody does."""
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
        """Let others run it at once."""
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
        """Add events, all or none, and renew the lease. `last` is the number of the last of them, `ended` the run's status and message
        where they end it."""
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
        """Begin a run once more, with another spec perhaps; its events up to now stay."""
        self.append(header.id, epoch, last, events)
        with self._transaction():
            values = (header.path, header.hash, json.dumps(header.files), header.id)
            self._do(
                "UPDATE run SET status = 'running', message = '', ended = NULL, "
                "path = ?, hash = ?, files = ? WHERE id = ?",
                values,
            )

    def since(self, run: str, after: int = 0) -> Iterator[tuple[int, list[Event]]]:
        """A run's events behind one, in order, as they were written together: each time the number of the last."""
        sql = "SELECT last, data FROM event WHERE run = ? AND last > ? ORDER BY last"
        with self._told():
            for last, data in self._dialect.rows(sql, (run, after)):
                yield last, decoded(data, self.fetch)

    def events(self, run: str) -> list[Event]:
        """All events of a run, in order."""
        with without_collecting():
            return [event for _, events in self.since(run) for event in events]

    # -- runs -----------------------------------------------------------------------------------------------------

    def run(self, id: str) -> Kept:
        """One run, by its id or the first characters of it that no other has; NoSuchRun."""
        found = self._kept("WHERE id = ? OR id LIKE ? ESCAPE '!' ORDER BY id", (id, _prefix(id)))
        exact = [kept for kept in found if kept.header.id == id]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise NoSuchRun(f"`{id}` is ambiguous: {len(found)} run ids begin with it")
        raise self._no_such(id)

    def runs(self, pipeline: str | None = None, since: float | None = None) -> list[Kept]:
        """Runs, latest first."""
        terms = [("pipeline = ?", pipeline), ("created >= ?", since)]
        used = [(term, value) for term, value in terms if value is not None]
        where = f"WHERE {' AND '.join(term for term, _ in used)}" if used else ""
        return self._kept(f"{where} ORDER BY created DESC, id", [value for _, value in used])

    def _of(self, header: Header, term: str, value: str) -> list[Kept]:
        """Runs of the same pipeline."""
        return self._kept(
            f"WHERE path = ? AND pipeline = ? AND {term}", (header.path, header.pipeline, value)
        )

    def remove(self, run: str) -> None:
        """Forget a run that nobody runs."""
        with self._transaction():
            for table in ("event", "lease", "request"):
                self._do(f"DELETE FROM {table} WHERE run = ?", (run,))
            self._do("DELETE FROM run WHERE id = ?", (run,))
        shutil.rmtree(attempts_of(self.where, run), ignore_errors=True)

    def tidy(self) -> None:
        """Forget large values that no event names any more, and give their place on disk back."""
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
        """Leave a request for whoever runs it."""
        with self._transaction():
            self._do(
                "INSERT INTO request (run, kind, data, at) VALUES (?, ?, ?, ?)",
                (run, kind, json.dumps(data), time.time()),
            )

    def requests(self, run: str, after: int = 0) -> list[tuple[int, str, Any]]:
        """Requests behind one: its number, kind and data."""
        found = self._rows(
            "SELECT id, kind, data FROM request WHERE run = ? AND id > ? ORDER BY id", (run, after)
        )
        return [(id, kind, json.loads(data)) for id, kind, data in found]

    # -- large values ---------------------------------------------------------------------------------------------

    def keep(self, text: str) -> str:
        """Put a text where large ones lie, on disk when this returns; its name is its hash."""
        data = text.encode()
        name = hashlib.sha256(data).hexdigest()
        with self._told():
            self._dialect.put(name, data)
        return name

    def fetch(self, name: str) -> str:
        """The text of that name."""
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
