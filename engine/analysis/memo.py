"""What is worked out of a plan once, however many rules ask for it.

`per_plan` keeps a function's answer for as long as the plan lives; plans are frozen, so it stays
true.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar
from weakref import WeakKeyDictionary

from engine.plan.plan import Plan

__all__ = ["per_plan"]

T = TypeVar("T")


def per_plan(function: Callable[[Plan], T]) -> Callable[[Plan], T]:
    """A function of a plan that is called once for each."""
    known: WeakKeyDictionary[Plan, T] = WeakKeyDictionary()

    @wraps(function)
    def once(plan: Plan) -> T:
        if plan not in known:
            known[plan] = function(plan)
        return known[plan]

    return once
