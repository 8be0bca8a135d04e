"""Describe a fan-out: the list whose items a node runs its body for, and how many may fail.

Source: docs/language.md, "Fan-out".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.base.classes import frozen
from engine.expressions.model import Template

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["FanOut", "Tolerance", "parse_tolerance"]


@frozen
class Tolerance:
    """The number of items that may fail: `count` or, where it is not None, the `share` of all."""

    count: int = 0
    share: Fraction | None = None

    def count_allowed(self, items: int) -> int:
        """Return how many of a number of items may fail."""
        return int(items * self.share) if self.share is not None else self.count

    @property
    def may_lose_some(self) -> bool:
        """Return whether an item of some list may fail without the node failing."""
        return bool(self.count or self.share)

    @property
    def may_lose_all(self) -> bool:
        """Return whether all items may fail, however many there are."""
        return self.share == 1


def parse_tolerance(written: int | str) -> Tolerance:
    """Parse the tolerance in a spec: a number, or a share such as `10%`."""
    if isinstance(written, int):
        return Tolerance(written)
    from fractions import Fraction

    share = Fraction(written.removesuffix("%")) / 100
    return Tolerance(share=share) if share else Tolerance()


@frozen(eq=False)
class FanOut:
    """A fan-out: the template of its list, how many attempts run at a time, and how many items may fail."""

    items: Template
    max_parallel: int
    tolerate: Tolerance
    is_always_list: bool
    """Whether the value of the list expression is always a list."""
    count: int | None = None
    """The number of items where the list is written out; None where it is read."""

    def can_fail(self, fail: bool) -> bool:
        """Return whether more items may fail than are tolerated, given whether items can fail."""
        if self.count is None:
            return fail and not self.tolerate.may_lose_all
        return fail and self.tolerate.count_allowed(self.count) < self.count

    def can_succeed(self, succeed: bool, fail: bool) -> bool:
        """Return whether no more items may fail than are tolerated, given what items can do.

        A list that is read may be empty.
        """
        if self.count is None or succeed:
            return True
        return fail and self.tolerate.count_allowed(self.count) >= self.count
