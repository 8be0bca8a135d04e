"""Check many files, in several processes if that is faster; results come in the order of the files.

The processes are forked: they start with the modules that are already imported, and end with the check.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from engine.base.classes import frozen
from engine.errors import EngineError, MultipleErrors

if TYPE_CHECKING:
    from engine.checking.selection import Settings
    from engine.diagnostics import Diagnostics

__all__ = ["CheckedFile", "RuleSelection", "check_files", "resolve_settings"]

MIN_PARALLEL_SIZE = 300_000
"""The total size of specs, in bytes, from which processes are started.

On two busy cores both ways took 4.4 s at 270 kB (400 files); below that, one process was faster.
"""


@frozen
class RuleSelection:
    """The values of `--select` and `--ignore` on the command line."""

    select: str | None = None
    ignore: str | None = None


@frozen
class CheckedFile:
    """The result of checking one file: its findings, or the reason why it could not be checked."""

    path: str
    diagnostics: Diagnostics | None
    problem: str = ""


def resolve_settings(path: str, selection: RuleSelection) -> Settings:
    """Return the settings for a spec: those of its project, overridden by the command line's."""
    from engine.settings import apply_options, find_settings

    return apply_options(find_settings(path), selection.select, selection.ignore)


def check_files(paths: Sequence[str], selection: RuleSelection) -> list[CheckedFile]:
    """Check files, in order; raises SettingsError if the settings of one are wrong."""
    check = partial(_check_file, selection=selection)
    processes = min(_count_processors(), len(paths))
    if processes < 2 or sum(map(_file_size, paths)) < MIN_PARALLEL_SIZE:
        return list(map(check, paths))
    return _check_in_processes(paths, check, processes)


def _check_in_processes(
    paths: Sequence[str], check: partial[CheckedFile], processes: int
) -> list[CheckedFile]:
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    from engine import api  # noqa: F401 - imported once here, so that each forked process has it

    pool = ProcessPoolExecutor(processes, get_context("fork"), _ignore_interrupts)
    try:
        return list(pool.map(check, paths, chunksize=max(1, len(paths) // (processes * 8))))
    except BrokenProcessPool:
        raise EngineError("a process died while checking a file") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupts() -> None:
    """Ignore Ctrl-C, which the parent process handles."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _check_file(path: str, selection: RuleSelection) -> CheckedFile:
    from engine import api

    try:
        if os.path.isdir(path):
            raise EngineError(f"there is no spec in folder `{path}`")
        return CheckedFile(path, api.check(path, settings=resolve_settings(path, selection)))
    except MultipleErrors:
        raise
    except EngineError as error:
        return CheckedFile(path, None, str(error))


def _file_size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _count_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
