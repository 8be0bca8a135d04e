"""Run child processes that outlive the engine: each runs behind a small `sh` script, in a directory of its own.

The script claims the directory with a hard link to a file that holds its PID and start time: of two that start for one
attempt one wins, the other ends, and no body runs twice. It runs the body with its output in files, since pipes break
with the engine, and writes the status to the file `end`. Calling `run_detached` on the same directory again starts
nothing: it adopts the running body, or returns the recorded end. A body is `dead` if its claimant is gone and wrote no
end. The directory's name is the body's token, by which its processes are found. This module does not know what an
attempt is.

Source: docs/language.md, "Cancellation", "Engines that die".
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from engine.base.classes import define, frozen
from engine.processes import children
from engine.processes.children import decode_line
from engine.processes.identity import boot_id, parse_start_time, start_time

if TYPE_CHECKING:
    import trio

__all__ = [
    "Claim",
    "DetachedState",
    "OutcomeUnknown",
    "Tail",
    "follow_tails",
    "read_claim",
    "read_end",
    "run_detached",
    "state_of",
    "token_of_directory",
]

DetachedState = Literal["free", "running", "ended", "dead"]

_SHIM_SCRIPT = """
d=$1 ln=$2 out=$3; shift 3
exec 2>>"$d/why"
{ read -r b </proc/sys/kernel/random/boot_id; read -r s </proc/$$/stat; } 2>/dev/null
echo "$$ $b $s" >"$d/$$" && "$ln" "$d/$$" "$d/claim" 2>/dev/null || exit 78
trap : HUP INT QUIT PIPE ALRM USR1 USR2 TERM
(exec "$@") >>"$d/$out" 2>>"$d/err"
s=$?
if [ "$s" -gt 128 ] && [ -s "$d/why" ]; then echo "$((128 - s))"; else echo "$s"; fi >"$d/end"
exit "$s"
"""
"""The script of the shim.

`exec` keeps the shell from taking the command for one of its own words; the shell writes to `why` which signal ended
the body.
"""

_LN_COMMAND = shutil.which("ln") or "/bin/ln"
_MIN_POLL_INTERVAL, _MAX_POLL_INTERVAL = 0.01, 0.1
"""Seconds between two reads of the files: the interval grows while nothing new comes."""


class OutcomeUnknown(Exception):
    """Raised when the claimant of a body died and the body's end was not recorded."""


@frozen
class Claim:
    """The identity of the process that claimed a body."""

    pid: int
    boot_id: str
    start_time: str

    @property
    def is_alive(self) -> bool:
        """Whether the process is alive."""
        return self.boot_id == boot_id() and start_time(self.pid) == self.start_time


def token_of_directory(directory: str) -> str:
    """Return the token of a body's processes: the name of its directory."""
    return os.path.basename(directory)


def read_claim(directory: str) -> Claim | None:
    """Return the claim on a body; None if no process has started it."""
    try:
        text = Path(directory, "claim").read_text()
    except OSError:
        return None
    pid, _, rest = text.strip().partition(" ")
    life, _, stat = rest.partition(" ")
    return Claim(int(pid), life, parse_start_time(stat))


def read_end(directory: str) -> Any:
    """Return the recorded end of a body, or None.

    That is its status, minus the signal that killed it, or the reply of a worker.
    """
    try:
        return json.loads(Path(directory, "end").read_text())
    except (OSError, ValueError):
        return None


def state_of(directory: str) -> DetachedState:
    """Return the state of a body without changing it."""
    claim = read_claim(directory)
    if claim is None:
        return "free"
    alive = claim.is_alive  # before the end is read: it is written while its process lives
    if read_end(directory) is not None:
        return "ended"
    return "running" if alive else "dead"


