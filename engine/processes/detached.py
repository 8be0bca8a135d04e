"""Child processes that outlive the engine: each runs behind a few lines of `sh`, in a folder of its own.

The shim claims the folder, with a hard link that says who it is and when it began, so that of two
that start for one attempt one wins, the other ends, and no body runs twice. It runs the body with
its output in files, for pipes break with the engine, and leaves in `end` how it ended. `run` on the
same folder again starts nothing: it takes over what is running, or gives what has ended. A body is
`dead` if whoever claimed it has gone without a word. The folder's name is the body's token, by which
its processes are found. Does not know what an attempt is. Source: LANGUAGE.md sections 14 and 15
(T6).
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
from engine.processes.children import shown
from engine.processes.identity import began, boot, start_of

if TYPE_CHECKING:
    import trio

__all__ = ["Claim", "Lost", "State", "Tail", "claim_of", "end_of", "follow", "look", "run", "token"]

State = Literal["free", "running", "ended", "dead"]

_SCRIPT = """
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
"""`exec` takes no word of the shell for a command; the shell says in `why` which signal ended it."""

_LINK = shutil.which("ln") or "/bin/ln"
_SHORTEST, _LONGEST = 0.01, 0.1
"""Seconds between two looks at files: longer, the longer nothing comes."""


class Lost(Exception):
    """Whoever claimed the body has died, and nobody saw how the body ended."""


@frozen
class Claim:
    """A process that said it runs the body."""

    pid: int
    boot: str
    began: str

    @property
    def alive(self) -> bool:
        """Whether it lives."""
        return self.boot == boot() and began(self.pid) == self.began


def token(place: str) -> str:
    """What the processes of a body bear: the name of its folder."""
    return os.path.basename(place)


def claim_of(place: str) -> Claim | None:
    """Who runs, or ran, the body; None if nobody has begun it."""
    try:
        text = Path(place, "claim").read_text()
    except OSError:
        return None
    pid, _, rest = text.strip().partition(" ")
    life, _, stat = rest.partition(" ")
    return Claim(int(pid), life, start_of(stat))


def end_of(place: str) -> Any:
    """How the body ended, or None: its status, minus the signal that killed it, or what a worker answered."""
    try:
        return json.loads(Path(place, "end").read_text())
    except (OSError, ValueError):
        return None


def look(place: str) -> State:
    """What has become of the body; nothing is changed."""
    claim = claim_of(place)
    if claim is None:
        return "free"
    alive = claim.alive  # before the end is looked for: it is written while its process lives
    if end_of(place) is not None:
        return "ended"
    return "running" if alive else "dead"


async def run(
    argv: Sequence[str],
    *,
    place: str,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes | None = None,
    grace: float = 5.0,
    limit: int = 16 * 1024 * 1024,
    on_line: Callable[[str], None] | None = None,
    merged: bool = False,
) -> children.Completed:
    """Run a body to its end, or go on with it, as `processes.run` does; Lost if nobody knows how it ended.

    While no engine watches it, nobody holds it to `limit`.
    """
    claim = claim_of(place)
    if claim is None and not _startable(argv[0], cwd, env):  # the system says why not
        return await children.run(
            argv,
            cwd=cwd,
            env=env,
            stdin=stdin,
            grace=grace,
            limit=limit,
            on_line=on_line,
            merged=merged,
        )
    tails = [] if on_line is None else [Tail(Path(place, "err"), on_line)]
    check, status = _watch(argv[0], place, limit), None
    if claim is None:
        child = await _start(argv, place, cwd, env, stdin, "err" if merged else "out")
        await attend(child, tails, check, grace)
        claim = claim_of(place)
        if claim is None:
            raise OSError(f"the folder of the attempt cannot be written: `{place}`")
        if claim.pid == child.process.pid:
            status = child.status
    if status is None:  # somebody else began it
        await attend(Stranger(claim, place), tails, check, grace)
    end = end_of(place)
    status = end if isinstance(end, int) else status
    if status is None:
        raise Lost("its process died without recording how it ended")
    check()
    for tail in tails:
        tail.finish()
    return children.Completed(status, _bytes(place, "out"), _bytes(place, "err"))


async def _start(
    argv: Sequence[str],
    place: str,
    cwd: str,
    env: Mapping[str, str],
    stdin: bytes | None,
    out: str,
) -> Child:
    """A shim for the body, which may find that another one was faster."""
    Path(place).mkdir(parents=True, exist_ok=True, mode=0o700)
    tagged = children.tag(env, token(place))
    odd = [f"{name}={tagged[name]}" for name in tagged if not _is_identifier(name)]
    command = ["env", *odd, *argv] if odd else list(argv)  # which `sh` would drop
    shim = ["/bin/sh", "-c", _SCRIPT, "engine", place, _LINK, out, *command]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}  # none of the engine's
    with tempfile.TemporaryFile() as given:  # without a name: it may hold secrets
        given.write(stdin or b"")
        given.seek(0)
        streams["stdin"] = subprocess.DEVNULL if stdin is None else given.fileno()
        process = await children.start(shim, cwd=cwd, env=tagged, **streams)
    return Child(process, token(place))


def _bytes(place: str, name: str) -> bytes:
    try:
        return Path(place, name).read_bytes()
    except FileNotFoundError:
        return b""


