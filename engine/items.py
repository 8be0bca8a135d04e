"""The items of a fan-out under way, opened one after the other. Changed by `scheduler` alone.

One item at a time waits for its first attempt's places, the next after those that have begun: so no more are alive
than run, wait for a retry or a route, or lack a place. What is kept of those that have ended is their
result. Source: LANGUAGE.md section 10.
"""

from __future__ import annotations

from typing import Any

from engine.expressions import EvaluationError, kind_of
from engine.fan import Fan
from engine.live import LiveNode
from engine.places import Limit
from engine.result import ABSENT, ItemResult, Reason
from engine.values import Scope

__all__ = ["LiveFan", "LiveItem", "fan_of"]


class LiveFan:
    """The items of `whole`: `values` as the list gave them, `results` in the same order as they come.

    `live` are those opened that have no result yet, `allowed` of all may fail; `halted` when no further one is opened, `given_up`
    where that is so since too many have failed.
    """

    __slots__ = (
        *("allowed", "begun", "failed", "given_up", "halted"),
        *("limit", "live", "results", "values", "whole"),
    )

    def __init__(self, whole: LiveNode, fan: Fan, values: list[Any]) -> None:
        self.whole, self.values = whole, values
        self.limit = Limit(fan.max_parallel)
        self.allowed = fan.tolerate.allows(len(values))
        self.live: dict[int, LiveItem] = {}
        self.results: list[ItemResult] = []
        self.failed = 0
        self.begun = self.halted = self.given_up = False

    def open(self) -> LiveItem | None:
        """The next item; None if there is none, or there shall be none."""
        at = len(self.results)
        if self.halted or at == len(self.values):
            return None
        item = LiveItem(self.whole, self, at, self.values[at])
        self.live[at] = item
        self.results.append(_OPEN)
        return item

    def close(self, item: LiveItem, result: ItemResult) -> None:
        """An item has its result."""
        del self.live[item.at]
        self.results[item.at] = result
        self.failed += result.result == "failed"

    @property
    def done(self) -> int:
        """How many items have their results."""
        return len(self.results) - len(self.live)

    @property
    def over(self) -> bool:
        """Whether all items that there shall be have their results."""
        return not self.live and (self.halted or len(self.results) == len(self.values))

    @property
    def lost(self) -> bool:
        """Whether more items have failed than are tolerated."""
        return self.failed > self.allowed

    @property
    def ends_run(self) -> bool:
        """Whether it ends its run if too many items fail: then none of the others is worth running."""
        node, plan = self.whole.plan, self.whole.run.plan
        handled = node.allow_failure or any(
            edge.condition.names_failure and edge.condition.holds("failed", "failure", None, None)
            for edge in plan.targets[node.index]
        )
        return plan.on_failure == "cancel" and not handled

    @property
    def outputs(self) -> list[Any]:
        """What the items gave that succeeded; null for the others."""
        return [
            each.output if each.result == "succeeded" and each.output is not ABSENT else None
            for each in self.results
        ]

    def fill(self, result: ItemResult) -> tuple[ItemResult, ...]:
        """The results of all items, with one for those that were never opened."""
        return (*self.results, *[result] * (len(self.values) - len(self.results)))


class LiveItem(LiveNode):
    """One item under way, with a machine of its own: what a node is that runs once."""

    __slots__ = ("at", "value")

    def __init__(self, whole: LiveNode, fan: LiveFan, at: int, value: Any) -> None:
        super().__init__(whole.run, whole.plan)
        self.order = (*whole.order, 0, at)
        self.fan, self.at, self.value = fan, at, value

    @property
    def name(self) -> str:
        """The node's name, and which item."""
        return f"{self.plan.name}[{self.at}]"

    @property
    def own(self) -> dict[str, Any]:
        """What only expressions of this item see."""
        return {"item": self.value, "index": self.at}


def fan_of(node: LiveNode, fan: Fan, scope: Scope) -> LiveFan:
    """A fan-out that starts: it has its list. Raises EvaluationError."""
    values = fan.items.evaluate(scope)
    if not isinstance(values, list):
        raise EvaluationError(f"expected an array, found {kind_of(values)}")
    return LiveFan(node, fan, values)


_OPEN = ItemResult("cancelled", Reason(""))
"""Stands for a result to come."""
