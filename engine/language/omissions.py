"""Maps parts of a Spec to their key paths in the file, and decides whether they are complete.

The loader leaves out what is wrong (`Spec.omitted_paths`), and findings about the rest must not follow from such gaps:
a rule names the parts that its finding depends on. Paths are below the document; arrays of a Spec are shorter than in
the file where items were left out.
"""

from __future__ import annotations

from collections.abc import Set
from itertools import pairwise

from engine.language.spec import Spec
from engine.toml.key_paths import KeyPath

__all__ = ["is_complete", "path_in_file", "restore_indexes"]


def path_in_file(spec: Spec, path: KeyPath) -> KeyPath:
    """Return the key path in the file of a path of the Spec.

    A single clause of `retry` may be written as a table of its own, without an index.
    """
    for end, (part, index) in enumerate(pairwise(path), 2):
        if (
            part == "retry"
            and index == 0
            and not spec.source.has_path((*spec.key_path, *path[:end]))
        ):
            path = path[: end - 1] + path[end:]
            break
    return (*spec.key_path, *restore_indexes(spec.omitted_paths, path))


def restore_indexes(broken: Set[KeyPath], path: KeyPath) -> KeyPath:
    """Return the path with its indexes counted as if the omitted items were still present."""
    if not broken:
        return path
    found: KeyPath = ()
    for part in path:
        if isinstance(part, int):
            for gone in _find_omitted_indexes(broken, found):
                part += gone <= part
        found = (*found, part)
    return found


def is_complete(spec: Spec, path: KeyPath) -> bool:
    """Return whether nothing was left out at, above or below a path."""
    if not spec.omitted_paths:
        return True
    place = path_in_file(spec, path)[len(spec.key_path) :]
    return not any(
        gone == place[: len(gone)] or place == gone[: len(place)] for gone in spec.omitted_paths
    )


def _find_omitted_indexes(broken: Set[KeyPath], array: KeyPath) -> list[int]:
    """Return the indexes of the omitted items of an array, in order."""
    items = (gone[-1] for gone in broken if gone[:-1] == array)
    return sorted(item for item in items if isinstance(item, int))