def _watch(command: str, place: str, limit: int) -> Callable[[], None]:
    """What raises OutputTooLarge once there is too much."""

    def check() -> None:
        for name, stream in (("out", "stdout"), ("err", "stderr")):
            if _size(place, name) > limit:
                raise children.OutputTooLarge(command, stream, limit)

    return check


def _size(place: str, name: str) -> int:
    try:
        return os.stat(os.path.join(place, name)).st_size
    except OSError:
        return 0


def _startable(command: str, cwd: str, env: Mapping[str, str]) -> bool:
    """Whether the system would start the command by itself, as it is."""
    folders = [""] if "/" in command else env.get("PATH", os.defpath).split(":")
    for folder in folders:
        path = os.path.join(cwd, folder, command)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return _has_interpreter(path)
    return False


def _has_interpreter(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            head = file.readline(256)
    except OSError:
        return True  # it may be run and not be read
    if head[:2] != b"#!":
        return b"\0" in head or head[:4] in _MAGIC
    words = head[2:].split()
    return bool(words) and os.path.exists(words[0])


_MAGIC = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def _is_identifier(name: str) -> bool:
    return name.isidentifier() and name.isascii()


# -- who is waited for ---------------------------------------------------------------------------


class Leader(Protocol):
    """The process that claimed a body, or is about to."""

    async def exited(self) -> None:
        """Wait until it has ended."""

    async def stop(self, grace: float) -> None:
        """End it and its group, politely first; cannot be cancelled."""

    async def clear(self) -> None:
        """Kill what is left of its group; cannot be cancelled."""

    async def hunt(self) -> None:
        """Kill all that bears its token; cannot be cancelled."""


@define
class Child:
    """A shim that this process started."""

    process: trio.Process
    token: str
    status: int = 0

    async def exited(self) -> None:
        await children.exited(self.process)

    async def stop(self, grace: float) -> None:
        await children.stop(self.process, grace)

    async def clear(self) -> None:
        self.status = await children.reap(self.process)

    async def hunt(self) -> None:
        await children.kill_strays(self.token)


@define
class Stranger:
    """One that another process started: it is not ours to reap, and its number says little once it has gone."""

    claim: Claim
    place: str
    token: str = attrs.field(init=False)

    @token.default
    def _bears(self) -> str:
        """A worker that serves many calls bears its own."""
        last = children.last_token(self.claim.pid)
        return last if last and self.claim.alive else token(self.place)

    async def exited(self) -> None:
        import trio

        pause = _SHORTEST
        while look(self.place) == "running":
            await trio.sleep(pause)
            pause = min(pause * 2, _LONGEST)

    async def stop(self, grace: float) -> None:
        import trio

        with trio.CancelScope(shield=True):
            if self.claim.alive:
                children.terminate(self.claim.pid)
            with trio.move_on_after(grace):
                while self.claim.alive or children.living(self.token):
                    await trio.sleep(_SHORTEST)
            await self.hunt()

    async def clear(self) -> None:
        await children.kill_strays(self.token, group=self.claim.pid)

    async def hunt(self) -> None:
        await children.kill_strays(self.token)


async def attend(
    leader: Leader, tails: Sequence[Tail], check: Callable[[], None], grace: float
) -> None:
    """Wait for the end of a body, tell its lines as they come, and leave nothing of it behind; what `check` raises stops it."""
    clean = False
    try:
        await _wait(leader, tails, check, grace)
        clean = True
    finally:
        await leader.clear()
        if not clean:
            await leader.hunt()


async def _wait(
    leader: Leader, tails: Sequence[Tail], check: Callable[[], None], grace: float
) -> None:
    import trio

    wrong: Exception | None = None
    patience = trio.CancelScope()

    async def watch() -> None:
        nonlocal wrong
        try:
            await follow(tails, check)
        except children.OutputTooLarge as error:
            wrong = error
            patience.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        over = False
        try:
            with patience:
                await leader.exited()
                over = True
        finally:
            if not over:
                await leader.stop(grace)
            nursery.cancel_scope.cancel()
    if wrong is not None:
        raise wrong


# -- what it says --------------------------------------------------------------------------------


class Tail:
    """A file that grows: its lines, told once each as they come."""

    def __init__(
        self, path: Path, tell: Callable[[str], None], read: Callable[[bytes], str] = shown
    ) -> None:
        self._path, self._tell, self._read = path, tell, read
        self._at, self._rest = 0, b""

    def read(self) -> bool:
        """Tell the lines that are new; whether there was anything."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._at)
                chunk = file.read()
        except OSError:
            return False
        self._at += len(chunk)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._tell(self._read(line))
        return bool(chunk)

    def finish(self) -> None:
        """Tell what is left, with the last line that has no end."""
        self.read()
        if self._rest:
            self._tell(self._read(self._rest))


async def follow(tails: Sequence[Tail], check: Callable[[], None]) -> None:
    """Tell lines as they come, until it is cancelled."""
    import trio

    pause = _SHORTEST
    while True:
        await trio.sleep(pause)
        check()
        grown = [tail.read() for tail in tails]
        pause = _SHORTEST if any(grown) else min(pause * 2, _LONGEST)
