"""`engine check --watch`: check again, in a new process, whenever a file changes.

A new process is needed because modules of tasks are imported once in each. Watched are the specs,
the files and modules they name, and the settings above them. Modification times are polled, which needs
no library and works on every file system.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from engine.cli.spec_files import files_of

__all__ = ["state_of", "watch"]

PAUSE = 0.3
"""Seconds between two polls."""

State = Mapping[str, tuple[int, int] | None]
"""The modification time and size of each file; None for a missing file."""

_NAMED = re.compile(r"""["']([^"'\n]+\.toml)["']""")
_MODULES = re.compile(r"""^\s*tasks\s*=\s*\[([^\]]*)\]|["']python:([\w.]+)""", re.MULTILINE)


def _pause() -> None:
    time.sleep(PAUSE)  # looking again works on every file system, network ones too


def watch(
    paths: Sequence[str], check: Callable[[], None], pause: Callable[[], None] = _pause
) -> int:
    """Check now and after every change, until an interrupt; then return 0."""
    try:
        while True:
            before = state_of(paths)
            check()
            while state_of(paths) == before:
                pause()
    except KeyboardInterrupt:
        return 0


def state_of(paths: Iterable[str]) -> State:
    """Return the state of all files that a check of `paths` depends on."""
    return {path: _changed(path) for spec in files_of(paths) for path in _around(spec)}


def _around(spec: str) -> Iterator[str]:
    """Yield a spec and the files it depends on, whether they exist or not."""
    waiting, seen = [os.path.abspath(spec)], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        folder = os.path.dirname(path)
        text = _text(path)
        waiting += [os.path.normpath(os.path.join(folder, name)) for name in _NAMED.findall(text)]
        yield from _modules(Path(folder), text)
    yield from (str(folder / "pyproject.toml") for folder in Path(os.path.abspath(spec)).parents)


def _modules(folder: Path, text: str) -> Iterator[str]:
    for listed, single in _MODULES.findall(text):
        for name in [*re.findall(r"[\w.]+", listed), *([single] if single else [])]:
            place = folder.joinpath(*name.split("."))
            yield from (f"{place}.py", str(place / "__init__.py"))


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _changed(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
