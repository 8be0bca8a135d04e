"""A real server of SSH on loopback, for `tests.test_remote`: it runs commands on this machine as a daemon of SSH would."""

from __future__ import annotations

import asyncio
import threading
from asyncio.subprocess import PIPE
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncssh

__all__ = ["serving"]


async def _run(process: Any) -> None:
    """One command, by the user's shell, in a session of its own; it goes on when its client has gone."""
    child = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", process.command), start_new_session=True, stdin=PIPE, stdout=PIPE, stderr=PIPE
    )  # fmt: skip
    feeding = asyncio.create_task(_pour(process.stdin, child.stdin))
    await asyncio.gather(
        _pour(child.stdout, process.stdout), _pour(child.stderr, process.stderr), child.wait()
    )
    feeding.cancel()
    process.exit(child.returncode)


async def _pour(source: Any, target: Any) -> None:
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
        if isinstance(target, asyncio.StreamWriter):
            target.close()
    except (OSError, asyncssh.Error):
        return  # one end has gone


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """The port of a server; `folder` has the key of a user, `key`, and the file `known_hosts`."""
    user, host = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    user.write_private_key(str(folder / "key"))
    (folder / "key").chmod(0o600)
    user.write_public_key(str(folder / "key.pub"))
    ready, ports, ends = threading.Event(), list[int](), list[Any]()

    async def serve() -> None:
        over = asyncio.Event()
        server = await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=str(folder / "key.pub"),
            process_factory=_run, encoding=None,
        )  # fmt: skip
        ports.append(server.get_port())
        line = f"[127.0.0.1]:{ports[0]} {host.export_public_key().decode()}"
        (folder / "known_hosts").write_text(line)
        ends.append((asyncio.get_running_loop(), over))
        ready.set()
        await over.wait()
        server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait()
    try:
        yield ports[0]
    finally:
        loop, over = ends[0]
        loop.call_soon_threadsafe(over.set)
        thread.join()
