"""Sync functions in worker threads. A thread cannot be killed: on cancel an exception is raised in it, which ends all that runs in
Python; what blocks in C is waited for, for the grace period, and then left behind as a daemon. What must be killable runs in a worker
process instead. Source: LANGUAGE.md section 14; the CPython C API for asynchronous exceptions.
"""

from __future__ import annotations

import ctypes
import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import trio

__all__ = ["Stopped", "run_in_thread"]


class Stopped(BaseException):
    """Raised in a thread whose attempt was cancelled."""


class _Call:
    """One call in a thread. `lock` guards `ident`, so that no exception reaches a thread that has gone on to other work."""

    def __init__(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> None:
        self._function, self._arguments = function, arguments
        self._lock = threading.Lock()
        self._ident: int | None = None
        self.over = threading.Event()

    def run(self) -> Any:
        """Call the function, in this thread."""
        with self._lock:
            self._ident = threading.get_ident()
        try:
            return self._function(**self._arguments)
        except Stopped:
            return None
        finally:
            self._leave()

    def _leave(self) -> None:
        try:
            with self._lock:
                self._ident = None
        except Stopped:
            self._ident = None
        self.over.set()

    def stop(self) -> None:
        """Raise `Stopped` in the thread, if it is still at it."""
        with self._lock:
            if self._ident is not None:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(self._ident), ctypes.py_object(Stopped)
                )


async def run_in_thread(function: Callable[..., Any], arguments: Mapping[str, Any], grace: float) -> Any:
    """Call a function in a thread of its own. Cancelled, it returns when the thread has ended, `grace` seconds later at most."""
    call = _Call(function, arguments)
    limiter = trio.CapacityLimiter(math.inf)
    try:
        return await trio.to_thread.run_sync(call.run, abandon_on_cancel=True, limiter=limiter)
    except trio.Cancelled:
        with trio.CancelScope(shield=True), trio.move_on_after(grace):
            await _ended(call)
        raise


async def _ended(call: _Call) -> None:
    """Stop a call and wait for its thread; asked again now and then, since a function may swallow the exception."""
    wait = 0.001
    while not call.over.is_set():
        call.stop()
        await trio.sleep(wait)
        wait = min(wait * 2, 0.05)
