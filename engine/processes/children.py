"""Run child processes and stop them with all their descendants.

Every child leads a session and process group of its own, so one signal reaches all it started. A descendant that
leaves the group (`setsid`, a daemon) still carries `ENGINE_ATTEMPT` in its environment and is found by it. The leader
stays a zombie until its group has been killed: as long as it is not reaped, no other process can get the group's
number. `PR_SET_PDEATHSIG` is of no use here: trio forks from threads that end, and the kernel would kill the child
with them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import struct
import subprocess
import termios
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, cast

from engine.base.classes import frozen

if TYPE_CHECKING:
    import trio

__all__ = [
    "ATTEMPT_VARIABLE",
    "OWNER_TOKEN",
    "Completed",
    "OutputTooLarge",
    "decode_line",
    "describe_signal",
    "find_last_token",
    "has_ended",
    "has_processes",
    "kill_escaped",
    "make_token",
    "read_pending",
    "reap",
    "run_child",
    "start_child",
    "stop",
    "terminate",
    "wait_until_exited",
    "with_token",
]

ATTEMPT_VARIABLE = "ENGINE_ATTEMPT"
"""The environment variable that marks all descendants of a child.

Its value is a list of tokens separated by `/`: an engine inside an engine appends its own.
"""

OWNER_TOKEN: ContextVar[str] = ContextVar("OWNER", default="")
"""A token, without `/`, that every child started in this context carries besides its own.

`kill_escaped` uses it at the end of a run, and when a run is resumed whose engine was killed.
"""

_CHUNK_SIZE = 65_536
_MAX_LINE_BYTES = 4_096
_POLL_INTERVAL = 0.01
_MIN_QUIET_SCANS = 3
_SECOND_SIGTERM_DELAY = 0.1
"""Seconds before a second SIGTERM."""
_MAX_UNCLEAR_SCANS = 100
"""Scans that see a process amid `exec` before its state is accepted as it appears."""


@frozen
class Completed:
    """A child that has ended; `returncode` is its status, or minus the signal that killed it."""

    returncode: int
    stdout: bytes
    stderr: bytes


class OutputTooLarge(Exception):
    """Raised when a child wrote more than `limit` bytes to one stream and was stopped."""

    def __init__(self, command: str, stream: str, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        super().__init__(f"`{command}` wrote more than {limit} bytes to {stream} and was stopped")


async def run_child(
    argv: Sequence[str],
    *,
    cwd: str | os.PathLike[str],
    env: Mapping[str, str],
    stdin: bytes | None = None,
    grace: float = 5.0,
    limit: int = 16 * 1024 * 1024,
    on_line: Callable[[str], None] | None = None,
    merged: bool = False,
) -> Completed:
    """Run a child process to its end.

    `env` is its whole environment; without `stdin` it reads nothing. `on_line` is called with each line of stderr as it
    comes, cut at 4096 bytes and marked with `…` if it is longer; lines of stdout go there too if `merged`. After the
    child has ended, the rest of its group is killed, even if it still holds the pipes. On cancellation the group gets
    SIGTERM, after `grace` seconds SIGKILL, and the call returns when none of the child's descendants is left. Raises
    OSError, naming the file, if the child cannot be started, and OutputTooLarge.
    """
    token = make_token()
    env = with_token(env, token)
    child_stdin = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    second = subprocess.STDOUT if merged else subprocess.PIPE
    pipes = {"stdin": child_stdin, "stdout": subprocess.PIPE, "stderr": second}
    process = await start_child(argv, cwd=cwd, env=env, **pipes)
    outputs = {"stdout": _OutputReader(process.stdout, limit, None if not merged else on_line)}
    if not merged:
        outputs["stderr"] = _OutputReader(process.stderr, limit, on_line)
    clean = False
    try:
        await _supervise(process, stdin or b"", (*outputs.values(),), grace)
        for name, output in outputs.items():
            if output.is_full:
                raise OutputTooLarge(argv[0], name, limit)
        clean = True
    finally:
        returncode = await reap(process)
        if not clean:
            await kill_escaped(token)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                cast("trio.lowlevel.FdStream", stream).close()
    out, err = (bytes(each.data) for each in (outputs["stdout"], [*outputs.values()][-1]))
    return Completed(returncode, b"" if merged else out, err)


def with_token(env: Mapping[str, str], token: str) -> dict[str, str]:
    """Return `env` with a token added, by which `kill_escaped` finds a child's descendants."""
    trail = [part for part in (env.get(ATTEMPT_VARIABLE, ""), OWNER_TOKEN.get(), token) if part]
    return {**env, ATTEMPT_VARIABLE: "/".join(trail)}


def make_token() -> str:
    """Return a new, unique token."""
    return secrets.token_hex(16)


