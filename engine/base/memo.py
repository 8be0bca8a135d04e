"""Memoize functions of one value: facts of a plan, facts of a machine.

`memoize` stores the answer for as long as the value lives. Plans and machines are frozen, so the answer stays true.
It goes by identity: equal machines are one object (see `compile.machines`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

__all__ = ["memoize"]

V = TypeVar("V")
T = TypeVar("T")


def memoize(function: Callable[[V], T]) -> Callable[[V], T]:
    """Return a function that computes its answer once for each value."""
    known: dict[int, tuple[ref[Any], T]] = {}

    @wraps(function)
    def ask(value: V) -> T:
        key = id(value)
        found = known.get(key)
        if found is None:
            answer = function(value)
            found = known[key] = (ref(value, lambda _: known.pop(key, None)), answer)
        return found[1]

    return ask
