"""Sync functions in threads: values and errors come back, and cancelled they end or are left behind
in time.
"""

from __future__ import annotations

import contextvars
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
import trio

from engine.runtime.threads import ThreadStopped, run_in_thread

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="")


class Body:
    """A function that says that it has begun, and how it ended."""

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self.token = token
        self.begun = trio.Event()
        self.end = ""
        self.release = threading.Event()

    def begin(self) -> None:
        self.token.run_sync_soon(self.begun.set)

    def spin(self) -> None:
        """Python code that goes on for ever."""
        try:
            self.begin()
            while True:
                time.sleep(0.001)
        except ThreadStopped:
            self.end = "stopped"
            raise

    def swallow(self) -> None:
        """Python code that takes one exception for nothing, and ends at the next."""
        try:
            self.spin()
        except ThreadStopped:
            self.spin()

    def ignore(self) -> None:
        """Code that no exception ends."""
        while not self.release.is_set():
            try:
                self.begin()
                self.release.wait()
            except ThreadStopped:
                continue


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "under test"]


async def cancelled(
    body: Body, function: Any, grace: float, hurry: trio.Event | None = None
) -> None:
    """Start the function, cancel it once it has begun, and wait for what follows."""
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_in_thread, function, grace, hurry, "under test")
            await body.begun.wait()
            nursery.cancel_scope.cancel()


def test_a_value_comes_back() -> None:
    assert trio.run(run_in_thread, lambda: 42, 1.0) == 42


def test_an_exception_comes_back_as_itself() -> None:
    def fail() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit, match="3"):
        trio.run(run_in_thread, fail, 1.0)


def test_the_function_sees_the_context_of_its_caller() -> None:
    async def main() -> Any:
        VARIABLE.set("mine")
        return await run_in_thread(VARIABLE.get, 1.0)

    assert trio.run(main) == "mine"


def test_nothing_is_started_in_a_cancelled_scope() -> None:
    called = []

    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await run_in_thread(lambda: called.append(1), 1.0)

    trio.run(main)
    assert called == []


@pytest.mark.parametrize("name", ["spin", "swallow"])
def test_python_code_is_stopped(name: str) -> None:
    async def main() -> str:
        body = Body(trio.lowlevel.current_trio_token())
        await cancelled(body, getattr(body, name), grace=3600)
        return body.end

    assert trio.run(main) == "stopped"
    assert names() == []


def test_what_will_not_end_is_left_behind_after_the_grace() -> None:
    async def main() -> Body:
        body = Body(trio.lowlevel.current_trio_token())
        await cancelled(body, body.ignore, grace=0.0)
        return body

    body = trio.run(main)
    (left,) = [thread for thread in threading.enumerate() if thread.name == "under test"]
    assert left.daemon
    body.release.set()
    left.join(30)
    assert not left.is_alive()


def test_in_a_hurry_the_grace_is_cut_short() -> None:
    async def main() -> Body:
        body, hurry = Body(trio.lowlevel.current_trio_token()), trio.Event()
        hurry.set()
        await cancelled(body, body.ignore, 3600, hurry)
        return body

    body = trio.run(main)
    body.release.set()


def test_a_function_that_ends_as_it_is_stopped_harms_nobody() -> None:
    """Each call is struck at another moment of its end; those after it must not notice."""

    async def main() -> list[int]:
        for _ in range(20):
            body = Body(trio.lowlevel.current_trio_token())
            await cancelled(body, body.begin, grace=3600)
        return [await run_in_thread(lambda n=n: n, 1.0) for n in range(3)]  # type: ignore[misc]

    assert trio.run(main) == [0, 1, 2]


TRACED = """
import sys, trio
from engine.runtime.threads import run_in_thread
trio.run(run_in_thread, int, 1.0)
sys.settrace(lambda *_: None)
(lambda: None)()
"""


def test_after_a_call_in_a_thread_code_can_be_traced() -> None:
    """CPython 3.11 hangs there when the eval breaker is left set."""
    subprocess.run([sys.executable, "-c", TRACED], check=True, timeout=30)
