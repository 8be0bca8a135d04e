"""The program of a worker process: it takes calls, runs functions and replies, until the pipe closes.

Requests and replies are lines of JSON on two separate pipes; what the function prints goes to
stderr, or with the replies if the call says so. A thread reads the requests, so that the worker
notices the end of the engine during a call, and then kills its whole process group. A call with
a directory survives the engine: the worker claims the directory as `processes.detached` does, leaves its notes
and its reply there, and ends. SIGTERM unwinds the function, so that its `finally` blocks run.
It is started by path and must import almost nothing.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.sdk.task import Task

__all__ = ["main"]

_ENGINE_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "")
_IMPORTLIB_FILE = import_module.__code__.co_filename


class Terminated(BaseException):
    """Raised by the handler of SIGTERM, to unwind the function."""


class _CallState:
    """The state that the signal handler and the reading thread share."""

    is_busy = False
    is_stopping = False
    is_detached = False
    """Whether the call goes on when the engine dies."""


def main(requests: int, replies: int) -> None:
    """Serve the calls that arrive on one file descriptor, and reply on the other."""
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    for fd in (requests, replies):
        os.set_inheritable(fd, False)
    calls: SimpleQueue[dict[str, Any] | None] = SimpleQueue()
    try:  # from here on a signal that comes before the first call, or after the last, unwinds too
        signal.signal(signal.SIGTERM, _on_term)
        threading.Thread(target=_read_requests, args=(requests, calls), daemon=True).start()
        _serve_calls(calls, replies)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    except (Terminated, BrokenPipeError):
        pass
    if _CallState.is_stopping:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)


def _serve_calls(calls: SimpleQueue[dict[str, Any] | None], replies: int) -> None:
    home, folder, lock = os.getpid(), os.getcwd(), threading.Lock()

    def send(message: dict[str, Any]) -> None:
        line = json.dumps(message).encode() + b"\n"
        with lock:
            try:
                while line:
                    line = line[os.write(replies, line) :]
            except BrokenPipeError:
                if not _CallState.is_detached:
                    raise

    while (call := calls.get()) is not None:
        place = call["context"].get("place")
        _CallState.is_detached = place is not None
        _CallState.is_busy = True
        reply = _answer_call(call, send) if place is None else _run_detached(place, call, send)
        if os.getpid() != home:
            os._exit(0)  # a fork that the function forgot
        sys.stderr.flush()
        os.chdir(folder)
        _CallState.is_busy = False
        send({"call": call["call"], "spent": _has_leftovers(), **reply})
        if _CallState.is_stopping:
            break


def _read_requests(fd: int, calls: SimpleQueue[dict[str, Any] | None]) -> None:
    with open(fd, "rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                break  # the engine died while it wrote
            calls.put(json.loads(line))
    if _CallState.is_busy and not _CallState.is_detached:
        os.killpg(0, signal.SIGKILL)
    if _CallState.is_busy or not calls.empty():
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for target in (1, 2):  # what the engine left may be a broken pipe
            os.dup2(nowhere, target)
    calls.put(None)


def _on_term(number: int, frame: object) -> None:
    if not _CallState.is_stopping:
        _CallState.is_stopping = True
        raise Terminated


def _run_detached(
    directory: str, call: dict[str, Any], send: Callable[[dict[str, Any]], None]
) -> dict[str, Any]:
    """Run a call that survives the engine, and return the reply, which is also left in the directory."""
    try:
        if not _claim(directory):
            return {"kind": "taken"}
        notes = os.open(
            os.path.join(directory, "notes"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
        )
    except OSError as error:
        return _error_reply(f"the folder of the attempt cannot be written: {error.strerror}")

    def both(message: dict[str, Any]) -> None:
        os.write(notes, json.dumps(message["note"]).encode() + b"\n")
        send(message)

    try:
        reply = _answer_call(call, both)
    finally:
        os.close(notes)
    end = os.path.join(directory, "end")
    with contextlib.suppress(OSError):  # the engine receives it all the same
        with open(f"{end}.{os.getpid()}", "w", encoding="utf-8") as file:
            json.dump(reply, file)
        os.rename(file.name, end)
    return reply


def _claim(directory: str) -> bool:
    """Claim the directory, and return whether this process may run the body."""
    said = []
    for path in ("/proc/sys/kernel/random/boot_id", "/proc/self/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8") as file:
            said.append(file.read().strip())
    own = os.path.join(directory, str(os.getpid()))
    with open(own, "w", encoding="utf-8") as file:
        file.write(" ".join((str(os.getpid()), *said)))
    try:
        os.link(own, os.path.join(directory, "claim"))
    except FileExistsError:
        return False
    return True


def _answer_call(call: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """Return the reply to one call.

    This is the one place that turns what a function raises into data.
    """
    try:
        sys.path += [path for path in call["paths"] if path not in sys.path]
        value = _run_function(call, send)
    except Terminated:
        raise
    except BaseException as error:  # a function may raise anything, SystemExit too: it is the reply
        return _reply_for_error(error)
    return _reply_for_value(value, call["target"].rpartition(":")[2])


def _run_function(call: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> Any:
    from engine.sdk.context import Context
    from engine.sdk.decorator import call_arguments

    def note(message: str) -> None:
        send({"call": call["call"], "note": str(message)})

    with _capture_output(note) if call["prints"] else contextlib.nullcontext():
        function, task = _resolve(call["target"])
        context = Context(**call["context"], note=note)
        return function(**call_arguments(task, call["inputs"], context))


def _capture_output(note: Callable[[str], None]) -> contextlib.AbstractContextManager[None]:
    from engine.processes.output_capture import capture_output

    return capture_output(note)


@lru_cache
def _resolve(target: str) -> tuple[Callable[..., Any], Task]:
    from engine.sdk.decorator import as_task

    module, _, qualname = target.partition(":")
    found: Any = import_module(module)
    for name in qualname.split("."):
        found = getattr(found, name)
    return found, as_task(found)


def _reply_for_value(value: Any, name: str) -> dict[str, Any]:
    from engine.sdk.decorator import unstructure_result

    try:
        return _reply_for_output(unstructure_result(value), name)
    except RecursionError:
        return _error_reply(f"the output of `{name}` is nested too deeply, or contains itself")


def _reply_for_output(value: Any, name: str) -> dict[str, Any]:
    from engine.sdk.context import Exit

    if not isinstance(value, Exit):
        fault = _check_json(f"the output of `{name}`", value)
        return fault or {"kind": "value", "value": value}
    ended = {key: getattr(value, key) for key in ("code", "output", "permanent", "retry_after")}
    return _check_json(f"the exit of `{name}`", ended) or {"kind": "exit", **ended}


def _check_json(subject: str, value: Any) -> dict[str, Any] | None:
    problem = _find_non_json(value, "")
    try:
        problem or json.dumps(value)
    except ValueError as error:  # an integer of more digits than Python writes
        problem = str(error).lower()
    return _error_reply(f"{subject} is not JSON: {problem}") if problem else None


def _find_non_json(value: Any, location: str) -> str | None:
    """Describe the first part of a value that is not JSON, with its location; None if there is none.

    Nothing is converted on the way.
    """
    match value:
        case None | bool() | int() | str():
            return None
        case float():
            return (
                None
                if math.isfinite(value)
                else f"{location or 'it'} is {value}, which JSON cannot represent"
            )
        case list() | tuple():
            parts = [(f"{location}[{index}]", item) for index, item in enumerate(value)]
        case dict():
            for key in value:
                if not isinstance(key, str):
                    return f"the key {key!r} in {location or 'it'} is not a string"
            parts = [(f"{location}.{key}".lstrip("."), item) for key, item in value.items()]
        case _:
            return f"{location or 'it'} is of type `{type(value).__qualname__}`"
    return next((found for at, item in parts if (found := _find_non_json(item, at))), None)


def _reply_for_error(error: BaseException) -> dict[str, Any]:
    from engine.sdk.context import Permanent, RetryAfter
    from engine.sdk.tracebacks import find_user_location

    more = {
        "permanent": isinstance(error, Permanent),
        "retry_after": error.seconds if isinstance(error, RetryAfter) else None,
    }
    own = isinstance(error, (Permanent, RetryAfter))
    named = () if own else (type(error).__name__,)
    text = ": ".join(part for part in (*named, str(error)) if part) or type(error).__name__
    place = None if own else find_user_location(error)
    return _error_reply(
        f"{text} ({place})" if place else text, traceback=_format_traceback(error), **more
    )


def _error_reply(message: str, **more: Any) -> dict[str, Any]:
    blank = {"permanent": False, "retry_after": None, "traceback": ""}
    return {"kind": "error", "message": message, **blank, **more}


def _format_traceback(error: BaseException) -> str:
    """Return the traceback from the user's first frame on."""
    import traceback

    frames = error.__traceback__
    while frames is not None and _is_engine_code(frames.tb_frame.f_code.co_filename):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _is_engine_code(filename: str) -> bool:
    return filename.startswith((_ENGINE_DIRECTORY, "<frozen ", _IMPORTLIB_FILE))


def _has_leftovers() -> bool:
    """Return whether the function left threads or child processes that run or were not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return threading.active_count() > 2
    return True


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
