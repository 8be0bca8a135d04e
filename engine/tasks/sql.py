"""`sql.query` and `sql.execute`: SQL statements, through SQLAlchemy.

Values are bound, never written into the text of a statement, and that text takes no expressions: a `${` in it is an
error that the check finds. Values that JSON lacks, such as dates and decimals, are text in rows. A statement runs in
a thread; on cancellation its connection is interrupted, which ends the statement where the driver can.
"""

from __future__ import annotations

import base64
import datetime
import decimal
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from engine.sdk.context import Context, Failure, Permanent
from engine.sdk.task import InvalidInput, Task
from engine.tasks.schema_helpers import object_schema, run_in_abandonable_thread

__all__ = ["EXECUTE", "QUERY"]

T = TypeVar("T")
_INTERRUPT_INTERVAL = 0.02
"""Seconds between two calls that interrupt a statement."""


async def run_query(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Return the rows of a statement."""
    return await _run_in_transaction(inputs, context, partial(_fetch_rows, inputs))


async def run_statements(inputs: dict[str, Any], context: Context) -> dict[str, Any]:
    """Run one statement for each row of values, or several statements, all in one transaction."""
    return await _run_in_transaction(inputs, context, partial(_execute_statements, inputs))


async def _run_in_transaction(
    inputs: Mapping[str, Any], context: Context, operation: Callable[[Any], T]
) -> T:
    """Run a function in a transaction of its own, and return its result."""
    import trio

    raws: list[Any] = []
    stop, over = threading.Event(), threading.Event()

    def work() -> T:
        try:
            with _open_connection(inputs, context, raws) as connection:
                if stop.is_set():
                    raise Failure("cancelled before its statement")
                return operation(connection)
        finally:
            over.set()

    try:
        return await run_in_abandonable_thread(work)
    except trio.Cancelled:
        stop.set()
        with trio.move_on_after(context.grace, shield=True):
            while not over.is_set():  # a statement that begins after one call is ended by the next
                for raw in raws:
                    _interrupt(raw)
                await trio.sleep(_INTERRUPT_INTERVAL)
        raise


@contextmanager
def _open_connection(
    inputs: Mapping[str, Any], context: Context, driver_connections: list[Any]
) -> Iterator[Any]:
    try:
        import sqlalchemy
        from sqlalchemy import exc
    except ImportError:
        raise Permanent("`sql` needs SQLAlchemy: pip install 'engine[sql]'") from None
    try:
        engine = sqlalchemy.create_engine(
            _parse_url(inputs["url"], context), poolclass=sqlalchemy.NullPool
        )
        with engine.begin() as connection:
            driver_connections.append(connection.connection.driver_connection)
            yield connection
    except exc.NoSuchModuleError as error:
        raise Permanent(f"no such database: {error}") from None
    except exc.ArgumentError as error:
        raise Permanent(str(error)) from None
    except exc.StatementError as error:
        message = " ".join(str(error.orig).split()) if error.orig else str(error).splitlines()[0]
        kind = Failure if isinstance(error, exc.OperationalError) else Permanent
        raise kind(message) from None
    except (exc.SQLAlchemyError, ModuleNotFoundError) as error:
        raise Permanent(str(error).splitlines()[0]) from None


def _parse_url(url: str, context: Context) -> Any:
    """Return the database URL; a SQLite file is relative to the spec's directory."""
    from pathlib import Path

    from sqlalchemy import make_url

    found = make_url(url)
    if found.drivername == "postgresql":
        found = found.set(drivername="postgresql+psycopg")
    if found.get_backend_name() == "sqlite" and found.database and found.database != ":memory:":
        found = found.set(database=str(Path(context.folder, found.database)))
    return found


def _interrupt(raw: Any) -> None:
    """Interrupt the statement of a driver's connection from another thread, if the driver can."""
    for name in ("interrupt", "cancel"):
        stop = getattr(raw, name, None)
        if stop is not None:
            try:
                stop()
            except Exception:  # it may have ended meanwhile
                return
            return


def _fetch_rows(inputs: Mapping[str, Any], connection: Any) -> dict[str, Any]:
    import sqlalchemy

    most = inputs.get("max_rows", 10_000)
    found = connection.execute(sqlalchemy.text(inputs["statement"]), inputs.get("values", {}))
    if not found.returns_rows:
        raise Permanent("the statement returns no rows: use `sql.execute`")
    names = list(found.keys())
    if len(set(names)) != len(names):
        raise Permanent("two columns have the same name: rename one of them with `AS`")
    rows = found.fetchmany(most + 1)
    if len(rows) > most:
        raise Permanent(f"there are more than {most} rows: raise `max_rows`, or select fewer")
    return {
        "rows": [dict(zip(names, map(_to_json_value, row), strict=True)) for row in rows],
        "columns": names,
    }


def _execute_statements(inputs: Mapping[str, Any], connection: Any) -> dict[str, Any]:
    import sqlalchemy

    statements = inputs.get("statements") or [inputs]
    counts = []
    for each in statements:
        values = each.get("rows", each.get("values", {}))
        done = (
            connection.execute(sqlalchemy.text(each["statement"]), values) if values != [] else None
        )
        counts.append(max(done.rowcount, 0) if done is not None else 0)
    return {"counts": counts, "count": sum(counts)}


def _to_json_value(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, (bytes, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, (list, tuple)):
        return [_to_json_value(item) for item in value]
    return value


def find_sql_exits(with_: Mapping[str, Any]) -> dict[str, int]:
    """Return the exits; raises InvalidInput for an expression in a statement."""
    tables: list[tuple[tuple[str | int, ...], Any]] = [((), with_)]
    several = with_.get("statements")
    if isinstance(several, list):
        tables += [(("statements", at), each) for at, each in enumerate(several)]
    for path, each in tables:
        if isinstance(each, dict) and "${" in str(each.get("statement", "")):
            raise InvalidInput(
                (*path, "statement"),
                "a statement cannot contain expressions",
                'use a parameter, `:city`, and set it: `values = { city = "${…}" }`',
            )
    return {"success": 0}


_URL = {
    "type": "string",
    "minLength": 1,
    "description": "The URL of the database: `sqlite:///file.db` (relative to the spec's folder), "
    "`postgresql://user:${secrets.PASSWORD}@host/name`, or any other URL that SQLAlchemy supports.",
}
_STATEMENT = {
    "type": "string",
    "minLength": 1,
    "description": "An SQL statement; `:name` stands for the value with that name.",
}
_VALUES = {
    "type": "object",
    "description": "The values of the statement, by name. They are bound as parameters.",
}
_ROWS = {
    "type": "array",
    "items": {"type": "object"},
    "description": "Several sets of values. The statement runs once for each.",
}

QUERY = Task(
    id="sql.query",
    body=run_query,
    find_exits=find_sql_exits,
    name="Query a database",
    description="Query a database.",
    input_schema=object_schema(
        {
            "url": _URL,
            "statement": _STATEMENT,
            "values": _VALUES,
            "max_rows": {
                "type": "integer", "minimum": 1, "default": 10_000,
                "description": "The maximum number of rows; more are an error.",
            },
        },
        ["url", "statement"],
    ),
    output_schema=object_schema(
        {
            "rows": {"type": "array", "items": {"type": "object"}, "description": "The rows, each an object. Dates and decimals are text."},
            "columns": {"type": "array", "items": {"type": "string"}, "description": "The names of the columns, in order."},
        },
        ["rows", "columns"],
    ),
    output_contract="exact",
    exits={"success": 0},
    may_request_delay=False,
    example="""\
[nodes.open_orders]
task = "sql.query"
with.url = "sqlite:///orders.db"
with.statement = "SELECT id, amount FROM orders WHERE city = :city"
with.values = { city = "${inputs.city}" }
""",
)  # fmt: skip

EXECUTE = Task(
    id="sql.execute",
    body=run_statements,
    find_exits=find_sql_exits,
    name="Change a database",
    description="Run statements in one transaction, so that all of them take effect or none.",
    input_schema=object_schema(
        {
            "url": _URL,
            "statement": _STATEMENT,
            "values": _VALUES,
            "rows": _ROWS,
            "statements": {
                "type": "array",
                "minItems": 1,
                "description": "Several statements to run in order, each with its own `values` or `rows`.",
                "items": object_schema({"statement": _STATEMENT, "values": _VALUES, "rows": _ROWS}, ["statement"]),
            },
        },
        ["url"],
        oneOf=[{"required": ["statement"]}, {"required": ["statements"]}],
        dependentRequired={"values": ["statement"], "rows": ["statement"]},
    ),
    output_schema=object_schema(
        {
            "count": {"type": "integer", "description": "The total number of rows changed."},
            "counts": {"type": "array", "items": {"type": "integer"}, "description": "The number of rows changed, by statement."},
        },
        ["count", "counts"],
    ),
    output_contract="exact",
    exits={"success": 0},
    may_request_delay=False,
    example="""\
[nodes.keep]
task = "sql.execute"
with.url = "sqlite:///orders.db"
with.statement = "INSERT INTO orders (id, amount) VALUES (:id, :amount)"
with.rows = [{ id = 1, amount = "${price.stdout}" }]
""",
)  # fmt: skip
