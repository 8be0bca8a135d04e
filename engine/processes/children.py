"""Child processes that end when they are told to: run one, and leave nothing of it behind.

Every child leads a session and process group of its own, so one signal reaches all it started. What
leaves the group (`setsid`, a daemon) still carries `ENGINE_ATTEMPT` in its environment and is found
by it. The leader stays a zombie until its group has been killed: as long as it is not reaped, no
other process can bear the group's number. `PR_SET_PDEATHSIG` is of no use here: trio forks from
threads that end, and the kernel would kill the child with them.
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
    "COOKIE",
    "OWNER",
    "Completed",
    "OutputTooLarge",
    "ended",
    "exited",
    "kill_strays",
    "last_token",
    "living",
    "new_token",
    "pending",
    "reap",
    "run",
    "shown",
    "signal_name",
    "start",
    "stop",
    "tag",
    "terminate",
]

COOKIE = "ENGINE_ATTEMPT"
"""The environment variable that marks all descendants of a child.

Tokens parted by `/`: an engine inside an engine adds its own.
"""

OWNER: ContextVar[str] = ContextVar("OWNER", default="")
"""A token, without `/`, that every child started in this context bears besides its own.

For `kill_strays` at the end of a run, or when one is resumed whose engine was killed.
"""

_CHUNK = 65_536
_LINE = 4_096
_POLL = 0.01
_QUIET = 3
_AGAIN = 0.1
"""Seconds till a second SIGTERM."""
_UNCLEAR = 100
"""Looks at processes amid `exec` before they are taken for what they seem."""


@frozen
class Completed:
    """A child that has ended; `returncode` is its status, or minus the signal that killed it."""

    returncode: int
    stdout: bytes
    stderr: bytes


class OutputTooLarge(Exception):
    """A child wrote more than `limit` bytes to one stream and was stopped."""

    def __init__(self, command: str, stream: str, limit: int) -> None:
        self.stream = stream
        self.limit = limit
        super().__init__(f"`{command}` wrote more than {limit} bytes to {stream} and was stopped")


async def run(
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
    """Run a child to its end.

    `env` is its whole environment; without `stdin` it reads nothing. `on_line` is given each line
    of stderr as it comes, cut at 4096 bytes and marked with `…` if it is longer. What it writes to
    stdout goes there too if they are `merged`. When the child has ended, what is left of its group is
    killed, even if it still holds the pipes. On cancel the group gets SIGTERM, after `grace`
    seconds SIGKILL, and the call returns when none of the child's descendants is left. Raises
    OSError, naming the file, if the child cannot be started, and OutputTooLarge.
    """
    token = new_token()
    env = tag(env, token)
    child_stdin = subprocess.DEVNULL if stdin is None else subprocess.PIPE
    second = subprocess.STDOUT if merged else subprocess.PIPE
    pipes = {"stdin": child_stdin, "stdout": subprocess.PIPE, "stderr": second}
    process = await start(argv, cwd=cwd, env=env, **pipes)
    outputs = {"stdout": _Output(process.stdout, limit, None if not merged else on_line)}
    if not merged:
        outputs["stderr"] = _Output(process.stderr, limit, on_line)
    clean = False
    try:
        await _attend(process, stdin or b"", (*outputs.values(),), grace)
        for name, output in outputs.items():
            if output.full:
                raise OutputTooLarge(argv[0], name, limit)
        clean = True
    finally:
        returncode = await reap(process)
        if not clean:
            await kill_strays(token)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                cast("trio.lowlevel.FdStream", stream).close()
    out, err = (bytes(each.data) for each in (outputs["stdout"], [*outputs.values()][-1]))
    return Completed(returncode, b"" if merged else out, err)


def tag(env: Mapping[str, str], token: str) -> dict[str, str]:
    """`env` with a token: by that mark `kill_strays` knows a child's descendants."""
    trail = [part for part in (env.get(COOKIE, ""), OWNER.get(), token) if part]
    return {**env, COOKIE: "/".join(trail)}


def new_token() -> str:
    """A token that nobody else has."""
    return secrets.token_hex(16)


