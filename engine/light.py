"""`light`: `attrs.frozen` to the type checker, `attrs.define` when it runs.

For the few values that are made anew for every attempt: freezing costs more than all else in making
them (a third of the time without). mypy still refuses to assign to one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["light"]

if TYPE_CHECKING:
    from attrs import frozen as light
else:
    from functools import partial

    from attrs import define

    light = partial(define, unsafe_hash=True)