async def start_child(
    argv: Sequence[str], *, cwd: str | os.PathLike[str], env: Mapping[str, str], **options: Any
) -> trio.Process:
    """Start a child as the leader of a new session; `options` are those of `subprocess.Popen`.

    Raises an OSError whose message names the executable or directory at fault.
    """
    import trio

    folder = os.fspath(cwd)
    try:
        return await trio.lowlevel.open_process(
            list(argv), cwd=folder, env=dict(env), start_new_session=True, **options
        )
    except OSError as error:
        raise type(error)(_describe_start_error(error, argv[0], folder)) from error


def has_ended(process: trio.Process) -> bool:
    """Return whether a child that is not reaped is dead; it stays a zombie."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


async def wait_until_exited(process: trio.Process) -> None:
    """Wait until the child itself is dead, without reaping it where the system allows that."""
    import trio

    try:
        fd = os.pidfd_open(process.pid)
    except (AttributeError, OSError):
        await process.wait()
        return
    try:
        await trio.lowlevel.wait_readable(fd)
    finally:
        os.close(fd)


async def stop(process: trio.Process, grace: float, *, twice: bool = False) -> None:
    """Stop a child that is not reaped: SIGTERM to its group, SIGKILL after `grace` seconds.

    The grace period is the whole group's: a shell dies at once, while the command it ran may have data to save. With
    `twice` the child itself gets a second SIGTERM if the first does not end it at once: Python misses a signal that
    arrives just before a blocking call begins. Cannot be cancelled.
    """
    import trio

    with trio.CancelScope(shield=True):
        terminate(process.pid)
        with trio.move_on_after(grace):
            if twice:
                with trio.move_on_after(_SECOND_SIGTERM_DELAY):
                    await wait_until_exited(process)
                os.kill(process.pid, signal.SIGTERM)  # a zombie takes it too
            await wait_until_exited(process)
            while _is_group_alive(process.pid):
                await trio.sleep(_POLL_INTERVAL)
        _signal_group(process.pid, signal.SIGKILL)
        await wait_until_exited(process)


async def reap(process: trio.Process) -> int:
    """Reap a child that has ended, and return its status once its group is gone; cannot be cancelled."""
    import trio

    with trio.CancelScope(shield=True):
        _signal_group(process.pid, signal.SIGKILL)
        returncode = await process.wait()
        while _signal_group(process.pid, 0) and _is_group_alive(process.pid):
            await trio.sleep(_POLL_INTERVAL)
    return returncode


async def kill_escaped(
    token: str, except_tokens: Collection[str] = (), group: int | None = None
) -> None:
    """Kill every process that carries `token`, and return when none is left; cannot be cancelled.

    Processes that carry one of `except_tokens` are left alone, and with `group` those outside that group.

    It reads /proc, so it does nothing where there is none. A scan can miss a child whose parent died meanwhile: hence
    the whole group of each found process is killed, which no fork escapes, and only several empty scans in a row are
    the end. A process amid `exec` shows no environment for a moment: it is scanned again.
    """
    import trio

    with trio.CancelScope(shield=True):
        quiet = unclear = 0
        while quiet < _MIN_QUIET_SCANS:
            found = dict(_iter_proc("environ"))
            killed = [
                pid
                for pid, seen in found.items()
                if _has_token(seen, token, except_tokens)
                and _is_in_group(pid, group)
                and _kill_group_of(pid)
            ]
            changing = unclear < _MAX_UNCLEAR_SCANS and any(
                not found[pid] and _is_in_exec(pid) for pid in found
            )
            unclear += changing
            quiet = 0 if killed or changing else quiet + 1
            if killed or changing:
                await trio.sleep(_POLL_INTERVAL)


def has_processes(token: str) -> bool:
    """Return whether a process that is not a zombie carries `token`; False where there is no /proc."""
    return any(token in _parse_tokens(seen) for _, seen in _iter_proc("environ"))


def find_last_token(pid: int) -> str:
    """Return the token of the child that a process is or descends from; empty if it has none."""
    return next(
        (
            _parse_tokens(seen)[-1]
            for _, seen in _iter_proc("environ", str(pid))
            if _parse_tokens(seen)
        ),
        "",
    )


def terminate(pgid: int) -> None:
    """Send SIGTERM to a process group, and SIGCONT so that a stopped group ends too."""
    _signal_group(pgid, signal.SIGTERM)
    _signal_group(pgid, signal.SIGCONT)


def describe_signal(number: int) -> str:
    """Return the name of a signal: `SIGKILL` for 9, `signal 40` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def read_pending(fd: int) -> bytes:
    """Read the bytes that are in a pipe now, without waiting for more."""
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return os.read(fd, count) if count else b""