async def run_detached(
    argv: Sequence[str],
    *,
    directory: str,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes | None = None,
    grace: float = 5.0,
    limit: int = 16 * 1024 * 1024,
    on_line: Callable[[str], None] | None = None,
    merged: bool = False,
) -> children.Completed:
    """Run a body to its end, or adopt it, like `children.run_child`.

    Raises OutcomeUnknown if its end was not recorded. `limit` is enforced only while an engine watches the body.
    """
    claim = read_claim(directory)
    if claim is None and not _is_startable(argv[0], cwd, env):  # the system says why not
        return await children.run_child(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            grace=grace,
            limit=limit,
            on_line=on_line,
            merged=merged,
        )
    tails = [] if on_line is None else [Tail(Path(directory, "err"), on_line)]
    check, status = _build_size_check(argv[0], directory, limit), None
    if claim is None:
        child = await _start_shim(argv, directory, cwd, env, stdin, "err" if merged else "out")
        await supervise(child, tails, check, grace)
        claim = read_claim(directory)
        if claim is None:
            raise OSError(f"the folder of the attempt cannot be written: `{directory}`")
        if claim.pid == child.process.pid:
            status = child.status
    if status is None:  # another process began it
        await supervise(AdoptedProcess(claim, directory), tails, check, grace)
    end = read_end(directory)
    status = end if isinstance(end, int) else status
    if status is None:
        raise OutcomeUnknown("its process died without recording how it ended")
    check()
    for tail in tails:
        tail.finish()
    return children.Completed(
        status, _read_output(directory, "out"), _read_output(directory, "err")
    )


async def _start_shim(
    argv: Sequence[str],
    directory: str,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes | None,
    out: str,
) -> Child:
    """Start a shim for the body; it ends by itself if another shim claims the directory first."""
    Path(directory).mkdir(parents=True, exist_ok=True, mode=0o700)
    tagged = children.with_token(env, token_of_directory(directory))
    odd = [f"{name}={tagged[name]}" for name in tagged if not _is_identifier(name)]
    command = ["env", *odd, *argv] if odd else list(argv)  # which `sh` would drop
    shim = ["/bin/sh", "-c", _SHIM_SCRIPT, "engine", directory, _LN_COMMAND, out, *command]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # none of the engine's
    with tempfile.TemporaryFile() as given:  # without a name: it may hold secrets
        given.write(stdin or b"")
        given.seek(0)
        streams["stdin"] = subprocess.DEVNULL if stdin is None else given.fileno()
        process = await children.start_child(shim, cwd=cwd, env=tagged, **streams)
    return Child(process, token_of_directory(directory))


def _read_output(directory: str, name: str) -> bytes:
    try:
        return Path(directory, name).read_bytes()
    except FileNotFoundError:
        return b""


def _build_size_check(command: str, directory: str, limit: int) -> Callable[[], None]:
    """Return a function that raises OutputTooLarge once an output file exceeds `limit`."""

    def check() -> None:
        for name, stream in (("out", "stdout"), ("err", "stderr")):
            if _file_size(directory, name) > limit:
                raise children.OutputTooLarge(command, stream, limit)

    return check


def _file_size(directory: str, name: str) -> int:
    try:
        return os.stat(os.path.join(directory, name)).st_size
    except OSError:
        return 0


