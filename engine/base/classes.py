"""Decorate classes as attrs does, for the modules that a start of `engine` imports.

attrs writes and compiles `__eq__`, `__hash__` and `__repr__` for each class, which takes more than half of the time to
make one; a start makes a hundred. Here these are closures that do the same. For a type checker `define` and `frozen`
are those of attrs, and `value` is `frozen`.

At run time a `value` is not frozen: it is for classes with an instance for each attempt, or for each node of a large
spec, where freezing takes half of the time to make one. The type checker still refuses to assign to its fields.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from attrs import define, frozen
    from attrs import frozen as value

__all__ = ["define", "frozen", "value"]


def _decorate(build: Any, hashed: bool, cls: type | None = None, **options: Any) -> Any:
    """Decorate a class as attrs does, with options or without."""
    return (
        partial(_build_class, build, hashed, **options)
        if cls is None
        else _build_class(build, hashed, cls, **options)
    )


def _build_class(
    build: Any, hashed: bool, cls: type, *, eq: bool = True, repr: bool = True, **options: Any
) -> type:
    own = vars(cls).keys()
    made: Any = build(cls, eq=False, repr=False, **options)
    if repr and "__repr__" not in own:
        made.__repr__ = _format_repr
    if eq and "__eq__" not in own:
        made.__eq__ = _build_eq(_build_getter(made, lambda field: field.eq))
        key = _build_getter(made, lambda f: f.eq if f.hash is None else f.hash)
        made.__hash__ = _build_hash(key) if hashed else None
    return made  # type: ignore[no-any-return]


def _build_getter(cls: type, wanted: Callable[[Any], bool]) -> Callable[[Any], Any]:
    """Return a function that gets the values of some fields of an object, or the only one."""
    names = [field.name for field in attrs.fields(cls) if wanted(field)]
    return attrgetter(*names) if names else lambda _: ()


def _build_eq(values: Callable[[Any], Any]) -> Callable[[Any, object], bool]:
    def equal(self: Any, other: object) -> bool:
        return values(self) == values(other) if type(other) is type(self) else NotImplemented

    return equal


def _build_hash(values: Callable[[Any], Any]) -> Callable[[Any], int]:
    return lambda self: hash(values(self))


@recursive_repr("...")
def _format_repr(self: Any) -> str:
    """Return `Name(field=value, …)`, as the method of attrs does."""
    fields = [field for field in type(self).__attrs_attrs__ if field.repr]
    values = ", ".join(f"{field.name}={getattr(self, field.name)!r}" for field in fields)
    return f"{type(self).__qualname__.rpartition('>.')[2]}({values})"


if not TYPE_CHECKING:
    define = partial(_decorate, attrs.define, False)
    frozen = partial(_decorate, attrs.frozen, True)
    value = partial(_decorate, attrs.define, True)
