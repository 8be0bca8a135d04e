"""Describe a fan-out: the list whose items a node runs its body for, and how many may fail.

Source: docs/language.md, "Fan-out".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.base.classes import frozen
from engine.expressions.model import Template

if TYPE_CHECKING:
    from fractions import Fraction

__all__ = ["Fan", "Tolerance", "tolerance_of"]


@frozen
class Tolerance:
    """How many items may fail: `count` of them or, where it is not None, `share` of all."""

    count: int = 0
    share: Fraction | None = None

    def allows(self, items: int) -> int:
        """Return how many of a number of items may fail."""
        return int(items * self.share) if self.share is not None else self.count

    @property
    def any(self) -> bool:
        """Return whether an item of some list may fail without the node failing."""
        return bool(self.count or self.share)

    @property
    def all(self) -> bool:
        """Return whether all items may fail, however many there are."""
        return self.share == 1


def tolerance_of(written: int | str) -> Tolerance:
    """Parse the tolerance in a spec: a number, or a share such as `10%`."""
    if isinstance(written, int):
        return Tolerance(written)
    from fractions import Fraction

    share = Fraction(written.removesuffix("%")) / 100
    return Tolerance(share=share) if share else Tolerance()


@frozen(eq=False)
class Fan:
    """A fan-out: the template of its list, how many attempts run at a time, and how many items may fail."""

    items: Template
    max_parallel: int
    tolerate: Tolerance
    fits: bool
    """Whether the value of the list expression is always a list."""
    count: int | None = None
    """The number of items where the list is written out; None where it is read."""

    def may_be_lost(self, fail: bool) -> bool:
        """Return whether more items may fail than are tolerated, given whether items can fail."""
        if self.count is None:
            return fail and not self.tolerate.all
        return fail and self.tolerate.allows(self.count) < self.count

    def may_be_won(self, succeed: bool, fail: bool) -> bool:
        """Return whether no more items may fail than are tolerated, given what items can do.

        A list that is read may be empty.
        """
        if self.count is None or succeed:
            return True
        return fail and self.tolerate.allows(self.count) >= self.count
