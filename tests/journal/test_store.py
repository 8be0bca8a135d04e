"""Runs that are kept: the store, who may write it, what survives, what is refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import psycopg
import pytest
import tomli_w
import trio

import engine
from engine import stored
from engine.errors import EngineError, JournalError
from engine.journal.databases import locate_attempts
from engine.journal.records import (
    MAX_INLINE_SIZE,
    Header,
    LeaseHolder,
    decode_events,
    encode_events,
    this_process,
)
from engine.journal.store import DuplicateKey, LeaseLost, NoSuchRun, PipelineBusy, RunInUse, Store
from engine.processes import children
from engine.record.events import Event
from engine.record.history import result_from_events
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run

HEADER = Header(
    id="r1", pipeline="p", path="/p.toml", hash="h", files={}, inputs={}, env={}, seed=0
)
DEAD = LeaseHolder(this_process().host, this_process().boot, 2**22 + 1, "1")


@pytest.fixture
def file(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "runs.db")


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, file: str) -> str:
    """An empty store, of each kind."""
    if request.param == "sqlite":
        return file
    url: str = request.getfixturevalue("postgres")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as db:
        db.execute(f"CREATE DATABASE {name}".encode())
    return url.replace("/postgres?", f"/{name}?")


def tamper(where: str, sql: str, *values: Any) -> None:
    """Change a store behind its back."""
    with Store(where) as store, store._transaction():
        store._execute(sql, values)


def event(kind: Any = "attempt_noted", **data: Any) -> Event:
    return Event(kind, 1.5, "a/a", data, 3)


def orphaned(where: str, run: str = "r1") -> None:
    """The process that held a run has died."""
    tamper(where, "UPDATE lease SET pid = ?, began = ? WHERE run = ?", DEAD.pid, DEAD.began, run)


@pytest.fixture
def spec(tmp_path: Path) -> Callable[..., str]:
    def write(name: str = "p", **doc: Any) -> str:
        path = tmp_path / f"{name}.toml"
        path.write_text(tomli_w.dumps({"engine": 1, **doc}))
        return str(path)

    return write


def sh(script: str, *more: str) -> dict[str, Any]:
    return {"task": "shell", "with": {"argv": ["sh", "-c", script, *more]}}


TWO = {"a": sh("echo a >> log; echo from a"), "b": sh("echo b >> log; echo $0", "${a.stdout}")}


# -- the store ---------------------------------------------------------------------------------------


def test_what_is_kept_is_there_when_it_is_opened_again(where: str) -> None:
    with Store(where) as store:
        epoch = store.create(HEADER)
        store.append("r1", epoch, 1, [event(message="é")])
        store.append("r1", epoch, 2, [event()])
    with Store(where) as store:
        assert store.read_events("r1") == [event(message="é"), event()]
        assert store.find_run("r1").header == HEADER
        assert list(store.iter_events_after("r1", 1)) == [(2, [event()])]


def test_nobody_else_can_read_it(file: str) -> None:
    Store(file).close()
    assert os.stat(file).st_mode & 0o077 == 0
    assert os.stat(Path(file).parent).st_mode & 0o077 == 0


def test_a_run_is_found_by_how_its_id_begins(where: str) -> None:
    with Store(where) as store:
        for id in ("ab1", "ab2", "ab", "c%d"):
            store.create(attrs.evolve(HEADER, id=id))
        assert store.find_run("ab").header.id == "ab"
        assert (
            store.find_run("ab1").header.id
            == store.find_run("c%").header.id.replace("c%d", "ab1")
            == "ab1"
        )
        with pytest.raises(NoSuchRun, match="is ambiguous: 3 run ids"):
            store.find_run("a")
        with pytest.raises(NoSuchRun, match="there is no run `x`"):
            store.find_run("x")


@pytest.mark.parametrize(
    "value", [{"x": "y" * MAX_INLINE_SIZE}, ["z" * MAX_INLINE_SIZE], {"$file": "small"}]
)
def test_large_values_lie_elsewhere(where: str, value: Any) -> None:
    told = event("attempt_ended", key="a", outcome=0, error=None, output=value)
    with Store(where) as store:
        epoch = store.create(HEADER)
        store.append("r1", epoch, 1, [told])
        store.append("r1", epoch, 3, [told, told])
        store.vacuum()
        assert store.read_events("r1") == [told] * 3
        sizes = store._query("SELECT length(data) FROM event", ())
        assert max(size for (size,) in sizes) < 1000


def test_a_large_value_that_is_damaged_or_gone(file: str) -> None:
    with Store(file) as store:
        epoch = store.create(HEADER)
        store.append("r1", epoch, 1, [event("attempt_ended", output="z" * MAX_INLINE_SIZE)])
        (value,) = Path(f"{file}-values").glob("*/*")
        value.write_text("other")
        with pytest.raises(JournalError, match="is damaged"):
            store.read_events("r1")
        value.unlink()
        with pytest.raises(JournalError, match="is missing"):
            store.read_events("r1")


def test_large_values_in_a_database_are_forgotten_too(where: str) -> None:
    with Store(where) as store:
        epoch = store.create(HEADER)
        store.append("r1", epoch, 1, [event("attempt_ended", output="z" * MAX_INLINE_SIZE)])
        ((data,),) = store._query("SELECT data FROM event", ())
        name = json.loads(data)[0][4]["output"]["$file"]
        store.remove("r1")
        assert store.get_blob(name)
        with mock.patch.object(time, "time", return_value=time.time() + 7200):
            store.vacuum()
        with pytest.raises(JournalError, match="is missing"):
            store.get_blob(name)


def test_what_is_written_is_events_again() -> None:
    kept: dict[str, str] = {}

    def keep(text: str) -> str:
        kept["name"] = text
        return "name"

    told = event("attempt_ended", output=["x" * MAX_INLINE_SIZE])
    assert decode_events(encode_events([told], keep), kept.__getitem__) == [told]


# -- leases ------------------------------------------------------------------------------------------


def test_a_run_that_is_held_is_not_given_to_another(where: str) -> None:
    with Store(where) as store:
        store.create(HEADER)
        with pytest.raises(RunInUse, match=f"being run by process {os.getpid()} on "):
            store.acquire("r1")


def test_a_dead_holder_is_replaced_at_once_and_can_write_no_more(where: str) -> None:
    with Store(where) as store:
        epoch = store.create(HEADER)
        orphaned(where)
        assert store.find_run("r1").display_status == "interrupted"
        assert store.acquire("r1") == epoch + 1
        with pytest.raises(LeaseLost, match="taken over"):
            store.append("r1", epoch, 1, [event()])
        assert store.read_events("r1") == []


def test_a_holder_on_another_host_has_its_time(where: str) -> None:
    with Store(where) as store:
        store.create(HEADER)
        tamper(where, "UPDATE lease SET host = 'elsewhere'")
        with pytest.raises(RunInUse):
            store.acquire("r1")
        tamper(where, "UPDATE lease SET expires = ?", time.time() - 1)
        assert store.acquire("r1") == 2


def test_one_of_many_who_want_a_run_gets_it(where: str) -> None:
    with Store(where) as store:
        store.create(HEADER)
    orphaned(where)
    got: list[int] = []

    def want() -> None:
        with Store(where) as store:
            try:
                got.append(store.acquire("r1"))
            except RunInUse:
                pass

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [2]


# -- what is wrong with a store ------------------------------------------------------------------------


def test_a_store_of_a_newer_engine_is_refused(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(file).close()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 99")
    opened: list[sqlite3.Connection] = []

    def connect(*args: Any, **more: Any) -> sqlite3.Connection:
        opened.append(sqlite3.Connection(*args, **more))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", connect)
    with pytest.raises(JournalError, match="written by a newer engine: format 99"):
        Store(file)
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened[0].execute("SELECT 1")


def test_a_database_that_is_not_there(postgres: str) -> None:
    with pytest.raises(JournalError, match=r"cannot be used: .*database .nowhere. does not exist"):
        Store(postgres.replace("/postgres?", "/nowhere?"))
    with pytest.raises(JournalError, match=r"postgresql://me:\*\*\*@127.0.0.1:9/x` cannot be used"):
        Store("postgresql://me:hunter2@127.0.0.1:9/x")


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("no database, but long enough to be taken for one\n" * 20)
    with pytest.raises(JournalError, match="is not a store"):
        Store(str(tmp_path / "text.db"))
    with pytest.raises(JournalError, match="is a folder"):
        Store(str(tmp_path))
    with pytest.raises(JournalError, match="`redis` is not a supported kind of store"):
        Store("redis://x")


def test_a_damaged_page_is_told(file: str) -> None:
    with Store(file) as store:
        epoch = store.create(HEADER)
        for at in range(1, 400):
            store.append("r1", epoch, at, [event(message="x" * 200)])
    data = bytearray(Path(file).read_bytes())
    for page in range(12, len(data) // 4096):
        data[page * 4096 : page * 4096 + 100] = b"\xff" * 100
    Path(file).write_bytes(data)
    with Store(file) as store, pytest.raises(JournalError, match="is damaged"):
        store.read_events("r1")


FULL = """\
import resource, sys
import engine
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
try:
    engine.run(sys.argv[1], store=sys.argv[3])
