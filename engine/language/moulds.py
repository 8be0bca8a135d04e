"""Tables of nodes that are alike: what they have in common is their mould, the rest its fillings.

A large spec says the same again and again. Fillings are the names of other nodes in `needs` and in
plain references of `with`, what else the texts of `with` say beside them, and the description; all
else is the mould. So whatever does not ask who the other nodes are, nor what a text says, is worked out for the
first node of a mould and holds for those after it: `structure` makes their specs of the first one's,
`compiler` their machines and bodies, and `kin` lets a rule look at one of them. Where anything is to
be said of the first node, each of them goes the plain way.
"""

from __future__ import annotations

import marshal
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import attrs

__all__ = ["Mould", "poured", "wherever"]

_REFERENCE = re.compile(r"\$\{([A-Za-z_]\w*)((?:\.[A-Za-z_]\w*)*)\}", re.ASCII)
_STEP = frozenset({"task", "exits", "routes", "retry", "timeout", "description"})
_MORE = "needs start join when outputs deadline pool priority allow_failure executor group"
_NODE = _STEP.union(_MORE.split())
"""Keys of which it is known how they matter: a table that has others goes the plain way."""
_SAME = frozenset({bool, int, float, type(None)})

T = TypeVar("T")


@attrs.frozen(eq=False)
class Mould:
    """What alike nodes share, itself: the name of the `first` of them, and of what there is in
    `needs` and `with` what is no filling."""

    first: str
    given: Hashable


class _Odd(Exception):
    """A table that is not compared with others: it goes the plain way."""


def poured(
    name: str, table: Any, nodes: Mapping[str, Any]
) -> tuple[tuple[Hashable, Hashable], tuple[str, ...]] | None:
    """What is the same for two nodes if and only if they have one mould (first what is said of it
    in `given`), and the nodes that fill it: those in `needs`, then those that `with` reads, in the
    order of the table.

    None for what is no table of a node, or is not alike to any.
    """
    read: list[str] = []
    try:
        rest = table.copy()
        needs = rest.pop("needs", [])
        about = rest.pop("description", "")
        if type(about) is not str or "$" in about:
            return None
        given = _given(rest.pop("with"), nodes, read) if "with" in rest else None
        if "steps" in rest:
            steps = rest.pop("steps")
            given = (given, *steps, *[_step(step, nodes, read) for step in steps.values()])
        if type(needs) is dict:
            rest["needs"] = [*needs.values()]
        elif type(needs) is not list:
            return None
        names = (*needs, *read)
        if not rest.keys() <= _NODE or name in names or not nodes.keys() >= set(needs):
            return None
        return ((given, len(needs), _twins(names)), marshal.dumps(rest, 2)), names
    except (AttributeError, TypeError, ValueError, _Odd):
        return None


def _step(table: Mapping[str, Any], nodes: Mapping[str, Any], read: list[str]) -> Hashable:
    rest = {key: value for key, value in table.items() if key != "with"}
    if not rest.keys() <= _STEP:
        raise _Odd
    given = _given(table["with"], nodes, read) if "with" in table else None
    return given, marshal.dumps(rest, 2)


def _twins(names: tuple[str, ...]) -> tuple[int, ...]:
    """Which of the names are the same."""
    alone = len(names) < 2 or len(set(names)) == len(names)
    return () if alone else tuple(map(names.index, names))


def _given(value: Any, nodes: Mapping[str, Any], read: list[str]) -> Hashable:
    """A value of `with` without its fillings; the names among them are noted."""
    kind = type(value)
    if kind is str:
        return _text(value, nodes, read) if "${" in value else ""
    if kind is list:
        return tuple([_given(item, nodes, read) for item in value])
    if kind is dict:
        return (dict, *value, *[_given(item, nodes, read) for item in value.values()])
    if kind not in _SAME:
        raise _Odd
    return kind, repr(value)


def _text(text: str, nodes: Mapping[str, Any], read: list[str]) -> Hashable:
    """Plain references without their names, and any other text with expressions as it is."""
    if "$${" in text:
        raise _Odd
    found = _REFERENCE.fullmatch(text)
    if found is not None and found[1] in nodes:
        read.append(found[1])
        return f">{found[2]}"
    parts = _REFERENCE.split(text)
    names = parts[1::3]
    if not all(name in nodes for name in names) or "$" in "".join(parts[::3]):
        return text
    read += names
    return ("text", *parts[2::3])


def wherever(
    items: Iterable[tuple[Hashable, T]], finds: Callable[[T], Iterable[Any]]
) -> Iterator[Any]:
    """What `finds` gives for each item, asked of the first of those that are alike; only where that
    is anything, also of the others."""
    silent: set[Hashable] = set()
    for sort, item in items:
        if sort not in silent:
            found = list(finds(item))
            if sort is not None and not found:
                silent.add(sort)
            yield from found
