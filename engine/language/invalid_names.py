"""Resolves references to things whose name is invalid (E104) and that stay in the Spec under that name.

A name that is not an identifier is replaced by a placeholder of the same length before an expression is parsed, so that
all offsets stay. A name that is a reserved word may mean the named thing or the word. Source: docs/language.md, "A
document", "Nodes and steps", "Expressions".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import product
from typing import Any

import attrs

from engine.expressions.model import Read, Template
from engine.language.spec import Spec
from engine.language.value_hooks import ENGINE_OUTCOMES, RESERVED_NAMES
from engine.toml.key_paths import KeyPath

__all__ = ["TemplateParser", "has_reserved_name", "is_ambiguous_root", "with_placeholders"]

TemplateParser = Callable[[Any], Template]
"""A function that parses a value of a spec into its template."""

_ROOT_NAMES = "inputs steps state item index run env secrets resources"
_ROOTS = frozenset(_ROOT_NAMES.split())
_CEL_WORDS = """
    true false null in bool bytes double dyn duration int list map null_type optional string
    timestamp type uint
"""
_CEL_NAMES = frozenset(_CEL_WORDS.split())
"""Words that have a meaning in CEL even where they are not called."""
_has_letter = re.compile(r"[^\W\d_]").search
_NOT_CALLED = r"(?!\w|\s*\()"
_FIELD_OR_DEFAULT = r"(?=\s*(?:\.\s*[A-Za-z_]|\?\?))"
"""Matches the text that must follow an ambiguous name for it to be read as a node."""
_RESERVED_WORDS = RESERVED_NAMES | ENGINE_OUTCOMES


def is_ambiguous_root(spec: Spec, root: str) -> bool:
    """Return whether the first part of a path may also mean a node with that reserved name."""
    return root in _ROOTS and ("nodes", root) in spec.misnamed_paths


def has_reserved_name(spec: Spec, node: str) -> bool:
    """Return whether a node, or something in it, is named by a reserved word."""
    named = [path[-1] for path in spec.misnamed_paths if path[:2] == (spec.table, node)]
    return any(str(name).partition(":")[0] in _RESERVED_WORDS for name in named)


def with_placeholders(spec: Spec) -> Callable[[TemplateParser], TemplateParser]:
    """Return a decorator for template parsers that accepts references to invalid names."""
    words = _choose_placeholders(spec)
    names = {word: name for name, word in words.items()}
    pattern = re.compile(_build_pattern(spec.misnamed_paths) or "(?!)")

    def replace_names(value: Any) -> Any:
        if isinstance(value, str):
            return pattern.sub(lambda found: words[found[0]], value)
        if isinstance(value, dict):
            return {key: replace_names(item) for key, item in value.items()}
        return list(map(replace_names, value)) if isinstance(value, list) else value

    def parse_with_placeholders(make: TemplateParser, value: Any) -> Template:
        made = make(replace_names(value))
        return attrs.evolve(made, reads=tuple(_restore_names(read, names) for read in made.reads))

    return lambda make: lambda value: parse_with_placeholders(make, value)


def _choose_placeholders(spec: Spec) -> dict[str, str]:
    """Return for each invalid name an unused word of the same length."""
    steps = (name for node in spec.nodes.values() for name in node.steps)
    taken = RESERVED_NAMES.union(spec.nodes, spec.inputs, spec.state, steps)
    names = sorted({str(path[-1]) for path in spec.misnamed_paths})
    free = {length: _iter_words(length, taken) for length in set(map(len, names))}
    found = ((name, next(free[len(name)], "")) for name in names)
    return {name: word for name, word in found if word}


def _iter_words(length: int, taken: Collection[str]) -> Iterator[str]:
    from string import ascii_letters

    words = map("".join, product("_" + ascii_letters, repeat=length))
    return (word for word in words if word not in taken)


def _build_pattern(misnamed: Collection[KeyPath]) -> str:
    """Return a regular expression that finds the invalid names where an expression reads them."""
    nodes = [str(path[1]) for path in misnamed if path[:1] == ("nodes",) and len(path) == 2]
    inputs = [str(path[1]) for path in misnamed if path[:1] == ("inputs",)]
    states = [str(path[1]) for path in misnamed if path[:1] == ("state",)]
    steps = [str(path[3]) for path in misnamed if path[2:3] == ("steps",) and len(path) == 4]
    roots = [name for name in nodes if name not in _ROOTS]
    sure = [name for name in roots if name in _CEL_NAMES or not _has_letter(name)]
    places = (
        (r"(?<![\w.])", sure, _FIELD_OR_DEFAULT),
        (r"(?<=\{)", sure, r"(?=\})"),
        (r"(?<![\w.])", set(roots).difference(sure), _NOT_CALLED),
        (r"(?<=inputs\.)", inputs, _NOT_CALLED),
        (r"(?<=state\.)", states, _NOT_CALLED),
        (r"(?<=steps\.)", [*steps, *nodes], _NOT_CALLED),
    )
    found = (
        (before, _build_alternation(names), behind)
        for before, names, behind in places
        if any(names)
    )
    return "|".join(map("".join, found))


def _build_alternation(names: Collection[str]) -> str:
    ordered = sorted(filter(None, names), key=len, reverse=True)
    return f"(?:{'|'.join(map(re.escape, ordered))})"


def _restore_names(read: Read, names: Mapping[str, str]) -> Read:
    root, *rest = read.path
    if rest and root in ("inputs", "state", "steps"):
        rest[0] = names.get(str(rest[0]), rest[0])
    return attrs.evolve(read, path=(names.get(str(root), root), *rest))
