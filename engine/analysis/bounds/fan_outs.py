"""Compute the maximum weight of a fan-out from the weights of one item.

The sums of items add up, and any items may fail within the tolerance. **Time**, with n items of which m run at
once: where an item holds its slot from its first attempt to its end, the last one starts after at most (n - 1) // m
others one after another, each as long as the longest, so all take at most ceil(n / m) times that. Where an item
releases its slot in between, the bound for limits in `pipeline_costs` applies: the longest item, plus the seconds that
all others hold divided by m. A list that is read may have any number of items up to the maximum.

Source: docs/language.md, "Fan-out", "Worst case".
"""

from __future__ import annotations

import math

import attrs

from engine.analysis.bounds.weights import (
    CHAIN,
    NOTHING,
    SERIAL,
    TIME,
    WORK,
    Weight,
    scale_value,
    take_maximum,
)
from engine.plan.fan_out import FanOut
from engine.plan.plan import Node

__all__ = ["FanOutCost", "ItemCosts", "holds_slot"]


@attrs.frozen
class ItemCosts:
    """The costs of the items of a fan-out: at most `most` items, which may be infinite.

    One weight is that of an item that succeeds, the other that of an item that fails; None if no item does. `holds_slot` is
    whether an item holds its slot throughout; `whole` whether it is a sub-pipeline.
    """

    fan: FanOut
    most: float
    good: Weight | None
    bad: Weight | None
    holds_slot: bool
    whole: bool

    def cost_of_success(self) -> FanOutCost | None:
        """Return the cost of all items when no more fail than are tolerated; None if that cannot happen."""
        count, allowed = self.most, self._max_failures(self.most)
        if self.good is None:
            if self.bad is None or allowed < count:
                # only where all may fail; of a list that is read as many as that, or it is empty
                count = 0.0 if self.bad is None else min(count, float(self.fan.tolerate.count))
                if self.fan.count is not None:
                    return None
            return self._combine(self.bad or NOTHING, None, count, count)
        return self._combine(self.good, self.bad if allowed else None, count, min(allowed, count))

    def cost_of_failure(self) -> FanOutCost | None:
        """Return the cost of all items when more fail than are tolerated; None if that cannot happen."""
        allowed = self._max_failures(self.most)
        if self.bad is None or (allowed >= self.most and not math.isinf(self.most)):
            return None
        if self.fan.tolerate.may_lose_all:
            return None
        free = math.inf if math.isinf(self.most) else self.most - allowed - 1
        return self._combine(self.bad, self.good if free else None, self.most, free)

    def _max_failures(self, count: float) -> float:
        share = self.fan.tolerate.share
        if share is not None and math.isinf(count):
            return count
        return (
            self.fan.tolerate.count_allowed(int(count))
            if share is not None
            else self.fan.tolerate.count
        )

    def _combine(self, each: Weight, other: Weight | None, count: float, free: float) -> FanOutCost:
        """Return the cost of `count` items, of which up to `free` may be of the other kind."""
        if not count:
            return FanOutCost(NOTHING, True)
        longest = each if other is None else take_maximum(each, other)
        total = [
            scale_value(low, count) + (scale_value(high - low, free) if high != low else 0.0)
            for low, high in zip(each, longest, strict=True)
        ]
        time, chain, exact = self._combine_time(longest, count)
        weight = (*total[:TIME], time, total[SERIAL], total[WORK], chain)
        met = count <= self.fan.max_parallel or longest[TIME] == each[TIME]
        return FanOutCost(weight, exact and met)

    def _combine_time(self, item: Weight, count: float) -> tuple[float, float, bool]:
        """Return the seconds of all items with enough slots, the seconds that count on a chain, and exactness.

        The last is whether some run takes the first figure; the second is for a chain under limits.
        """
        places = self.fan.max_parallel
        if count <= places:
            return item[TIME], item[CHAIN], True
        chain = item[CHAIN] + scale_value(item[WORK], count) / places
        if math.isinf(count) or self.holds_slot:
            rounds = count if math.isinf(count) else math.ceil(count / places)
            return scale_value(item[TIME], rounds), chain, True
        held = item[TIME] if self.whole else item[WORK]
        graham = item[TIME] + (count - 1) * held / places
        return min(graham, count * item[TIME]), chain, False


@attrs.frozen
class FanOutCost:
    """The maximum cost of all items, and whether some run takes that long."""

    weight: Weight
    is_time_exact: bool


def holds_slot(node: Node) -> bool:
    """Return whether an item of a node holds its slots from its first attempt to its end."""
    for step, body in zip(node.machine.steps, node.bodies, strict=True):
        asks = body.task is not None and body.task.may_request_delay
        if any(clause.attempts > 1 and (clause.delay or asks) for clause in step.retry):
            return False
        if any(route.delay for route in step.iter_routes()):
            return False
    return True
