"""Run synchronous functions in threads of their own.

A thread cannot be killed: on cancellation an exception is raised in it, which ends all that runs in
Python; code that blocks in C is awaited for the grace period, and then left behind as a daemon. What
must be killable runs in a worker process instead. Source: docs/language.md, "Cancellation"; the CPython C API
for asynchronous exceptions.
"""

from __future__ import annotations

import contextvars
import ctypes
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs
import trio

from engine.base.classes import define

__all__ = ["ThreadStopped", "call_in_trio", "run_in_thread"]


_SHORT_GRACE = 0.5
"""Seconds that a thread has to end when the grace period is skipped."""


class ThreadStopped(BaseException):
    """Raised in a thread whose attempt was cancelled."""


@define(eq=False)
class _Call:
    """One call in a thread; `lock` guards `ident`, the thread while an exception may be raised in it."""

    function: Callable[[], Any]
    token: trio.lowlevel.TrioToken
    ended: trio.Event
    lock: threading.Lock = attrs.field(factory=threading.Lock)
    ident: int | None = None
    value: Any = None
    error: BaseException | None = None

    def run_function(self) -> None:
        """Call the function, in this thread.

        The thread belongs to this call alone, so a late exception affects no other call.
        """
        try:
            self.ident = threading.get_ident()
            try:
                self.value = self.function()
            except BaseException as error:  # it is raised again in trio
                self.error = error
            self._finish()
        except ThreadStopped:
            self._finish()
        call_in_trio(self.token, self.ended.set)

    def _finish(self) -> None:
        """Prevent further exceptions from outside; one that is pending is raised here and dropped.

        It is not withdrawn: that leaves CPython's eval breaker set for good, and 3.11 then hangs
        in the next call that is traced.
        """
        arrived = False
        while not arrived:
            try:
                with self.lock:
                    self.ident = None
                time.sleep(0)  # an exception arrives at the end of a call
                arrived = True
            except ThreadStopped:
                pass

    def stop(self) -> None:
        """Raise `ThreadStopped` in the thread, if it still runs the function."""
        with self.lock:
            if self.ident is not None:
                _raise_in_thread(self.ident)


def _raise_in_thread(ident: int) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(ident), ctypes.py_object(ThreadStopped)
    )


def call_in_trio(
    token: trio.lowlevel.TrioToken, function: Callable[..., object], *arguments: object
) -> None:
    """Schedule a function call in the trio thread, from any thread; do nothing if trio has ended."""
    try:
        token.run_sync_soon(function, *arguments)
    except trio.RunFinishedError:
        pass


async def run_in_thread(
    function: Callable[[], Any],
    grace: float,
    skip_grace: trio.Event | None = None,
    name: str = "engine thread",
) -> Any:
    """Call a function in a new thread, in a copy of the current context, and return its value.

    When cancelled, it returns when the thread has ended, at most `grace` seconds later, or soon after
    `skip_grace` is set.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    call = _Call(function, trio.lowlevel.current_trio_token(), trio.Event())
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(call.run_function,), name=name, daemon=True).start()
    try:
        await call.ended.wait()
    except trio.Cancelled:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + grace) as patience:
            await _stop_and_wait(call, patience, skip_grace)
        raise
    if call.error is not None:
        raise call.error
    return call.value


async def _stop_and_wait(
    call: _Call, patience: trio.CancelScope, skip_grace: trio.Event | None
) -> None:
    """Stop a call and wait for its thread.

    The exception is raised repeatedly, since a function may swallow it.
    """
    wait = 0.02
    while not call.ended.is_set():
        if skip_grace is not None and skip_grace.is_set():
            patience.deadline = min(patience.deadline, trio.current_time() + _SHORT_GRACE)
        call.stop()
        with trio.move_on_after(wait):
            await call.ended.wait()
        wait = min(wait * 2, 0.2)