class _OutputReader:
    """A reader of one output stream of a child: it stores bytes up to the limit, and emits lines."""

    def __init__(self, stream: Any, limit: int, on_line: Callable[[str], None] | None) -> None:
        import trio

        self.stream = cast("trio.lowlevel.FdStream", stream)
        self.read_scope = trio.CancelScope(shield=True)
        self.limit = limit
        self.on_line = on_line
        self.data = bytearray()
        self.is_full = False
        self._partial_line = b""

    async def read(self, on_overflow: Callable[[], None]) -> None:
        """Read until end of file or cancellation of `read_scope`; discard bytes beyond the limit."""
        with self.read_scope:
            while chunk := await self.stream.receive_some(_CHUNK_SIZE):
                self._append(chunk)
                if self.is_full:
                    on_overflow()

    def finish(self) -> None:
        """Read the rest of the pipe without waiting: another process at its other end might never close it."""
        self._append(read_pending(self.stream.fileno()))
        if self._partial_line and self.on_line is not None:
            self.on_line(decode_line(self._partial_line))

    def _append(self, chunk: bytes) -> None:
        if not self.is_full:
            self.data += chunk
            self.is_full = len(self.data) > self.limit
        if self.on_line is not None:
            *lines, rest = (self._partial_line + chunk).split(b"\n")
            self._partial_line = rest[: _MAX_LINE_BYTES + 1]
            for line in lines:
                self.on_line(decode_line(line))


def decode_line(data: bytes) -> str:
    """Decode a line for display; a line that is too long is cut and marked with `…`."""
    text = data[:_MAX_LINE_BYTES].decode(errors="replace")
    return text.rstrip("\ufffd") + "…" if len(data) > _MAX_LINE_BYTES else text


async def _supervise(
    process: trio.Process, stdin: bytes, outputs: tuple[_OutputReader, ...], grace: float
) -> None:
    """Write to and read from a child until it is dead.

    Reading goes on while the child is being stopped, so that it does not block.
    """
    import trio

    patience = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        for output in outputs:
            nursery.start_soon(output.read, patience.cancel)
        nursery.start_soon(_write_stdin, process.stdin, stdin)
        over = False
        try:
            with patience:
                await wait_until_exited(process)
                over = True
        finally:
            if not over:
                await stop(process, grace)
            _signal_group(process.pid, signal.SIGKILL)
            for output in outputs:
                output.read_scope.cancel()
            nursery.cancel_scope.cancel()
    for output in outputs:
        output.finish()


async def _write_stdin(stream: trio.abc.SendStream | None, data: bytes) -> None:
    import trio

    if stream is not None:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the child does not want the rest
        finally:
            cast("trio.lowlevel.FdStream", stream).close()


def _signal_group(pgid: int, number: int) -> bool:
    """Signal a process group, and return whether it exists."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
        return False
    return True


def _kill_group_of(pid: int) -> bool:
    """Kill a process and its group, and return whether it is ours to kill or already gone.

    If the group is the engine's own, only the process is killed.
    """
    try:
        group = os.getpgid(pid)
        if group == os.getpgrp():
            os.kill(pid, signal.SIGKILL)
        else:
            os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return True


def _has_token(environment: bytes, token: str, except_tokens: Collection[str]) -> bool:
    trail = _parse_tokens(environment)
    return token in trail and not any(other in trail for other in except_tokens)


def _is_in_group(pid: int, group: int | None) -> bool:
    try:
        return group is None or os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def _is_group_alive(pgid: int) -> bool:
    """Return whether a process group has a member that is not a zombie; False where there is no /proc."""
    for _, stat in _iter_proc("stat"):
        state, _, group, *_ = stat[stat.rfind(b")") + 2 :].split()
        if int(group) == pgid and state not in b"ZX":
            return True
    return False


def _is_in_exec(pid: int) -> bool:
    """Return whether a process has memory but, for this moment, no environment in it."""
    stat = next((content for _, content in _iter_proc("stat", str(pid))), b"")
    fields = stat[stat.rfind(b")") + 2 :].split()
    return len(fields) > 48 and int(fields[20]) > 0 and int(fields[48]) == 0


def _parse_tokens(environment: bytes) -> list[str]:
    """Return the tokens in an environment in the format of /proc."""
    name = f"{ATTEMPT_VARIABLE}=".encode()
    _, found, rest = (b"\0" + environment).partition(b"\0" + name)
    return rest.partition(b"\0")[0].decode(errors="replace").split("/") if found else []


def _iter_proc(name: str, only: str = "") -> Iterator[tuple[int, bytes]]:
    """Yield the PID and one file of /proc for each process, or for `only` one; unreadable ones are left out."""
    if not os.path.isdir("/proc/self"):
        return
    for entry in [only] if only else os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/{name}", "rb", buffering=0) as file:
                    content = file.read()
            except OSError:
                continue  # gone, or another user's
            yield int(entry), content or b""


def _describe_start_error(error: OSError, command: str, cwd: str) -> str:
    if error.filename == cwd:
        return f"cannot start `{command}` in the folder `{cwd}`: {_describe_os_error(error)}"
    if isinstance(error, FileNotFoundError) and "/" not in command:
        return f"cannot start `{command}`: command not found on PATH"
    if isinstance(error, FileNotFoundError) and os.path.exists(os.path.join(cwd, command)):
        return f"cannot start `{command}`: the interpreter in its first line does not exist"
    return f"cannot start `{command}`: {_describe_os_error(error)}"


def _describe_os_error(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
