"""Finds `${` in places that take no expressions: an error, not text (E505).

Strings take expressions in `with`, `when`, `for_each`, `set` and `outputs`, keys nowhere; `$${` never begins one. JSON
Schemas in `[inputs]` and `[state]` are left alone, except for the `initial` of the latter: their patterns may contain
anything. Source: docs/language.md, "A document", "Expressions", "State".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from typing import Any

from engine.diagnostics import codes
from engine.language.structuring_errors import StructuringError
from engine.toml.key_paths import KeyPath

__all__ = ["find_misplaced", "merge_misplaced"]

_EXPRESSION = re.compile(r"(?<!\$)\$\{(?:[^}]*\})?")
_NODE_KEYS = frozenset({"with", "when", "outputs", "for_each", "set"})
_STEP_KEYS = frozenset({"with", "set"})
_SCHEMAS = frozenset({"inputs", "state"})


def find_misplaced(value: Any, path: KeyPath = ()) -> list[StructuringError]:
    """Return an error for every string and key that has a `${` but takes no expressions."""
    found: list[StructuringError] = []
    _search(value, path, found)
    return found


def _search(value: Any, path: KeyPath, found: list[StructuringError]) -> None:
    if type(value) is dict:
        if path and path[-1] in _SCHEMAS and len(_path_in_document(path)) == 1:
            for place, initial in _iter_initial_values(value, path) if path[-1] == "state" else ():
                _search(initial, place, found)
            return
        if "${" in "\n".join(value):
            found += [_build_error((*path, key), None) for key in value if _EXPRESSION.search(key)]
        items: Iterable[tuple[Any, Any]] = value.items()
    else:
        items = enumerate(value)
    for key, item in items:
        kind = type(item)
        if kind is dict or kind is list:
            _search(item, (*path, key), found)
        elif kind is str and "${" in item and not _may_hold_expression((*path, key)):
            misplaced = _EXPRESSION.search(item)
            found += [_build_error((*path, key), misplaced.span())] if misplaced else ()


def _iter_initial_values(table: dict[str, Any], path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Yield the initial values of states, which are not part of their schemas, with their key paths."""
    for name, schema in table.items():
        if isinstance(schema, dict) and "initial" in schema:
            yield (*path, name), {"initial": schema["initial"]}


def merge_misplaced(
    found: Sequence[StructuringError], misplaced: Sequence[StructuringError]
) -> list[StructuringError]:
    """Merge the errors of structuring with those of misplaced expressions, without follow-ups.

    A misplaced `${` explains any other error of its own value, and is dropped inside a part that is wrong as a whole.
    """
    keys = {m.path for m in found if m.is_key and m.rule is not codes.MISSING_KEY}
    whole = {m.path for m in found if m.rule not in (codes.MISSING_KEY, codes.BAD_NAME)}
    shown = [s for s in misplaced if not (s.path in keys or _is_inside(s, whole))]
    explained = {s.path for s in shown}
    kept = [m for m in found if m.rule is codes.MISSING_KEY or m.path not in explained]
    return [*kept, *shown]


def _is_inside(misplaced: StructuringError, wrong: Set[KeyPath]) -> bool:
    return any(misplaced.path[:end] in wrong for end in range(len(misplaced.path)))


def _build_error(path: KeyPath, within: tuple[int, int] | None) -> StructuringError:
    message = (
        "an expression is not allowed in a key"
        if within is None
        else "an expression is not allowed here"
    )
    takers = "only `with`, `when`, `for_each`, `set` and `outputs` take expressions"
    advice = f"{takers}; `$${{` is a literal `${{`"
    key = within is None
    return StructuringError(path, codes.BAD_EXPRESSION, message, advice, key, offsets=within)


def _path_in_document(path: KeyPath) -> KeyPath:
    return path[2:] if path[:1] == ("pipelines",) else path


def _may_hold_expression(path: KeyPath) -> bool:
    match _path_in_document(path):
        case ("outputs", *_):
            return True
        case ("services" | "resources", _, "with", *_):
            return True
        case ("nodes" | "finally", _, "steps", _, str(key), *_):
            return key in _STEP_KEYS
        case ("nodes" | "finally", _, str(key), *_):
            return key in _NODE_KEYS
    return False
