"""Fan: for what a node runs its body again and again, and how many of these may fail.

Source: LANGUAGE.md section 10.
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
    """How many items may fail: `count` of them, or (where it is not None) `share` of all."""

    count: int = 0
    share: Fraction | None = None

    def allows(self, items: int) -> int:
        """How many of so many items may fail at most."""
        return int(items * self.share) if self.share is not None else self.count

    @property
    def any(self) -> bool:
        """Whether an item may fail in some list without the node failing."""
        return bool(self.count or self.share)

    @property
    def all(self) -> bool:
        """Whether all items may fail, however many there are."""
        return self.share == 1


def tolerance_of(written: int | str) -> Tolerance:
    """The tolerance that a spec writes, a number or a share such as `10%`."""
    if isinstance(written, int):
        return Tolerance(written)
    from fractions import Fraction

    share = Fraction(written.removesuffix("%")) / 100
    return Tolerance(share=share) if share else Tolerance()


@frozen(eq=False)
class Fan:
    """A fan-out: the template of its list, how many attempts run at a time, what may fail."""

    items: Template
    max_parallel: int
    tolerate: Tolerance
    fits: bool
    """Whether what is read can only be a list."""
    count: int | None = None
    """How many items there are, where they are written out."""

    def may_be_lost(self, fail: bool) -> bool:
        """Whether more may fail than are tolerated, if items can fail."""
        if self.count is None:
            return fail and not self.tolerate.all
        return fail and self.tolerate.allows(self.count) < self.count

    def may_be_won(self, succeed: bool, fail: bool) -> bool:
        """Whether no more than are tolerated may fail, given what items can do; a list that is read
        may be empty."""
        if self.count is None or succeed:
            return True
        return fail and self.tolerate.allows(self.count) >= self.count
