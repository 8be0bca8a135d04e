"""`mcp.server` and `mcp.call` against real servers, over standard streams and over HTTP."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio

import engine
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.toml.source import Source
from tests.support.plans import children

Doc = dict[str, Any]
ROOT = Path(__file__).parents[2]
COMMAND: Doc = {"command": [sys.executable, "-m", "tests.support.mcp_server"], "cwd": str(ROOT)}


def call(tool: str, *needs: str, **arguments: Any) -> Doc:
    with_ = {"server": "notes", "tool": tool, "arguments": arguments}
    return {"task": "mcp.call", "uses": ["notes"], "needs": list(needs), "with": with_}


def plan(nodes: Doc, server: Doc = COMMAND) -> engine.Plan:
    doc = {"engine": 1, "resources": {"notes": {"task": "mcp.server", "with": server}}}
    return engine.load_plan(Source("x.toml", tomli_w.dumps(doc | {"nodes": nodes})))


def still(before: set[str]) -> set[str]:
    """The children of this process that are left of those that came since."""
    until = time.monotonic() + 5
    while (left := children() - before) and time.monotonic() < until:
        time.sleep(0.02)
    return left


def sleeps() -> bool:
    """Whether the child of a tool that hangs is there."""
    return any(map(_is_sleep, Path("/proc").glob("[0-9]*/cmdline")))


def _is_sleep(cmdline: Path) -> bool:
    try:
        return cmdline.read_bytes().split(b"\0")[:2] == [b"sleep", b"617"]
    except OSError:  # a process that has ended since it was listed
        return False


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([*COMMAND["command"], str(port)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        while True:
            with socket.socket() as at:
                if at.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        server.kill()
        server.wait()


def test_a_server_stays_open_between_the_nodes_that_use_it() -> None:
    before = children()
    result = engine.run(plan({"a": call("keep", note="x"), "b": call("keep", "a", note="y")}))
    assert result.status == "succeeded"
    assert result.nodes["b"].output["value"] == {"result": 2}
    assert result.nodes["b"].output["text"] == "2"
    assert still(before) == set()


def test_one_is_asked_over_http(url: str) -> None:
    nodes = {"a": call("keep", note="x"), "b": call("fail")}
    result = engine.run(plan(nodes, {"url": url, "headers": {"X-Key": "k"}}))
    assert result.nodes["a"].result == "succeeded"
    assert result.nodes["b"].label == "tool_error"


def test_what_it_tells_is_progress() -> None:
    noted: list[Any] = []

    def hear(event: engine.Event) -> None:
        if event.kind == "attempt_noted":
            noted.append(event.data.get("progress"))

    result = engine.run(plan({"a": call("count", to=4)}), on_event=hear)
    assert result.nodes["a"].output["text"] == "done"
    assert noted == [0.25, 0.5, 0.75, 1.0]


def test_a_server_sees_what_it_is_given_and_no_secret_of_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OURS", "hidden")
    server = COMMAND | {"env": {"THEIRS": "given"}}
    nodes = {"a": call("setting", name="THEIRS"), "b": call("setting", name="OURS")}
    result = engine.run(plan(nodes, server))
    assert result.nodes["a"].output["text"] == "given"
    assert result.nodes["b"].output["text"] == ""


@pytest.mark.parametrize(
    ("node", "error"),
    [
        (call("leave"), "the MCP server"),
        (call("keep"), "tool_error"),
    ],
)
def test_what_goes_wrong_is_told(node: Doc, error: str) -> None:
    found = engine.run(plan({"a": node})).nodes["a"]
    assert found.result == "failed"
    assert error in f"{found.attempts[-1].error} {found.label}"


@pytest.mark.parametrize(
    ("server", "error"),
    [
        ({"command": ["no-such-program"]}, "no-such-program"),
        ({"command": [sys.executable, "-c", "raise SystemExit('I am not well')"]}, "I am not well"),
        ({"url": "http://127.0.0.1:9/mcp"}, "cannot be opened"),
    ],
)
def test_a_server_that_cannot_be_opened_is_an_error(server: Doc, error: str) -> None:
    found = engine.run(plan({"a": call("keep", note="x")}, server)).nodes["a"]
    assert "the MCP server cannot be opened" in str(found.attempts[-1].error)
    assert error in str(found.attempts[-1].error)


def test_a_call_that_is_cancelled_leaves_nothing() -> None:
    before = children()

    async def main() -> engine.Result:
        async with open_run(plan({"a": call("hang")}), {}, Options(grace=1.0)) as run:
            async for event in run:
                if event.kind == "resource_opening":
                    while not sleeps():
                        await trio.sleep(0.02)
                    run.cancel("enough")
            return await run.result()

    assert trio.run(main).nodes["a"].result == "cancelled"
    assert still(before) == set()
    assert not sleeps()


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (call("keep") | {"uses": []}, ["E201 `a` does not use resource `notes`", "W701 no node uses resource `notes`"]),
        (call("keep") | {"with": {"server": "nots", "tool": "x"}}, ["E201 there is no resource `nots`"]),
        (call("keep") | {"with": {"server": "notes"}}, ["E504 task `mcp.call` needs input `tool`"]),
    ],
)  # fmt: skip
def test_its_server_is_checked(node: Doc, expected: list[str]) -> None:
    doc = {"engine": 1, "resources": {"notes": {"task": "mcp.server", "with": COMMAND}}}
    _, found = engine.analyse(Source("x.toml", tomli_w.dumps(doc | {"nodes": {"a": node}})))
    assert [f"{each.rule.code} {each.message}" for each in found][:1] == expected[:1]