async def start(
    argv: Sequence[str], *, cwd: str | os.PathLike[str], env: Mapping[str, str], **options: Any
) -> trio.Process:
    """Start a child as the leader of a new session; `options` are those of `subprocess.Popen`.

    Raises an OSError whose message names the executable or the folder that is at fault.
    """
    import trio

    folder = os.fspath(cwd)
    try:
        return await trio.lowlevel.open_process(
            list(argv), cwd=folder, env=dict(env), start_new_session=True, **options
        )
    except OSError as error:
        raise type(error)(_why(error, argv[0], folder)) from error


def ended(process: trio.Process) -> bool:
    """Whether a child that is not reaped is dead; it stays a zombie."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


async def exited(process: trio.Process) -> None:
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
    """End a child that is not reaped: SIGTERM to its group, SIGKILL after `grace` seconds.

    The grace is the whole group's: a shell dies at once, the command it ran may have something to
    save. With `twice` the child itself gets a second SIGTERM if the first does not end it at once:
    Python misses a signal that comes in the moment before a blocking call begins. Cannot be
    cancelled.
    """
    import trio

    with trio.CancelScope(shield=True):
        terminate(process.pid)
        with trio.move_on_after(grace):
            if twice:
                with trio.move_on_after(_AGAIN):
                    await exited(process)
                os.kill(process.pid, signal.SIGTERM)  # a zombie takes it too
            await exited(process)
            while _living(process.pid):
                await trio.sleep(_POLL)
        _signal(process.pid, signal.SIGKILL)
        await exited(process)


async def reap(process: trio.Process) -> int:
    """The status of a child that has ended, once its group is gone too; cannot be cancelled."""
    import trio

    with trio.CancelScope(shield=True):
        _signal(process.pid, signal.SIGKILL)
        returncode = await process.wait()
        while _signal(process.pid, 0) and _living(process.pid):
            await trio.sleep(_POLL)
    return returncode


async def kill_strays(token: str, but: Collection[str] = (), group: int | None = None) -> None:
    """Kill every process that bears `token` and return when there is none; cannot be cancelled.
    Those that bear one of `but` are left alone, as are with `group` those outside that group.

    Looks into /proc, so it does nothing where there is none. A look can miss a child whose parent
    died under it: hence a stray's whole group is killed, which no fork escapes, and only several
    looks in a row that find nothing are the end. A process amid `exec` shows no environment for a
    moment: it is looked at again.
    """
    import trio

    with trio.CancelScope(shield=True):
        quiet = unclear = 0
        while quiet < _QUIET:
            found = dict(_proc("environ"))
            killed = [
                pid
                for pid, seen in found.items()
                if _bears(seen, token, but) and _within(pid, group) and _kill(pid)
            ]
            changing = unclear < _UNCLEAR and any(not found[pid] and _in_exec(pid) for pid in found)
            unclear += changing
            quiet = 0 if killed or changing else quiet + 1
            if killed or changing:
                await trio.sleep(_POLL)


def living(token: str) -> bool:
    """Whether a process that is not a zombie bears `token`; False where there is no /proc."""
    return any(token in _trail(seen) for _, seen in _proc("environ"))


def last_token(pid: int) -> str:
    """The token of the child that a process is, or comes from; empty if it bears none."""
    return next((_trail(seen)[-1] for _, seen in _proc("environ", str(pid)) if _trail(seen)), "")


def terminate(pgid: int) -> None:
    """Tell a group to end, a stopped one too."""
    _signal(pgid, signal.SIGTERM)
    _signal(pgid, signal.SIGCONT)


def signal_name(number: int) -> str:
    """`SIGKILL` for 9, `signal 40` for one without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def pending(fd: int) -> bytes:
    """What lies in a pipe at this moment, without waiting for more."""
    (count,) = struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, bytes(4)))
    return os.read(fd, count) if count else b""


class _Output:
    """One output stream of a child: its bytes up to the limit, its lines to whom they concern."""

    def __init__(self, stream: Any, limit: int, on_line: Callable[[str], None] | None) -> None:
        import trio

        self.stream = cast("trio.lowlevel.FdStream", stream)
        self.reading = trio.CancelScope(shield=True)
        self.limit = limit
        self.on_line = on_line
        self.data = bytearray()
        self.full = False
        self._rest = b""

    async def read(self, too_much: Callable[[], None]) -> None:
        """Take what comes until end of file or cancel of `reading`; forget what is too much."""
        with self.reading:
            while chunk := await self.stream.receive_some(_CHUNK):
                self._take(chunk)
                if self.full:
                    too_much()

    def finish(self) -> None:
        """Take what was left in the pipe: a stranger at its other end might never close it."""
        self._take(pending(self.stream.fileno()))
        if self._rest and self.on_line is not None:
            self.on_line(shown(self._rest))

    def _take(self, chunk: bytes) -> None:
        if not self.full:
            self.data += chunk
            self.full = len(self.data) > self.limit
        if self.on_line is not None:
            *lines, rest = (self._rest + chunk).split(b"\n")
            self._rest = rest[: _LINE + 1]
            for line in lines:
                self.on_line(shown(line))