def _is_startable(command: str, cwd: str, env: Mapping[str, str]) -> bool:
    """Return whether the operating system would start the command itself."""
    folders = [""] if "/" in command else env.get("PATH", os.defpath).split(":")
    for folder in folders:
        path = os.path.join(cwd, folder, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return _has_valid_interpreter(path)
    return False


def _has_valid_interpreter(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.readline(256)
    except OSError:
        return True  # it may be run and not be read
    if head[:2] != b"#!":
        return b"\0" in head or head[:4] in _EXECUTABLE_MAGIC
    words = head[2:].split()
    return bool(words) and os.path.exists(words[0])


_EXECUTABLE_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and name.isascii()


# -- processes to wait for ---------------------------------------------------------------------------


class ClaimHolder(Protocol):
    """The process that claimed a body, or is about to."""

    async def wait_until_exited(self) -> None:
        """Wait until the process has ended."""

    async def stop(self, grace: float) -> None:
        """Stop the process and its group, SIGTERM first; cannot be cancelled."""

    async def kill_group(self) -> None:
        """Kill the rest of its group; cannot be cancelled."""

    async def kill_escaped(self) -> None:
        """Kill every process with its token; cannot be cancelled."""


@define
class Child:
    """A shim that this process started."""

    process: trio.Process
    token: str
    status: int = 0

    async def wait_until_exited(self) -> None:
        await children.wait_until_exited(self.process)

    async def stop(self, grace: float) -> None:
        await children.stop(self.process, grace)

    async def kill_group(self) -> None:
        self.status = await children.reap(self.process)

    async def kill_escaped(self) -> None:
        await children.kill_escaped(self.token)


@define
class AdoptedProcess:
    """A shim that another process started.

    It cannot be reaped here, and its PID is not reliable once it is gone.
    """

    claim: Claim
    directory: str
    token: str = attrs.field(init=False)

    @token.default
    def _find_token(self) -> str:
        """Return the token of the process: a worker that serves many calls has its own."""
        last = children.find_last_token(self.claim.pid)
        return last if last and self.claim.is_alive else token_of_directory(self.directory)

    async def wait_until_exited(self) -> None:
        import trio

        pause = _MIN_POLL_INTERVAL
        while state_of(self.directory) == "running":
            await trio.sleep(pause)
            pause = min(pause * 2, _MAX_POLL_INTERVAL)

    async def stop(self, grace: float) -> None:
        import trio

        with trio.CancelScope(shield=True):
            if self.claim.is_alive:
                children.terminate(self.claim.pid)
            with trio.move_on_after(grace):
                while self.claim.is_alive or children.has_processes(self.token):
                    await trio.sleep(_MIN_POLL_INTERVAL)
            await self.kill_escaped()

    async def kill_group(self) -> None:
        await children.kill_escaped(self.token, group=self.claim.pid)

    async def kill_escaped(self) -> None:
        await children.kill_escaped(self.token)


async def supervise(
    leader: ClaimHolder, tails: Sequence[Tail], check: Callable[[], None], grace: float
) -> None:
    """Wait for the end of a body, emit its lines as they come, and kill what is left of it.

    An OutputTooLarge that `check` raises stops the body.
    """
    clean = False
    try:
        await _wait_for_end(leader, tails, check, grace)
        clean = True
    finally:
        await leader.kill_group()
        if not clean:
            await leader.kill_escaped()


async def _wait_for_end(
    leader: ClaimHolder, tails: Sequence[Tail], check: Callable[[], None], grace: float
) -> None:
    import trio

    wrong: Exception | None = None
    patience = trio.CancelScope()

    async def watch() -> None:
        nonlocal wrong
        try:
            await follow_tails(tails, check)
        except children.OutputTooLarge as error:
            wrong = error
            patience.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        over = False
        try:
            with patience:
                await leader.wait_until_exited()
                over = True
        finally:
            if not over:
                await leader.stop(grace)
            nursery.cancel_scope.cancel()
    if wrong is not None:
        raise wrong


# -- the output --------------------------------------------------------------------------------


class Tail:
    """A reader of a growing file that emits each line once."""

    def __init__(
        self, path: Path, emit: Callable[[str], None], decode: Callable[[bytes], str] = decode_line
    ) -> None:
        self._path, self._emit, self._decode = path, emit, decode
        self._offset, self._partial_line = 0, b""

    def read(self) -> bool:
        """Emit the new lines, and return whether the file has grown."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                chunk = file.read()
        except OSError:
            return False
        self._offset += len(chunk)
        *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
        for line in lines:
            self._emit(self._decode(line))
        return bool(chunk)

    def finish(self) -> None:
        """Emit the rest, including a last line without a newline."""
        self.read()
        if self._partial_line:
            self._emit(self._decode(self._partial_line))


async def follow_tails(tails: Sequence[Tail], check: Callable[[], None]) -> None:
    """Emit lines as they come, until cancelled."""
    import trio

    pause = _MIN_POLL_INTERVAL
    while True:
        await trio.sleep(pause)
        check()
        grown = [tail.read() for tail in tails]
        pause = _MIN_POLL_INTERVAL if any(grown) else min(pause * 2, _MAX_POLL_INTERVAL)
