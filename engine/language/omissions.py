"""Where a part of a Spec is written in its file, and whether all of that is in the Spec.

The loader leaves out what is wrong (`Spec.broken`), and what is said of the rest must not echo it:
who makes a claim names the parts that it relies on. Paths are below the document; a Spec's arrays
are shorter than the file's where items were left out.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import pairwise

from engine.language.spec import Spec
from engine.toml.key_paths import KeyPath

__all__ = ["in_file", "shifted", "whole"]


def in_file(spec: Spec, path: KeyPath) -> KeyPath:
    """The key path in the file of what a path of the Spec leads to: a single clause of `retry` may
    be a table of its own."""
    for end, (part, index) in enumerate(pairwise(path), 2):
        if part == "retry" and index == 0 and not spec.source.has((*spec.at, *path[:end])):
            path = path[: end - 1] + path[end:]
            break
    return (*spec.at, *shifted(spec.broken, path))


def shifted(broken: Set[KeyPath], path: KeyPath) -> KeyPath:
    """The path among arrays that still have the items at `broken`."""
    if not broken:
        return path
    found: KeyPath = ()
    for part in path:
        if isinstance(part, int):
            for gone in _gone(broken, found):
                part += gone <= part
        found = (*found, part)
    return found


def whole(spec: Spec, path: KeyPath) -> bool:
    """Whether nothing was left out at, above or below a path."""
    if not spec.broken:
        return True
    place = in_file(spec, path)[len(spec.at) :]
    return not any(
        gone == place[: len(gone)] or place == gone[: len(place)] for gone in spec.broken
    )


def _gone(broken: Set[KeyPath], array: KeyPath) -> list[int]:
    """The items of an array that were left out, in order."""
    items = (gone[-1] for gone in broken if gone[:-1] == array)
    return sorted(item for item in items if isinstance(item, int))
