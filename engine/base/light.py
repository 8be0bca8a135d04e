"""`light`: `attrs.frozen` to the type checker, `attrs.define` when it runs.

For the few values that are made anew for every attempt, or for every node of a large spec: freezing
costs more than all else in making them (a third of the time without). mypy still refuses to assign to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["light"]

if TYPE_CHECKING:
    from attrs import frozen as light
else:
    from attrs import define

    def light(cls=None, /, **options):
        return define(cls, unsafe_hash=options.get("eq", True) or None, **options)
