"""What is worked out of a value once, however many ask for it: facts of a plan, facts of a machine.

`once` keeps a function's answer for as long as the value lives; plans and machines are frozen, so it
stays true. It goes by identity: machines that are equal are one object (see `compile.machines`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import ref

__all__ = ["once"]

V = TypeVar("V")
T = TypeVar("T")


def once(function: Callable[[V], T]) -> Callable[[V], T]:
    """A function of a value that is called once for each."""
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
