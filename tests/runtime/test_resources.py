"""`[resources]` and `[services]`: what is opened for nodes and closed after them, and what must be well before they start."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

import engine
from engine import Context, Exit, InputError, stored, task
from engine.record.events import Event
from engine.record.result import Result
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.toml.source import Source
from tests.journal.test_store import killed_when

Doc = dict[str, Any]
LOG: list[str] = []


@task(id="db")
async def database(name: str, fails: str = "") -> AsyncIterator[dict[str, str]]:
    """A database."""
    if fails == "opening":
        raise ConnectionError("nobody is there")
    LOG.append(f"open {name}")
    try:
        yield {"url": f"db://{name}"}
    finally:
        LOG.append(f"close {name}")
        if fails == "closing":
            raise OSError("the disk is full")
        if fails == "hanging":
            await trio.sleep_forever()


@task(id="slow")
async def slow() -> AsyncIterator[None]:
    """Cannot be stopped while it opens, and takes its time to close."""
    with trio.CancelScope(shield=True):
        await trio.sleep(2)
    try:
        yield
    finally:
        await trio.sleep(1)
        LOG.append("close slow")


@task(id="work")
async def work(context: Context, seconds: float = 1.0, exit: int = 0, url: str = "") -> Exit:
    """Works, with what is open."""
    LOG.append(f"{context.node} {url or ' '.join(context.resources)}".strip())
    await trio.sleep(seconds)
    return Exit(exit)


class Pool:
    """A pool."""

    id = "pool"

    def __init__(self, name: str, size: int = 2) -> None:
        self.name, self.size = name, size

    async def __aenter__(self) -> Pool:
        LOG.append(f"open {self.name} {self.size}")
        return self

    async def __aexit__(self, *error: object) -> None:
        LOG.append(f"close {self.name}")


@task(id="lease")
@asynccontextmanager
async def lease(name: str) -> AsyncIterator[str]:
    """A lease."""
    LOG.append(f"open {name}")
    yield name
    LOG.append(f"close {name}")


@pytest.mark.parametrize(
    ("declared", "with_", "first"),
    [(Pool, {"name": "p", "size": 3}, "open p 3"), (lease, {"name": "p"}, "open p")],
)
def test_async_context_managers_are_resources(declared: Any, with_: Doc, first: str) -> None:
    LOG.clear()
    id = "pool" if declared is Pool else "lease"
    doc = {"engine": 1, "resources": {"p": {"task": id, "with": with_}}, "nodes": {"a": used("p")}}
    plan = engine.load_plan(Source("x.toml", tomli_w.dumps(doc)), tasks=[declared, work])
    assert engine.run(plan).status == "succeeded"
    assert [first, "a p", "close p"] == LOG


def test_what_a_class_of_context_managers_is_given_is_checked() -> None:
    with_ = {"nam": "p", "size": "many"}
    doc = {"engine": 1, "resources": {"p": {"task": "pool", "with": with_}}, "nodes": {"a": used("p")}}  # fmt: skip
    _, found = engine.analyse(Source("x.toml", tomli_w.dumps(doc)), tasks=[Pool, work])
    assert sorted(each.rule.code for each in found) == ["E201", "E502", "E504"]


def used(*uses: str, **more: Any) -> Doc:
    return {"task": "work", "uses": list(uses)} | more


def opened(name: str, fails: str = "") -> Doc:
    return {"task": "db", "with": {"name": name} | ({"fails": fails} if fails else {})}


def played(doc: Doc, cancel_at: float | None = None) -> tuple[Result, list[Event]]:
    """A run on a virtual clock with real resources; LOG says what was done in it."""
    LOG.clear()
    events: list[Event] = []
    plan = engine.load_plan(
        Source("x.toml", tomli_w.dumps({"engine": 1} | doc)), tasks=[database, slow, work]
    )

    async def main() -> Result:
        async with open_run(plan, {}, Options(on_event=events.append)) as run:
            if cancel_at is not None:
                await trio.sleep(cancel_at)
                run.cancel("enough")
            return await run.result()

    return trio.run(main, clock=MockClock(autojump_threshold=0)), events


def found(text: str) -> list[str]:
    told = engine.check(Source("x.toml", "engine = 1\n" + text), tasks=[database, slow, work])
    return [f"{d.rule.code} {d.message}" for d in told]


# -- resources -------------------------------------------------------------------------------------


def test_it_is_open_from_its_first_user_to_its_last() -> None:
    nodes = {
        "a": {"task": "work"},
        "b": used("one", needs=["a"]),
        "c": used("one", needs=["b"]),
        "d": {"task": "work", "needs": ["c"]},
    }
    result, events = played({"resources": {"one": opened("one")}, "nodes": nodes})
    assert result.status == "succeeded"
    assert LOG[:4] == ["a", "open one", "b one", "c one"]
    assert sorted(LOG[4:]) == ["close one", "d"]
    told = [(e.kind, e.data["resource"]) for e in events if e.kind.startswith("resource")]
    assert told == [("resource_opening", "one"), ("resource_closed", "one")]


def test_the_last_one_opened_is_closed_first() -> None:
    doc = {
        "resources": {name: opened(name) for name in ("one", "two")},
        "nodes": {"a": used("one"), "b": used("one", "two", needs=["a"])},
    }
    played(doc)
    assert LOG == ["open one", "a one", "open two", "b one two", "close two", "close one"]


def test_what_is_never_used_is_never_opened() -> None:
    nodes = {"a": used("one", when="inputs.on")}
    played(
        {"inputs": {"on": {"default": False}}, "resources": {"one": opened("one")}, "nodes": nodes}
    )
    assert LOG == []


@pytest.mark.parametrize("cancel_at", [0.5, None])
def test_it_is_closed_however_the_run_ends(cancel_at: float | None) -> None:
    nodes = {"a": used("one", **{"with": {"exit": 1}}), "b": used("one", needs=["a"])}
    result, _ = played({"resources": {"one": opened("one")}, "nodes": nodes}, cancel_at)
    assert result.status == ("failed" if cancel_at is None else "cancelled")
    assert LOG == ["open one", "a one", "close one"]


def test_what_opens_though_it_was_given_up_is_closed() -> None:
    doc = {"resources": {"one": {"task": "slow"}}, "nodes": {"a": used("one")}}
    result, events = played(doc, cancel_at=1.0)
    assert (result.status, LOG) == ("cancelled", ["close slow"])
    [closed] = [event for event in events if event.kind == "resource_closed"]
    assert (closed.time, closed.data.get("error")) == (3.0, None)


def test_a_user_in_finally_has_it_still_open() -> None:
    doc = {
        "resources": {"one": opened("one")},
        "nodes": {"a": used("one")},
        "finally": {"z": used("one")},
    }
    result, _ = played(doc, cancel_at=0.5)
    assert (result.status, LOG) == ("cancelled", ["open one", "a one", "z one", "close one"])


def test_a_task_reads_what_is_open() -> None:
    nodes = {"a": used("one", **{"with": {"url": "${resources.one.url}"}})}
    played({"resources": {"one": opened("one")}, "nodes": nodes})
    assert LOG == ["open one", "a db://one", "close one"]


def test_one_that_cannot_be_opened_is_an_error_that_is_tried_again() -> None:
    nodes = {"a": used("one", retry={"attempts": 2})}
    result, _ = played({"resources": {"one": opened("one", "opening")}, "nodes": nodes})
    assert [attempt.outcome for attempt in result.nodes["a"].attempts] == ["error", "error"]
    assert "resource `one` could not be opened: ConnectionError: nobody is there" in (
        result.nodes["a"].reason.message
    )
    assert LOG == []


def test_one_that_cannot_be_closed_fails_the_run() -> None:
    doc = {"resources": {"one": opened("one", "closing")}, "nodes": {"a": used("one")}}
    result, _ = played(doc)
    assert (result.status, result.nodes["a"].result) == ("failed", "succeeded")
    assert result.message.startswith(
        "resource `one` could not be closed: OSError: the disk is full"
    )


def test_one_that_will_not_close_is_left_after_its_time() -> None:
    doc = {"resources": {"one": opened("one", "hanging")}, "nodes": {"a": used("one")}}
    result, events = played(doc)
    assert result.message == "resource `one` could not be closed: closing took more than 30 s"
    assert events[-1].time == 31.0


def test_items_share_it_and_sub_pipelines_have_their_own() -> None:
    child = {"resources": {"one": opened("inner")}, "nodes": {"a": used("one")}}
    nodes = {
        "a": used("one", for_each=["x", "y"]),
        "p": {"pipeline": "child", "needs": ["a"]},
    }
    doc = {"resources": {"one": opened("outer")}, "nodes": nodes, "pipelines": {"child": child}}
    result, _ = played(doc)
    assert result.status == "succeeded"
    assert LOG[:3] == ["open outer", "a one", "a one"]
    assert sorted(LOG[3:]) == ["a one", "close inner", "close outer", "open inner"]


RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=60)


@st.composite
def users(draw: st.DrawFn) -> Doc:
    """Pipelines whose nodes use resources, of which some cannot be opened."""
    names = ("one", "two", "three")
    nodes: Doc = {}
    for at in range(draw(st.integers(1, 5))):
        uses = draw(st.lists(st.sampled_from(names), max_size=2, unique=True))
        with_ = {
            "seconds": draw(st.sampled_from([0.0, 1.0, 2.0])),
            "exit": draw(st.sampled_from([0, 0, 1])),
        }
        needs = (
            {
                name: draw(st.sampled_from(["success", "finished", "always"]))
                for name in draw(st.lists(st.sampled_from(sorted(nodes)), max_size=2, unique=True))
            }
            if nodes
            else {}
        )
        nodes[f"n{at}"] = used(*uses, needs=needs, **{"with": with_})
    fails = [draw(st.sampled_from(["", "", "", "opening"])) for _ in names]
    on_failure = draw(st.sampled_from(["finish", "cancel"]))
    return {
        "pipeline": {"name": "case", "on_failure": on_failure},
        "resources": {name: opened(name, fail) for name, fail in zip(names, fails, strict=True)},
        "nodes": nodes,
    }  # fmt: skip


@given(users(), st.sampled_from([None, 0.0, 0.5, 1.0, 1.5, 2.5]))
@RELAXED
def test_each_is_opened_before_its_users_and_closed_after_them(doc: Doc, at: float | None) -> None:
    result, _ = played(doc, at)
    uses = {name: node["uses"] for name, node in doc["nodes"].items()}
    live: list[str] = []
    for line in LOG:
        what, _, name = line.partition(" ")
        if what == "open":
            assert name not in live
            live.append(name)
        elif what == "close":
            live.remove(name)
        else:
            assert set(uses[what]) <= set(live)
    assert live == []
    assert all(
        node.result in ("succeeded", "failed", "skipped", "cancelled")
        for node in result.nodes.values()
    )


def test_a_run_that_goes_on_opens_it_anew(tmp_path: Path) -> None:
    """Its engine is killed while it is open; what had ended does not run again."""
    wait = "echo $0 >> log; touch there; while test ! -e go; do sleep 0.02; done"
    shell = '[nodes.NAME]\ntask = "shell"\nuses = ["work"]\nwith = { argv = ["sh", "-c", "DO", "NAME", "${resources.work.path}"] }\n'
    spec = tmp_path / "x.toml"
    spec.write_text(
        'engine = 1\n[resources.work]\ntask = "tempdir"\n'
        + shell.replace("NAME", "a").replace("DO", "echo $0 $1 >> log; touch $1/x")
        + shell.replace("NAME", "b").replace("DO", wait)
        + 'needs = ["a"]\n'
        + shell.replace("NAME", "c").replace("DO", "echo $0 $1 >> log; ls -A $1")
        + 'needs = ["b"]\n'
    )
    store = str(tmp_path / "runs.db")
    killed_when(tmp_path / "there", spec=str(spec), store=store, run_id="r1")
    (tmp_path / "go").touch()
    result = stored.resume("r1", store=store)
    first, *_, last = (tmp_path / "log").read_text().splitlines()
    assert result.status == "succeeded"
    assert result.nodes["c"].output["stdout"] == ""
    assert first.split()[1] != last.split()[1]
    assert not Path(last.split()[1]).exists()


def test_the_folder_that_a_temporary_one_is_made_in_is_relative_to_the_spec(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    spec = tmp_path / "x.toml"
    spec.write_text(
        'engine = 1\n[resources.work]\ntask = "tempdir"\nwith = { in = "scratch" }\n'
        '[nodes.a]\ntask = "collect"\nuses = ["work"]\nwith = { path = "${resources.work.path}" }\n'
    )
    found = engine.run(engine.load_plan(spec)).nodes["a"].output["path"]
    assert Path(found).parent == tmp_path / "scratch"


# -- services --------------------------------------------------------------------------------------


class Health(BaseHTTPRequestHandler):
    status = 200
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps({"ok": self.status == 200}).encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[type[Health]]:
    handler = type("Handler", (Health,), {"asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        yield handler
        server.shutdown()
        thread.join()


SERVED = """\
[inputs]
base = { type = "string" }
[services.api]
task = "http"
with = { url = "${inputs.base}/health" }
[services.spare]
task = "http"
with = { url = "${inputs.base}/spare" }
[nodes.a]
task = "collect"
requires = ["api"]
[nodes.b]
task = "collect"
requires = ["api"]
with = { base = "${inputs.base}" }
"""


def plan(text: str = SERVED) -> engine.Plan:
    return engine.load_plan(Source("x.toml", "engine = 1\n" + text))


def test_services_that_are_required_are_asked_once_before_a_run(server: Any) -> None:
    result = engine.run(plan(), {"base": server.url})
    assert (result.status, server.asked) == ("succeeded", ["/health"])


def test_a_run_whose_services_are_not_well_is_refused(server: Any) -> None:
    server.status = 500
    events: list[Event] = []
    with pytest.raises(InputError) as caught:
        engine.run(plan(), {"base": server.url}, on_event=events.append)
    assert caught.value.problems == (
        "service `api` is not healthy: exit 5 `server_error`; needed by `a`, `b`",
    )
    assert events == []


def test_services_of_sub_pipelines_are_asked_too() -> None:
    text = (
        '[nodes.p]\npipeline = "child"\n[pipelines.child.services.no]\ntask = "shell"\n'
        'with = { argv = ["false"] }\n[pipelines.child.nodes.a]\ntask = "collect"\nrequires = ["no"]\n'
    )
    with pytest.raises(InputError, match="service `no` is not healthy"):
        engine.run(plan(text), {})


def test_services_can_be_looked_at_without_a_run(server: Any) -> None:
    from engine.api import check_required_services

    assert check_required_services(plan(), {"base": server.url}) == ()
    server.status = 503
    assert len(check_required_services(plan(), {"base": server.url})) == 1


# -- what the check says ---------------------------------------------------------------------------

WORK = '[resources.work]\ntask = "tempdir"\n'
NODE = '[nodes.a]\ntask = "shell"\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            WORK + NODE + 'uses = ["work"]\nwith = { argv = ["${resources.work.path}"] }\n',
            [],
        ),
        (
            WORK + NODE + 'uses = ["wrk"]\nwith = { argv = ["x"] }\n',
            ["E201 there is no resource `wrk`"],
        ),
        (
            WORK + NODE + 'with = { argv = ["${resources.work.path}"] }\n',
            ["E201 `a` does not use resource `work`"],
        ),
        (
            WORK + NODE + 'uses = ["work"]\nwhen = "resources.work.path == \'x\'"\nwith = { argv = ["x"] }\n',
            ["E505 `resources` cannot be read here: only the `with` of a node's tasks can read them"],
        ),
        (
            '[nodes.a]\ntask = "tempdir"\n',
            ["E103 `tempdir` provides a resource and cannot be a step or a service"],
        ),
        (
            '[resources.r]\ntask = "shell"\nwith = { argv = ["x"] }\n' + NODE + 'uses = ["r"]\nwith = { argv = ["x"] }\n',
            ["E103 `shell` does not provide a resource"],
        ),
        (
            '[services.s]\ntask = "shell"\nwith = { argv = ["x", "${a.stdout}"] }\n' + NODE + 'requires = ["s"]\nwith = { argv = ["x"] }\n',
            ["E201 there is no node `a` (`a.stdout`)"],
        ),
        (
            '[services.s]\ntask = "shell"\nwith = { argv = ["x"] }\n' + NODE + 'with = { argv = ["x"] }\n',
            ["W701 no node requires service `s`"],
        ),
        (
            WORK + '[nodes.a]\npipeline = "c"\nuses = ["work"]\nwith = { x = "${resources.work.path}" }\n'
            '[pipelines.c.inputs]\nx = { type = "string" }\n[pipelines.c.nodes.n]\ntask = "collect"\nwith = { x = "${inputs.x}" }\n',
            ["E505 a sub-pipeline opens its own resources and takes none from outside"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(text: str, expected: list[str]) -> None:
    assert [
        line for line in found(text) if not line.startswith("W701") or line in expected
    ] == expected