except engine.EngineError as error:
    print(error)
"""


@pytest.mark.parametrize("limit", [100, 50_000, 200_000])
def test_a_full_disk_stops_the_run_and_what_was_kept_can_be_read(
    limit: int, file: str, spec: Callable[..., str]
) -> None:
    Store(file).close()
    path = spec(
        nodes={f"n{at}": {"task": "collect", "with": {"x": "y" * 900}} for at in range(200)}
    )
    done = subprocess.run(
        [sys.executable, "-c", FULL, path, str(limit), file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search("cannot be (written|used)", done.stdout), done.stderr
    assert done.stderr == ""
    for kept in stored.runs(file):
        assert kept.display_status == "interrupted"
        assert stored.resume(kept.header.id, store=file).status == "succeeded"


def test_a_read_only_store(file: str, spec: Callable[..., str]) -> None:
    Store(file).close()
    os.chmod(file, 0o400)
    if os.access(file, os.W_OK):  # root may always
        subprocess.run(["chattr", "+i", file], check=False, capture_output=True)
    if os.access(file, os.W_OK):
        pytest.skip("nothing is read-only for who runs this")
    try:
        with pytest.raises(JournalError, match=r"read-only|cannot be opened"):
            engine.run(spec(nodes=TWO), store=file)
    finally:
        subprocess.run(["chattr", "-i", file], check=False, capture_output=True)


# -- runs ----------------------------------------------------------------------------------------------


def killed_when(path: Path, **options: Any) -> None:
    """Run in a process of its own, and kill that with all it started as soon as a file is there."""
    code = f"import engine; engine.run(**{options!r})"
    process = subprocess.Popen([sys.executable, "-c", code])
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    folder = locate_attempts(options["store"], options["run_id"])
    trio.run(children.kill_escaped, hashlib.sha256(str(folder).encode()).hexdigest()[:32])


def test_a_killed_run_goes_on_where_it_was(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    nodes = {**TWO, "b": sh("touch there; while test ! -e go; do sleep 0.02; done; echo b >> log")}
    nodes["b"]["needs"] = ["a"]
    path = spec(nodes=nodes)
    killed_when(tmp_path / "there", spec=path, store=where, run_id="r1")
    assert [kept.display_status for kept in stored.runs(where)] == ["interrupted"]
    (tmp_path / "go").touch()
    result = stored.resume("r1", store=where)
    assert (result.status, result.id) == ("succeeded", "r1")
    assert result.nodes["a"].output["stdout"] == "from a"
    assert sorted((tmp_path / "log").read_text().split()) == ["a", "b"]
    with pytest.raises(JournalError, match="has ended: succeeded"):
        stored.resume("r1", store=where)


def test_what_is_recorded_is_what_the_run_gave(where: str, spec: Callable[..., str]) -> None:
    result = engine.run(spec(nodes=TWO, outputs={"o": "${b.stdout}"}), store=where, run_id="r1")
    with Store(where) as store:
        kept, events = store.find_run("r1"), store.read_events("r1")
    assert result_from_events(events).to_json() == result.to_json()
    assert (kept.status, kept.holder) == ("succeeded", None)


def test_secrets_are_nowhere_in_the_store(file: str, spec: Callable[..., str]) -> None:
    secret = "s3cr3t-value-of-mine"
    nodes = {
        "a": sh('echo "$0"; echo "$0" >&2; echo "$0" | base64', "${secrets.TOKEN}"),
        "b": sh('echo "$0"; exit 3', "${a.stdout}"),
    }
    path = spec(nodes=nodes, inputs={"i": {"type": "string"}})
    options = {"secrets": {"TOKEN": secret}, "store": file, "run_id": "r1"}
    result = engine.run(path, {"i": f"it is {secret}"}, **options)
    assert result.nodes["b"].output["stdout"].startswith("***")
    for each in Path(file).parent.rglob("*"):
        assert each.is_dir() or secret.encode() not in each.read_bytes()


def test_what_others_read_of_an_output_is_what_is_kept_of_it(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    """Else a resumed run would read another value than the run itself."""
    nodes = {"a": sh("echo $0", "${secrets.TOKEN}"), "b": sh('echo "$0" > read', "${a.stdout}")}
    engine.run(spec(nodes=nodes), secrets={"TOKEN": "hunter2hunter2"})
    assert (tmp_path / "read").read_text() == "***\n"


@pytest.mark.parametrize("durability", ["full", "batch"])
def test_both_ways_of_writing_keep_all(
    durability: str, where: str, spec: Callable[..., str]
) -> None:
    engine.run(spec(nodes=TWO), store=where, durability=durability, run_id="r1")
    with Store(where) as store:
        kinds = [each.kind for each in store.read_events("r1")]
    assert (kinds[0], kinds[-1], kinds.count("attempt_ended")) == ("run_started", "run_ended", 2)


def test_off_keeps_nothing(file: str, spec: Callable[..., str]) -> None:
    engine.run(spec(nodes=TWO), store=file, durability="off")
    assert not Path(file).exists()


def test_a_run_that_cannot_be_kept_does_not_begin(spec: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineError, match=r"cannot be (used|opened): "):
        engine.run(spec(nodes=TWO), store=str(tmp_path / "file" / "runs.db"))
    assert not (tmp_path / "log").exists()


def test_a_run_whose_journal_fails_stops(where: str, spec: Callable[..., str]) -> None:
    """Somebody else has taken it over: it must not go on."""
    nodes = {"a": sh("true"), "b": {**sh("sleep 60"), "needs": ["a"]}}

    def steal(event: Event) -> None:
        if event.path == "a/a" and event.kind == "attempt_ended":
            tamper(where, "UPDATE lease SET epoch = epoch + 1")

    with pytest.raises(LeaseLost):
        engine.run(spec(nodes=nodes), store=where, on_event=steal)


def test_a_run_can_be_cancelled_from_another_process(where: str, spec: Callable[..., str]) -> None:
    def ask(event: Event) -> None:
        if event.kind == "attempt_started":
            with Store(where) as store:
                store.send_request("r1", "cancel", "enough")

    result = engine.run(spec(nodes={"a": sh("sleep 60")}), store=where, run_id="r1", on_event=ask)
    assert (result.status, result.message) == ("cancelled", "enough")


def test_what_was_asked_of_a_run_that_ended_is_not_asked_of_it_when_it_begins_once_more(
    where: str, spec: Callable[..., str]
) -> None:
    def ask(event: Event) -> None:
        if event.kind == "attempt_started":
            with Store(where) as store:
                store.send_request("r1", "cancel", "enough")

    result = engine.run(spec(nodes={"a": sh("sleep 60")}), store=where, run_id="r1", on_event=ask)
    assert result.status == "cancelled"
    with Store(where) as store:
        assert store.pending_requests("r1") == []


def test_an_input_that_holds_a_secret_is_read_as_it_is_kept(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    """Else a resumed run would read another value than the run itself."""
    nodes = {"a": sh('echo "$0" > read; echo "$1"', "${inputs.i}", "${secrets.TOKEN}")}
    path = spec(nodes=nodes, inputs={"i": {"type": "string"}})
    secret = "hunter2hunter2"
    engine.run(path, {"i": f"it is {secret}"}, secrets={"TOKEN": secret}, store=where)
    assert (tmp_path / "read").read_text() == "it is ***\n"


def test_a_run_with_this_id_in_a_store_that_is_gone_is_another_run(
    file: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    ask = {"task": "human", "with": {"prompt": "?", "options": ["yes"]}}
    path = spec(nodes={"a": sh("echo a >> ran"), "b": ask})
    for lines in (1, 2):
        assert engine.run(path, store=file, run_id="r1").status == "waiting"
        assert len((tmp_path / "ran").read_text().splitlines()) == lines
        Path(file).unlink()


@pytest.mark.parametrize("kept", [True, False])
def test_runs_with_one_id_leave_each_other_alone(
    kept: bool, spec: Callable[..., str], tmp_path: Path
) -> None:
    """In two stores, or in none: what ends one of them kills its own processes only."""
    begins = "echo >> $0; while test ! -e go; do sleep 0.02; done"
    plans = [engine.load_plan(spec(name, nodes={"a": sh(begins, name)})) for name in "pq"]
    stores = [str(tmp_path / f"{name}.db") if kept else None for name in "pq"]

    async def main() -> list[str]:
        one, two = (Options(run_id="r1", store=store) for store in stores)
        async with open_run(plans[0], {}, one) as lives, open_run(plans[1], {}, two) as ends:
            while not ((tmp_path / "p").exists() and (tmp_path / "q").exists()):
                await trio.sleep(0.01)
            ends.cancel()
            ended = await ends.result()
            (tmp_path / "go").touch()
            return [ended.status, (await lives.result()).status]

    assert trio.run(main) == ["cancelled", "succeeded"]


# -- one run a key, and one at a time --------------------------------------------------------------------


def test_a_second_run_of_a_key_is_the_first(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    path = spec(nodes=TWO)
    one = engine.run(path, store=where, key="monday")
    two = engine.run(path, store=where, key="monday")
    other = engine.run(path, store=where, key="tuesday")
    assert one.to_json() == two.to_json()
    assert other.id != one.id
    assert len((tmp_path / "log").read_text().split()) == 4


def test_a_run_of_a_key_that_was_killed_goes_on(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    nodes = {**TWO, "b": sh("touch there; while test ! -e go; do sleep 0.02; done")}
    nodes["b"]["needs"] = ["a"]
    path = spec(nodes=nodes)
    killed_when(tmp_path / "there", spec=path, store=where, run_id="r1", key="k")
    (tmp_path / "go").touch()
    result = engine.run(path, store=where, key="k")
    assert (result.id, result.status) == ("r1", "succeeded")
    assert (tmp_path / "log").read_text().split() == ["a"]


def test_runs_of_a_pipeline_that_wants_to_be_alone(where: str) -> None:
    with Store(where) as store:
        store.create(HEADER)
        with pytest.raises(PipelineBusy, match="run `r1`"):
            store.create(attrs.evolve(HEADER, id="r2"), exclusive=True)
        store.create(attrs.evolve(HEADER, id="r3", path="/other.toml"), exclusive=True)
        orphaned(where)
        store.create(attrs.evolve(HEADER, id="r4"), exclusive=True)


def test_one_run_a_key(where: str) -> None:
    with Store(where) as store:
        store.create(attrs.evolve(HEADER, key="k"))
        with pytest.raises(DuplicateKey, match="run `r1` has the key `k`"):
            store.create(attrs.evolve(HEADER, id="r2", key="k"))
        store.create(attrs.evolve(HEADER, id="r3", key="k", path="/other.toml"))


@pytest.mark.parametrize(
    "overlap, first, second",
    [
        ("refuse", "succeeded", None),
        ("queue", "succeeded", "succeeded"),
        ("replace", "cancelled", "succeeded"),
    ],
)
def test_overlap(
    overlap: str,
    first: str,
    second: str | None,
    where: str,
    spec: Callable[..., str],
    tmp_path: Path,
) -> None:
    nodes = {
        "a": sh("echo $0 >> log; touch there; while test ! -e go; do sleep 0.02; done", "${run.id}")
    }
    path = spec(nodes=nodes, pipeline={"overlap": overlap})
    results: dict[str, Any] = {}

    def run(id: str) -> None:
        try:
            results[id] = engine.run(path, store=where, run_id=id).status
        except JournalError as error:
            results[id] = error

    one, two = (threading.Thread(target=run, args=(id,)) for id in ("r1", "r2"))
    one.start()
    while not (tmp_path / "there").exists():
        time.sleep(0.01)
    if overlap != "replace":
        (tmp_path / "there").unlink()
    two.start()
    if overlap == "refuse":
        two.join()
    elif overlap == "replace":
        one.join()
    (tmp_path / "go").touch()
    one.join()
    two.join()
    assert results["r1"] == first
    assert results["r2"] == second or "of the same pipeline is running" in str(results["r2"])
    assert (tmp_path / "log").read_text().split() == ["r1", "r2"][: 1 if second is None else 2]


# -- other specs, and parts of runs --------------------------------------------------------------------------


def test_a_spec_that_changed_where_nothing_has_run_is_gone_on_with(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    wait = "touch there; while test ! -e go; do sleep 0.02; done; echo b >> log"
    nodes = {**TWO, "b": {**sh(wait), "needs": ["a"]}, "c": {**sh("echo c >> log"), "needs": ["b"]}}
    path = spec(nodes=nodes)
    killed_when(tmp_path / "there", spec=path, store=where, run_id="r1")
    (tmp_path / "go").touch()
    changed = {**nodes, "a": sh("echo A >> log"), "c": {**sh("echo C >> log"), "needs": ["b"]}}
    spec(nodes=changed)
    with pytest.raises(JournalError, match="changed in parts that have already run: `a`"):
        stored.resume("r1", store=where)
    spec(nodes={**changed, "a": nodes["a"]})
    result = stored.resume("r1", store=where)
    assert result.status == "succeeded"
    assert (tmp_path / "log").read_text().split() == ["a", "b", "C"]


def test_a_change_can_be_accepted(where: str, spec: Callable[..., str], tmp_path: Path) -> None:
    path = spec(nodes={**TWO, "b": {**sh("exit 1"), "needs": ["a"]}})
    engine.run(path, store=where, run_id="r1")
    spec(nodes={"a": sh("echo A >> log"), "b": {**sh("echo b >> log"), "needs": ["a"]}})
    with pytest.raises(JournalError, match=r"already run: `a`$"):
        stored.resume("r1", store=where, start="b")
    result = stored.resume("r1", store=where, start="b", accept_change=True)
    assert result.status == "succeeded"
    assert (tmp_path / "log").read_text().split() == ["a", "b"]


def test_a_spec_that_is_gone_is_taken_from_the_journal(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    path = spec(nodes={**TWO, "b": {**sh("test -e ok"), "needs": ["a"]}})
    engine.run(path, store=where, run_id="r1")
    Path(path).unlink()
    (tmp_path / "ok").touch()
    assert stored.resume("r1", store=where, start="b").status == "succeeded"
    assert (tmp_path / "log").read_text().split() == ["a"]


def test_a_rerun_takes_over_what_succeeded(
    where: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    nodes = {
        **TWO,
        "c": {**sh("echo c >> log; test -e ok"), "needs": ["b"]},
        "d": {**sh("echo d >> log"), "needs": ["c"]},
    }
    engine.run(spec(nodes=nodes), store=where, run_id="r1")
    (tmp_path / "ok").touch()
    result = stored.rerun("r1", store=where, run_id="r2")
    assert (result.id, result.status) == ("r2", "succeeded")
    assert (tmp_path / "log").read_text().split() == ["a", "b", "c", "c", "d"]
    assert [(kept.header.id, kept.header.origin) for kept in stored.runs(where)] == [
        ("r2", "r1"),
        ("r1", None),
    ]
    stored.rerun("r2", store=where, only="b")
    assert (tmp_path / "log").read_text().split()[5:] == ["b"]
    stored.rerun("r2", store=where, start="c")
    assert (tmp_path / "log").read_text().split()[6:] == ["c", "d"]
    with pytest.raises(engine.InputError, match="there is no node `e`"):
        stored.rerun("r2", store=where, start="e")


def test_an_attempt_that_is_marked(where: str, spec: Callable[..., str], tmp_path: Path) -> None:
    path = spec(nodes={"a": sh("exit 3"), "b": {**sh("echo b >> log"), "needs": ["a"]}})
    engine.run(path, store=where, run_id="r1")
    with pytest.raises(engine.InputError, match="`a` has no exit `sucess`, did you mean `success`"):
        stored.resume("r1", store=where, marks={"a": "sucess"})
    with pytest.raises(engine.InputError, match="`b` has no ended attempt"):
        stored.resume("r1", store=where, marks={"b": "0"})
    assert stored.resume("r1", store=where, marks={"a": "success"}).status == "succeeded"
    assert (tmp_path / "log").read_text().split() == ["b"]


# -- processes -----------------------------------------------------------------------------------------------


RESUME = """\
import sys
from engine import stored
from engine.errors import JournalError
try:
    print(stored.resume("r1", store=sys.argv[1]).status)
