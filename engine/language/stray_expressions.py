"""Finds `${` in places that take no expressions: an error, not text (E505).

Strings take expressions in `with`, `when`, `for_each`, `set` and `outputs`, keys nowhere; `$${` never begins one. JSON
Schemas in `[inputs]` and `[state]` are left alone, except for the `initial` of the latter: their patterns may contain
anything. Source: docs/language.md, "A document", "Expressions", "State".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from typing import Any

from engine.diagnostics import codes
from engine.language.structuring_errors import Mistake
from engine.toml.key_paths import KeyPath

__all__ = ["strays", "with_strays"]

_OPENING = re.compile(r"(?<!\$)\$\{(?:[^}]*\})?")
_NODE = frozenset({"with", "when", "outputs", "for_each", "set"})
_STEP = frozenset({"with", "set"})
_SCHEMAS = frozenset({"inputs", "state"})


def strays(value: Any, path: KeyPath = ()) -> list[Mistake]:
    """Yield an error for every string and key that has a `${` but takes no expressions."""
    found: list[Mistake] = []
    _search(value, path, found)
    return found


def _search(value: Any, path: KeyPath, found: list[Mistake]) -> None:
    if isinstance(value, dict):
        if path and path[-1] in _SCHEMAS and len(_inner(path)) == 1:
            for place, initial in _initials(value, path) if path[-1] == "state" else ():
                _search(initial, place, found)
            return
        if "${" in "\n".join(value):
            found += [_mistake((*path, key), None) for key in value if _OPENING.search(key)]
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(item, (dict, list)):
            _search(item, (*path, key), found)
        elif isinstance(item, str) and "${" in item and not _takes((*path, key)):
            stray = _OPENING.search(item)
            found += [_mistake((*path, key), stray.span())] if stray else ()


def _initials(table: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """What states begin with, which is no schema."""
    for name, schema in table.items():
        if isinstance(schema, dict) and "initial" in schema:
            yield (*path, name), {"initial": schema["initial"]}


def with_strays(found: Sequence[Mistake], stray: Sequence[Mistake]) -> list[Mistake]:
    """Merge the errors of structuring with those of misplaced expressions, without follow-ups.

    A misplaced `${` explains any other error of its own value, and is dropped inside a part that is wrong as a whole.
    """
    keys = {m.path for m in found if m.key and m.rule is not codes.MISSING_KEY}
    whole = {m.path for m in found if m.rule not in (codes.MISSING_KEY, codes.BAD_NAME)}
    shown = [s for s in stray if not (s.path in keys or _inside(s, whole))]
    explained = {s.path for s in shown}
    kept = [m for m in found if m.rule is codes.MISSING_KEY or m.path not in explained]
    return [*kept, *shown]


def _inside(stray: Mistake, wrong: Set[KeyPath]) -> bool:
    return any(stray.path[:end] in wrong for end in range(len(stray.path)))


def _mistake(path: KeyPath, within: tuple[int, int] | None) -> Mistake:
    message = (
        "an expression is not allowed in a key"
        if within is None
        else "an expression is not allowed here"
    )
    takers = "only `with`, `when`, `for_each`, `set` and `outputs` take expressions"
    cure = f"{takers}; `$${{` is a literal `${{`"
    key = within is None
    return Mistake(path, codes.BAD_EXPRESSION, message, cure, key, within=within)


def _inner(path: KeyPath) -> KeyPath:
    return path[2:] if path[:1] == ("pipelines",) else path


def _takes(path: KeyPath) -> bool:
    match _inner(path):
        case ("outputs", *_):
            return True
        case ("services" | "resources", _, "with", *_):
            return True
        case ("nodes" | "finally", _, "steps", _, str(key), *_):
            return key in _STEP
        case ("nodes" | "finally", _, str(key), *_):
            return key in _NODE
    return False
