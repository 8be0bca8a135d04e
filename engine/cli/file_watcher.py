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

from engine.cli.spec_files import find_spec_files

__all__ = ["read_file_states", "repeat_on_change"]

WATCH_INTERVAL = 0.3
"""Seconds between two polls."""

FileStates = Mapping[str, tuple[int, int] | None]
"""The modification time and size of each file; None for a missing file."""

_TOML_NAMES = re.compile(r"""["']([^"'\n]+\.toml)["']""")
_MODULE_NAMES = re.compile(r"""^\s*tasks\s*=\s*\[([^\]]*)\]|["']python:([\w.]+)""", re.MULTILINE)


def _sleep_interval() -> None:
    time.sleep(WATCH_INTERVAL)  # polling works on every file system, network ones too


def repeat_on_change(
    paths: Sequence[str], check: Callable[[], None], wait: Callable[[], None] = _sleep_interval
) -> int:
    """Check now and after every change, until an interrupt; then return 0."""
    try:
        while True:
            before = read_file_states(paths)
            check()
            while read_file_states(paths) == before:
                wait()
    except KeyboardInterrupt:
        return 0


def read_file_states(paths: Iterable[str]) -> FileStates:
    """Return the state of all files that a check of `paths` depends on."""
    return {
        path: _stat_file(path)
        for spec in find_spec_files(paths)
        for path in _iter_dependencies(spec)
    }


def _iter_dependencies(spec: str) -> Iterator[str]:
    """Yield a spec and the files it depends on, whether they exist or not."""
    waiting, seen = [os.path.abspath(spec)], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        yield path
        folder = os.path.dirname(path)
        text = _read_text(path)
        waiting += [
            os.path.normpath(os.path.join(folder, name)) for name in _TOML_NAMES.findall(text)
        ]
        yield from _iter_module_paths(Path(folder), text)
    yield from (str(folder / "pyproject.toml") for folder in Path(os.path.abspath(spec)).parents)


def _iter_module_paths(folder: Path, text: str) -> Iterator[str]:
    for listed, single in _MODULE_NAMES.findall(text):
        for name in [*re.findall(r"[\w.]+", listed), *([single] if single else [])]:
            place = folder.joinpath(*name.split("."))
            yield from (f"{place}.py", str(place / "__init__.py"))


def _read_text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _stat_file(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