except JournalError as error:
    print(error)
"""


def resuming(where: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RESUME, where], stdout=subprocess.PIPE, text=True
    )


def test_one_of_two_processes_that_resume_a_run_gets_it(
    file: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    nodes = {**TWO, "b": sh("touch there; while test ! -e go; do sleep 0.02; done; echo b >> log")}
    nodes["b"]["needs"] = ["a"]
    killed_when(tmp_path / "there", spec=spec(nodes=nodes), store=file, run_id="r1")
    (tmp_path / "there").unlink()
    both = [resuming(file) for _ in range(2)]
    while not any(process.poll() is not None for process in both):
        time.sleep(0.02)
    (tmp_path / "go").touch()
    said = sorted(process.communicate()[0].strip() for process in both)
    assert said[0].startswith("run `r1` is already being run by process ")
    assert said[1] == "succeeded"
    assert (tmp_path / "log").read_text().split() == ["a", "b"]


def test_a_process_that_was_stopped_past_its_lease_writes_no_more(
    file: str, spec: Callable[..., str], tmp_path: Path
) -> None:
    """On another host nobody can tell that it lives: when its lease has run out another goes on."""
    wait = "touch there; while test ! -e go; do sleep 0.02; done"
    nodes = {
        "a": sh("true"),
        "b": {**sh(wait), "needs": ["a"]},
        "c": {**sh("true"), "needs": ["b"]},
    }
    code = f"import engine; engine.run({spec(nodes=nodes)!r}, store={file!r}, run_id='r1')"
    stopped = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "there").exists():
        time.sleep(0.02)
    os.kill(stopped.pid, signal.SIGSTOP)
    tamper(file, "UPDATE lease SET host = 'elsewhere', expires = 0")
    (tmp_path / "go").touch()
    assert stored.resume("r1", store=file).status == "succeeded"
    with Store(file) as store:
        before = store.read_events("r1")
    os.kill(stopped.pid, signal.SIGCONT)
    _, err = stopped.communicate(timeout=60)
    assert stopped.returncode == 1
    assert "LeaseLost: run `r1` has been taken over by another process" in err
    with Store(file) as store:
        assert store.read_events("r1") == before
        assert store.find_run("r1").status == "succeeded"


def test_a_journal_of_the_first_format_is_read(tmp_path: Path) -> None:
    """Made by the engine of format 1; whoever changes the format adds another, and keeps this."""
    shutil.copytree(Path(__file__).parents[1] / "fixtures" / "runs", tmp_path / "runs")
    file = str(tmp_path / "runs" / "format1.db")
    with Store(file) as store:
        (done, killed) = store.list_runs()
        assert (done.status, killed.display_status) == ("succeeded", "interrupted")
        assert result_from_events(store.read_events(done.header.id)).outputs == {"text": "hello"}
    spec = tmp_path / "format1.toml"
    spec.write_text(killed.header.files[killed.header.path])
    tamper(
        file,
        "UPDATE run SET path = ?, files = ? WHERE id = ?",
        str(spec),
        json.dumps({str(spec): spec.read_text()}),
        killed.header.id,
    )
    result = stored.resume(killed.header.id, store=file)
    assert (result.status, result.outputs) == ("succeeded", {"text": "hello"})


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.77, 0.99])
def test_of_a_torn_write_what_was_whole_before_it_is_there(
    share: float, file: str, tmp_path: Path
) -> None:
    """The machine died while the log of the database was being written."""
    with Store(file) as store:
        epoch = store.create(HEADER)
        written = [event(message=f"line {at} " * 50) for at in range(60)]
        for at, each in enumerate(written, 1):
            store.append("r1", epoch, at, [each])
        torn = tmp_path / "torn"
        torn.mkdir()
        for name in ("", "-wal"):
            shutil.copy(f"{file}{name}", torn / f"runs.db{name}")
    log = torn / "runs.db-wal"
    os.truncate(log, int(log.stat().st_size * share))
    with Store(str(torn / "runs.db")) as store:
        found = (
            store.read_events("r1") if share else []
        )  # without the log not even a table is there
        assert found == written[: len(found)]
        assert len(found) < 60
