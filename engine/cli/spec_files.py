"""Find the files of a command: those that its arguments name, and the specs in the directories among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

__all__ = ["find_spec_files", "find_specs"]

_ENGINE_KEY = re.compile(r"""^[ \t]*(?:engine|"engine"|'engine')[ \t]*=""", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_NODES_TABLE = re.compile(r"^[ \t]*\[[ \t]*nodes[ \t]*[.\]]", re.MULTILINE)


def find_spec_files(paths: Iterable[str]) -> Iterator[str]:
    """Yield the files that paths name, each once, in their order.

    A directory without specs is yielded itself, so that it is reported: a check that checks nothing would always pass.
    """
    seen: set[str] = set()
    for path in paths:
        for found in _expand(path):
            real = os.path.realpath(found)
            if real not in seen:
                seen.add(real)
                yield found


def find_specs(folder: str) -> Iterator[str]:
    """Yield the files below a directory that look like specs, sorted; hidden directories are skipped."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.endswith(".toml") and _looks_like_spec(path):
                yield path


def _expand(path: str) -> Iterable[str]:
    if not os.path.isdir(path):
        return (path,)
    return tuple(find_specs(path)) or (path,)


def _looks_like_spec(path: str) -> bool:
    """Return whether `engine =` stands before the first table, or a table `nodes` exists.

    An unreadable file counts as a spec, so that it is reported.
    """
    if not os.path.isfile(path):
        return True
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return True
    table = _TABLE.search(text)
    head = _ENGINE_KEY.search(text)
    return bool((head and (not table or head.start() < table.start())) or _NODES_TABLE.search(text))