def shown(data: bytes) -> str:
    """A line to be shown: where it was cut stands `…`, as at every cut."""
    text = data[:_LINE].decode(errors="replace")
    return text.rstrip("\ufffd") + "…" if len(data) > _LINE else text


async def _attend(
    process: trio.Process, stdin: bytes, outputs: tuple[_Output, ...], grace: float
) -> None:
    """Feed and read a child until it is dead; lest it blocks, read on while it is being stopped."""
    import trio

    patience = trio.CancelScope()
    async with trio.open_nursery() as nursery:
        for output in outputs:
            nursery.start_soon(output.read, patience.cancel)
        nursery.start_soon(_feed, process.stdin, stdin)
        over = False
        try:
            with patience:
                await exited(process)
                over = True
        finally:
            if not over:
                await stop(process, grace)
            _signal(process.pid, signal.SIGKILL)
            for output in outputs:
                output.reading.cancel()
            nursery.cancel_scope.cancel()
    for output in outputs:
        output.finish()


async def _feed(stream: trio.abc.SendStream | None, data: bytes) -> None:
    import trio

    if stream is not None:
        try:
            await stream.send_all(data)
        except trio.BrokenResourceError:
            pass  # the child does not want the rest
        finally:
            cast("trio.lowlevel.FdStream", stream).close()


def _signal(pgid: int, number: int) -> bool:
    """Whether there was a group to signal."""
    try:
        os.killpg(pgid, number)
    except (ProcessLookupError, PermissionError):  # macOS: EPERM when only zombies are left
        return False
    return True


def _kill(pid: int) -> bool:
    """Kill a process, and its group unless that is our own; whether it is ours to kill, as one that
    died meanwhile was."""
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


def _bears(environment: bytes, token: str, but: Collection[str]) -> bool:
    trail = _trail(environment)
    return token in trail and not any(other in trail for other in but)


def _within(pid: int, group: int | None) -> bool:
    try:
        return group is None or os.getpgid(pid) == group
    except ProcessLookupError:
        return False


def _living(pgid: int) -> bool:
    """Whether a process group has a member that is not a zombie; False where there is no /proc."""
    for _, stat in _proc("stat"):
        state, _, group, *_ = stat[stat.rfind(b")") + 2 :].split()
        if int(group) == pgid and state not in b"ZX":
            return True
    return False


def _in_exec(pid: int) -> bool:
    """Whether a process has memory but, for this moment, no place of its environment in it."""
    stat = next((content for _, content in _proc("stat", str(pid))), b"")
    fields = stat[stat.rfind(b")") + 2 :].split()
    return len(fields) > 48 and int(fields[20]) > 0 and int(fields[48]) == 0


def _trail(environment: bytes) -> list[str]:
    """The tokens in an environment as /proc shows it."""
    name = f"{COOKIE}=".encode()
    _, found, rest = (b"\0" + environment).partition(b"\0" + name)
    return rest.partition(b"\0")[0].decode(errors="replace").split("/") if found else []


def _proc(name: str, only: str = "") -> Iterator[tuple[int, bytes]]:
    """One file of /proc for each process, or for `only` one, that lets it be read."""
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


def _why(error: OSError, command: str, cwd: str) -> str:
    if error.filename == cwd:
        return f"cannot start `{command}` in the folder `{cwd}`: {_reason(error)}"
    if isinstance(error, FileNotFoundError) and "/" not in command:
        return f"cannot start `{command}`: command not found on PATH"
    if isinstance(error, FileNotFoundError) and os.path.exists(os.path.join(cwd, command)):
        return f"cannot start `{command}`: the interpreter in its first line does not exist"
    return f"cannot start `{command}`: {_reason(error)}"


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
