"""Every built-in task ends within the grace period when it is cancelled, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio
import trio.testing

import engine
from engine import tasks
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.toml.source import Source
from tests.support.plans import children

Doc = dict[str, Any]
FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
LOOPS = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a * b }}{% endfor %}{% endfor %}"
LONG: dict[str, Doc] = {
    "http": {"url": "http://127.0.0.1:PORT/"},
    "http.pages": {"url": "http://127.0.0.1:PORT/", "max_pages": 2},
    "llm.agent": {
        "base_url": "http://127.0.0.1:PORT/",
        "model": "m",
        "prompt": "x",
        "max_turns": 2,
        "max_total_tokens": 9,
    },
    "llm.chat": {"base_url": "http://127.0.0.1:PORT/", "model": "m", "prompt": "x"},
    "match": {"text": "a" * 40, "patterns": [{"regex": "^(a+)+b", "exit": "never"}]},
    "shell": {"argv": ["sleep", "987.6"]},
    "sleep": {"duration": "1h"},
    "sql.execute": {"url": "sqlite://", "statement": f"CREATE TABLE t AS {FOREVER}"},
    "sql.query": {"url": "sqlite://", "statement": FOREVER},
    "template": {"text": LOOPS},
}
"""What keeps a task busy for ever."""
AT_ONCE = {
    *("collect", "fail", "pass", "validate", "csv.read", "csv.write", "json.read", "json.write"),
    *(
        "jsonl.read",
        "jsonl.write",
        "file.copy",
        "file.glob",
        "file.hash",
        "file.read",
        "file.write",
    ),
}
"""Tasks that end by themselves: what they do has a bound of its own."""
ELSEWHERE = {"human", "mcp.call", "mcp.server", "tempdir", "docker.run", "ssh.run"}
"""A question is no body, a resource is closed, a tool has its server, and clients have stand-ins: see `test_people`, `test_resources`,
`test_mcp` and `test_remote`."""


def test_each_task_is_known() -> None:
    assert {*LONG} | AT_ONCE | ELSEWHERE == {*tasks.builtin_ids()}


@pytest.fixture
def port() -> Iterator[int]:
    """One at which somebody listens and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def busy() -> set[str]:
    """Threads at work; the idle ones that trio keeps for later bear a name of their own."""
    names = {thread.name for thread in threading.enumerate()}
    return {name for name in names if not name.startswith("Trio thread ")}


@pytest.mark.parametrize("id", sorted(LONG))
def test_it_stops_when_it_is_cancelled(id: str, port: int) -> None:
    with_ = {key: str(value).replace("PORT", str(port)) if key.endswith("url") else value for key, value in LONG[id].items()}  # fmt: skip
    doc = {"engine": 1, "nodes": {"n": {"task": id, "with": with_}}}
    plan = engine.load_plan(Source("x.toml", tomli_w.dumps(doc)))
    before, threads = children(), busy()

    async def main() -> engine.Result:
        async with open_run(plan, {}, Options(grace=2.0)) as run:
            async for event in run:
                if event.kind == "attempt_started":
                    await trio.sleep(0.3)  # in the middle of what it does
                    run.cancel("enough")
            return await run.result()

    begun = time.monotonic()
    result = trio.run(main)
    assert result.nodes["n"].result == "cancelled"
    assert time.monotonic() - begun < 0.3 + 2.0 + 3.0
    until = time.monotonic() + 2.0
    while (children() - before or busy() - threads) and time.monotonic() < until:
        time.sleep(0.01)
    assert children() - before == set()
    assert busy() - threads == set()


def test_a_statement_whose_cancel_came_while_it_was_connecting_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlalchemy

    connecting, cancelled, connect = trio.Event(), threading.Event(), sqlalchemy.create_engine

    def slow(*args: Any, **more: Any) -> Any:
        trio.from_thread.run_sync(connecting.set)
        cancelled.wait(5)
        return connect(*args, **more)

    monkeypatch.setattr(sqlalchemy, "create_engine", slow)
    url = f"sqlite:///{tmp_path}/a.db"
    with_ = {"url": url, "statement": "CREATE TABLE t (x INTEGER)"}
    doc = {"engine": 1, "nodes": {"n": {"task": "sql.execute", "with": with_}}}
    plan, threads = engine.load_plan(Source("x.toml", tomli_w.dumps(doc))), busy()

    async def main() -> engine.Result:
        async with open_run(plan, {}, Options(grace=2.0)) as run:
            await connecting.wait()
            run.cancel("enough")
            await trio.testing.wait_all_tasks_blocked()
            cancelled.set()
            return await run.result()

    assert trio.run(main).nodes["n"].result == "cancelled"
    assert busy() - threads == set()
    monkeypatch.undo()
    with sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect() as connection:
        assert sqlalchemy.inspect(connection).get_table_names() == []
