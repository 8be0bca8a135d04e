"""Which files a command is about: what its arguments name, and the specs in the folders among them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

__all__ = ["files_of", "specs_in"]

_HEAD = re.compile(r"""^[ \t]*(?:engine|"engine"|'engine')[ \t]*=""", re.MULTILINE)
_TABLE = re.compile(r"^[ \t]*\[", re.MULTILINE)
_NODES = re.compile(r"^[ \t]*\[[ \t]*nodes[ \t]*[.\]]", re.MULTILINE)


def files_of(paths: Iterable[str]) -> Iterator[str]:
    """The files that paths name, each once, in their order; a folder without specs is given as it
    is, to be told of: a check that checks nothing would pass for ever."""
    seen: set[str] = set()
    for path in paths:
        for found in _expanded(path):
            real = os.path.realpath(found)
            if real not in seen:
                seen.add(real)
                yield found


def specs_in(folder: str) -> Iterator[str]:
    """The files below a folder that look like specs, sorted; hidden folders are passed by."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(place, name)
            if name.endswith(".toml") and _looks_like_spec(path):
                yield path


def _expanded(path: str) -> Iterable[str]:
    if not os.path.isdir(path):
        return (path,)
    return tuple(specs_in(path)) or (path,)


def _looks_like_spec(path: str) -> bool:
    """Whether `engine =` stands before the first table, or there is a table `nodes`; an unreadable
    file is one, to be told of."""
    if not os.path.isfile(path):
        return True
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return True
    table = _TABLE.search(text)
    head = _HEAD.search(text)
    return bool((head and (not table or head.start() < table.start())) or _NODES.search(text))
