"""Worker processes that run synchronous functions, and that can be killed during a call.

A worker serves one call at a time and is reused for calls with the same import paths; there are
as many as concurrent calls. A worker whose call was cancelled, that died, or whose function left
children is ended, with all it started. This module does not know what a task is: `worker_main` finds the
function, the caller judges the reply.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import trio

from engine.base.classes import frozen
from engine.processes import children, detached, output_capture
from engine.sdk.context import Exit

__all__ = ["Died", "Failed", "Reply", "Value", "Workers"]

_PROGRAM = str(Path(__file__).with_name("worker_main.py"))
_IMPORT_ROOT = str(Path(__file__).parents[2])
_EXIT_TIMEOUT = 1.0


@frozen
class Value:
    """The reply when the function returned a JSON value."""

    value: Any


@frozen
class Failed:
    """The reply when the function raised, could not be found, or returned a value that is not JSON.

    `message` begins with the exception's type, except for Permanent and RetryAfter; `traceback` begins with
    the user's frames.
    """

    message: str
    permanent: bool = False
    retry_after: float | None = None
    traceback: str = ""


@frozen
class Died:
    """The reply when the worker died during the call.

    `status` is its exit status, or minus the signal that killed it; None if no process saw it end.
    """

    status: int | None

    @property
    def message(self) -> str:
        """The signal or the status with which the worker ended."""
        if self.status is None:
            return "the worker process died during the call, and its exit status is unknown"
        if self.status < 0:
            return f"the worker process was killed by {children.describe_signal(-self.status)}"
        return f"the worker process ended with status {self.status} during the call"


@frozen
class _AlreadyRunning:
    """The reply when another worker runs the call, or has run it."""


Reply: TypeAlias = Value | Exit | Failed | Died


class Workers:
    """The worker processes of a run; leaving the block ends them all, and all they started."""

    def __init__(self, max_idle: int | None = None) -> None:
        self._max_idle = max_idle if max_idle is not None else os.cpu_count() or 1
        self._idle: list[_Worker] = []

    async def __aenter__(self) -> Workers:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def call(
        self,
        target: str,
        paths: Sequence[str],
        inputs: Mapping[str, Any],
        context: Mapping[str, Any],
        grace: float,
        note: Callable[[str], None],
    ) -> Reply:
        """Run the function `target`, "module:qualname", in a worker process, and return its reply.

        `paths` are added to the end of the worker's sys.path. `inputs` match the task's schema,
        `context` has the fields of Context but `note`, which is called with progress messages,
        and with what the function prints while output is captured (`output_capture`).
        On cancellation it ends the worker (SIGTERM, which unwinds the function; `grace` seconds; SIGKILL)
        and returns when nothing of it is left. A call with a state directory survives the engine, and the next
        caller takes it over.
        """
        place = context.get("place")
        if place is not None:
            if detached.read_claim(place) is not None:
                return await _follow_running(place, grace, note)
            Path(place).mkdir(parents=True, exist_ok=True, mode=0o700)
        worker = await self._take_worker(tuple(paths))
        reply, status = None, 0
        try:
            reply = await worker.call(target, inputs, context, note)
        finally:
            if reply is None or worker.left_processes:
                status = await worker.terminate(grace)
            else:
                self._idle.append(worker)
        while len(self._idle) > self._max_idle:
            await self._idle.pop(0).shut_down()
        if isinstance(reply, _AlreadyRunning):
            return await _follow_running(context["place"], grace, note)
        return reply or Died(status)

    async def aclose(self) -> None:
        """End the workers, whose calls must be over; cannot be cancelled."""
        if not self._idle:
            return
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for worker in self._idle:
                    nursery.start_soon(worker.shut_down)
                self._idle.clear()

    async def _take_worker(self, paths: tuple[str, ...]) -> _Worker:
        """Return the idle worker with these import paths that served last, or a new one."""
        for worker in [worker for worker in self._idle[::-1] if worker.paths == paths]:
            self._idle.remove(worker)
            if not children.has_ended(worker.process):
                return worker
            await worker.terminate(0)
        return await _start_worker(paths)


class _Worker:
    """One worker process and the two pipes to it."""

    def __init__(
        self, process: trio.Process, token: str, paths: tuple[str, ...], pipes: tuple[int, int]
    ) -> None:
        self.process = process
        self.paths = paths
        self.left_processes = False
        """Whether the function of the last call left something running."""
        self._token = token
        self._requests = trio.lowlevel.FdStream(pipes[0])
        self._replies = trio.lowlevel.FdStream(pipes[1])
        self._buffer = bytearray()
        self._calls = 0

    async def call(
        self,
        target: str,
        inputs: Mapping[str, Any],
        context: Mapping[str, Any],
        note: Callable[[str], None],
    ) -> Reply | _AlreadyRunning | None:
        """Send one call and return the reply, or None if the worker died before it replied."""
        self._calls += 1
        request = {
            "call": self._calls,
            "target": target,
            "paths": [*self.paths, _IMPORT_ROOT],
            "inputs": dict(inputs),
            "context": dict(context),
            "prints": output_capture.is_capturing(),
        }
        reply = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, json.dumps(request).encode() + b"\n")
            nursery.start_soon(self._watch_exit, nursery.cancel_scope)
            reply = await self._receive(note)
            nursery.cancel_scope.cancel()
        return reply or self._parse_replies(children.read_pending(self._replies.fileno()), note)

    async def terminate(self, grace: float) -> int:
        """End the worker and all it started, and return its status; cannot be cancelled."""
        await children.stop(self.process, grace, twice=True)
        status = await children.reap(self.process)
        await children.kill_escaped(self._token)
        self._requests.close()
        self._replies.close()
        return status

    async def shut_down(self) -> None:
        """Let an idle worker end by itself with its `atexit` handlers, for a short time, then kill it."""
        self._requests.close()
        try:
            with trio.move_on_after(_EXIT_TIMEOUT):
                await children.wait_until_exited(self.process)
        finally:
            await self.terminate(0)

    async def _send(self, line: bytes) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await self._requests.send_all(line)

    async def _watch_exit(self, scope: trio.CancelScope) -> None:
        """Wait for the end of the process: the end of the reply pipe is not enough, since a forked child may hold it."""
        await children.wait_until_exited(self.process)
        scope.cancel()

    async def _receive(self, note: Callable[[str], None]) -> Reply | _AlreadyRunning:
        while chunk := await self._replies.receive_some(65_536):
            if (reply := self._parse_replies(chunk, note)) is not None:
                return reply
        return await trio.sleep_forever()

    def _parse_replies(
        self, chunk: bytes, note: Callable[[str], None]
    ) -> Reply | _AlreadyRunning | None:
        """Return the reply, if `chunk` completes it; messages of an earlier call are dropped."""
        self._buffer += chunk
        if b"\n" not in chunk:
            return None
        *lines, rest = bytes(self._buffer).split(b"\n")
        self._buffer[:] = rest
        for message in map(json.loads, lines):
            if message.pop("call") != self._calls:
                continue
            if "note" in message:
                note(message["note"])
            else:
                self.left_processes = message.pop("spent")
                return _decode_reply(**message)
        return None


async def _start_worker(paths: tuple[str, ...]) -> _Worker:
    token = children.make_token()
    env = children.with_token(os.environ, token)
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    argv = [sys.executable, "-P", _PROGRAM, str(theirs_in), str(theirs_out)]
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        for stack, ends in ((theirs, (theirs_in, theirs_out)), (ours, (ours_out, ours_in))):
            for end in ends:
                stack.callback(os.close, end)
        process = await children.start_child(
            argv,
            cwd=os.getcwd(),
            env=env,
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs_in, theirs_out),
        )
        ours.pop_all()  # they are the worker's now
    return _Worker(process, token, paths, (ours_out, ours_in))


async def _follow_running(directory: str, grace: float, note: Callable[[str], None]) -> Reply:
    """Follow a call that another worker began, and return the reply that it leaves."""
    tail = detached.Tail(Path(directory, "notes"), note, json.loads)
    claim = detached.read_claim(directory)
    assert claim is not None
    if detached.read_end(directory) is None:  # else it may serve another call meanwhile
        await detached.supervise(
            detached.AdoptedProcess(claim, directory), [tail], lambda: None, grace
        )
    tail.finish()
    end = detached.read_end(directory)
    reply = Died(None) if end is None else _decode_reply(**end)
    assert not isinstance(reply, _AlreadyRunning)
    return reply


def _decode_reply(kind: str, **fields: Any) -> Reply | _AlreadyRunning:
    variants: dict[str, Callable[..., Reply | _AlreadyRunning]] = {
        "value": Value,
        "exit": Exit,
        "error": Failed,
        "taken": _AlreadyRunning,
    }
    return variants[kind](**fields)
