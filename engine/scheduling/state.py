"""Mutable state of runs under way, their nodes and their attempts; only `scheduler` changes it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Literal

from engine.expressions.model import EvaluationError, json_type
from engine.plan.fan_out import FanOut
from engine.plan.machine import MachineState
from engine.plan.plan import Node, Plan, StepBody
from engine.record.result import ABSENT, Attempt, ItemResult, NodeResult, Reason
from engine.scheduling.slots import SlotLimit
from engine.scheduling.values import LayeredScope, RunValues

__all__ = [
    "AttemptState",
    "CancelReason",
    "FanOutState",
    "ItemState",
    "NodeState",
    "RunState",
    "StopReason",
    "start_fan_out",
]

CancelReason = Literal["failure", "deadline", "requested", "parent"]
"""The reason why a run is being cancelled."""
StopReason = Literal["", "timeout", "deadline", "cancelled"]
"""The reason why an attempt is being stopped; empty if it is not."""


class AttemptState:
    """An attempt that holds its slots.

    `inputs` is the table that its body receives; `stopping` is the reason why it is being stopped.
    """

    __slots__ = (
        *("_key", "body", "child", "handle", "inputs", "execution"),
        *("node", "is_over", "record", "resources", "runs", "scope", "stopping"),
    )

    def __init__(self, node: NodeState, body: StepBody, record: Attempt) -> None:
        self.node, self.body, self.record = node, body, record
        self.inputs: dict[str, Any] = {}
        self.resources: dict[str, Any] = {}
        self.scope: LayeredScope | None = None
        """The scope in which its `with` is evaluated once the resources that it reads are open."""
        self.child: RunState | None = None
        self.stopping: StopReason = ""
        self.is_over = self.runs = False
        """`is_over` is whether it has ended; `runs` is whether it was given to the runtime."""
        self.execution = 1
        """The number of times that its body was run: one more for each body that was lost."""
        self.handle: Any = None
        """An object of the runtime, by which it stops the body."""
        self._key = ""

    @property
    def order(self) -> tuple[int, ...]:
        """Return the order of the attempt's node."""
        return self.node.order

    @property
    def key(self) -> str:
        """Return the key that identifies the attempt in its run.

        It is the same when the run is repeated.
        """
        if not self._key:
            record = self.record
            self._key = self.node.attempt_key(record.step, record.visit, record.attempt)
        return self._key

    @property
    def path(self) -> str:
        """Return the path of the attempt: `node/step`, after the paths of its parents."""
        return f"{self.node.path}/{self.record.step}"

    @property
    def needs_scope(self) -> bool:
        """Return whether the attempt may have to stop while the outermost run goes on."""
        plan, run = self.node.plan, self.node.run
        stops = plan.fan is not None and run.plan.on_failure == "cancel"
        return bool(
            self.body.timeout
            or plan.deadline
            or run.parent
            or stops
            or run.may_outlive_cancellation
        )


class NodeState:
    """A node of an active run; `open` is the number of its edges that have not settled."""

    __slots__ = (
        "asked",
        "attempt",
        "attempts",
        "dead_sources",
        "ends_run",
        "fan",
        "is_deadline_expired",
        "limits",
        "open",
        "order",
        "plan",
        "queued",
        "result",
        "run",
        "state",
        "steps",
        "taken",
        "wake_ticket",
    )

    def __init__(self, run: RunState, plan: Node) -> None:
        self.run, self.plan = run, plan
        self.order: tuple[int, ...] = (*run.order, plan.priority, plan.index)
        self.open = len(plan.edges)
        self.taken = 0
        self.dead_sources: list[int] | None = None
        self.state: MachineState | None = None
        self.attempt: AttemptState | None = None
        self.attempts: list[Attempt] = []
        self.steps: dict[str, Any] | None = None
        self.result: NodeResult | None = None
        self.limits: tuple[SlotLimit, ...] = ()
        self.queued = 0
        self.wake_ticket = 0
        self.is_deadline_expired = False
        self.asked = ""
        """The reason why the node alone is to be cancelled."""
        self.ends_run = False
        """Whether its failure ends the run, or that of a node before it."""
        self.fan: FanOutState | None = None
        """For a fan-out, its state once it has its list; for an item, the fan-out that it belongs to."""

    def attempt_key(self, step: str, visit: int, attempt: int) -> str:
        """Return the key of an attempt of this node."""
        return f"{self.run.key}{self.name}/{step}/{visit}.{attempt}"

    @property
    def current_result(self) -> NodeResult:
        """Return the result of the node, or its state so far."""
        if self.result is not None:
            return self.result
        result: Literal["running", "pending"] = (
            "running" if self.attempts or self.fan else "pending"
        )
        return NodeResult(self.plan.name, result, Reason(""), attempts=tuple(self.attempts))

    def set_step_output(self, step: str, output: Any) -> None:
        """Record the output of the latest attempt of a step; ABSENT if it has none."""
        if self.steps is None:
            self.steps = {}
        if output is ABSENT:
            self.steps.pop(step, None)
        else:
            self.steps[step] = output

    @property
    def join_holds(self) -> bool:
        """Return whether the join of the node holds, all its edges having settled."""
        if not self.dead_sources:
            return True
        if self.plan.join == "all":
            return False
        written = {edge.source for edge in self.plan.edges if edge.is_explicit}
        return self.taken > 0 and written.issuperset(self.dead_sources)

    @property
    def is_over(self) -> bool:
        """Return whether the node has its result."""
        return self.result is not None

    @property
    def name(self) -> str:
        """Return the name of the node in paths."""
        return self.plan.name

    @property
    def path(self) -> str:
        """Return the path of the node: its name after the `node/step` of its parents."""
        return self.run.prefix + self.name

    @property
    def own_names(self) -> dict[str, Any]:
        """Return the names that only the node's own expressions see, besides `run` and `steps`."""
        return {}


class RunState:
    """An active run: the outermost one, or the run of a sub-pipeline, whose attempt is `parent`."""

    __slots__ = (
        "asked",
        "cancelled_node",
        "cause",
        "closing",
        "depth",
        "failed",
        "held",
        "key",
        "left",
        "limits",
        "main_run",
        "message",
        "nodes",
        "order",
        "parent",
        "plan",
        "pools",
        "prefix",
        "users",
        "values",
    )

    def __init__(
        self,
        plan: Plan,
        parent: AttemptState | None,
        values: RunValues,
        of: RunState | None = None,
    ) -> None:
        self.plan, self.parent, self.values = plan, parent, values
        self.main_run = of
        """For the nodes in `[finally]`: the run that they end; they share its slots."""
        self.closing: RunState | None = None
        """The run of the nodes in `[finally]`, once all others have their results."""
        if plan.initial is not None:
            values.set_state(plan.initial.evaluate({}))
        outer = parent.node.run if parent else None
        self.depth: int = outer.depth + 1 if outer else 0
        self.order: tuple[int, ...] = parent.node.order if parent else ()
        self.prefix = f"{parent.path}/" if parent else ""
        self.key = f"{parent.key}/" if parent else ""
        own = {name: SlotLimit(count) for name, count in plan.pools.items()}
        self.limits: tuple[SlotLimit, ...]
        self.pools: dict[str, SlotLimit]
        if of is not None:
            self.limits, self.pools = of.limits, of.pools
        else:
            self.limits = (*(outer.limits if outer else ()), SlotLimit(plan.max_parallel))
            self.pools = {**own, **outer.pools} if outer else own
        self.nodes = [NodeState(self, node) for node in plan.nodes]
        self.left = len(self.nodes)
        self.users = Counter(each for node in plan.nodes_by_name.values() for each in node.uses)
        """By resource, the number of nodes that use it and have no result yet."""
        self.held: set[str] = set()
        """The resources that are open, or being opened or closed."""
        self.failed = self.cancelled_node = ""
        """Sentences, or empty: why the run has failed, and which of its nodes was the first to be cancelled alone."""
        self.cause: CancelReason | None = None
        self.asked = False
        self.message = ""

    @property
    def is_over(self) -> bool:
        """Return whether all nodes have their results, those of `[finally]` too."""
        if self.plan.finally_plan is None:
            return not self.left
        return self.closing is not None and not self.closing.left

    @property
    def all_nodes(self) -> list[NodeState]:
        """Return the nodes of the run, with those of `[finally]` once they have begun."""
        return [*self.nodes, *self.closing.nodes] if self.closing else self.nodes

    @property
    def may_outlive_cancellation(self) -> bool:
        """Return whether some part of the outermost run may go on after it is cancelled."""
        run = self
        while run.parent is not None:
            run = run.parent.node.run
        return run.main_run is not None or run.plan.has_finally

    @property
    def active_attempts(self) -> list[AttemptState]:
        """Return the active attempts of the run's own nodes, those of items included."""
        items = (node.fan.active_items.values() if node.fan else (node,) for node in self.all_nodes)
        return [each.attempt for some in items for each in some if each.attempt is not None]

    def iter_active_runs(self) -> Iterator[RunState]:
        """Yield this run and the active runs of sub-pipelines in it, outer ones first."""
        runs = [self]
        for run in runs:
            yield run
            runs += [attempt.child for attempt in run.active_attempts if attempt.child is not None]


class FanOutState:
    """The state of a fan-out; `owner_node` is the node that runs it.

    `values` are the items of the list, and `results` stand in the same order. `active_items` are the opened items that
    have no result yet. `allowed` items may fail. `is_halted` is set when no further item is opened, `is_given_up` where
    the reason is that too many have failed.
    """

    __slots__ = (
        *("allowed", "has_begun", "failed", "is_given_up", "is_halted"),
        *("limit", "active_items", "results", "values", "owner_node"),
    )

    def __init__(self, whole: NodeState, fan: FanOut, values: list[Any]) -> None:
        self.owner_node, self.values = whole, values
        self.limit = SlotLimit(fan.max_parallel)
        self.allowed = fan.tolerate.count_allowed(len(values))
        self.active_items: dict[int, ItemState] = {}
        self.results: list[ItemResult] = []
        self.failed = 0
        self.has_begun = self.is_halted = self.is_given_up = False

    def open(self) -> ItemState | None:
        """Open the next item; return None if there is none, or no more may be opened."""
        at = len(self.results)
        if self.is_halted or at == len(self.values):
            return None
        item = ItemState(self.owner_node, self, at, self.values[at])
        self.active_items[at] = item
        self.results.append(_PENDING_RESULT)
        return item

    def close(self, item: ItemState, result: ItemResult) -> None:
        """Record the result of an item."""
        del self.active_items[item.at]
        self.results[item.at] = result
        self.failed += result.result == "failed"

    @property
    def settled_count(self) -> int:
        """Return how many items have their results."""
        return len(self.results) - len(self.active_items)

    @property
    def is_over(self) -> bool:
        """Return whether all items that are to run have their results."""
        return not self.active_items and (self.is_halted or len(self.results) == len(self.values))

    @property
    def has_failed(self) -> bool:
        """Return whether more items have failed than are tolerated."""
        return self.failed > self.allowed

    @property
    def ends_run(self) -> bool:
        """Return whether the fan-out ends its run if too many items fail.

        Then none of the other items is worth running.
        """
        node, plan = self.owner_node.plan, self.owner_node.run.plan
        handled = node.allow_failure or any(
            edge.condition.handles_failure and edge.condition.holds("failed", "failure", None, None)
            for edge in plan.targets[node.index]
        )
        return plan.on_failure == "cancel" and not handled

    @property
    def gathered_outputs(self) -> list[Any]:
        """Return the outputs of the items that succeeded, with null for the others."""
        return [
            each.output if each.result == "succeeded" and each.output is not ABSENT else None
            for each in self.results
        ]

    def complete_results(self, result: ItemResult) -> tuple[ItemResult, ...]:
        """Return the results of all items; items that were never opened get the result given."""
        return (*self.results, *[result] * (len(self.values) - len(self.results)))


class ItemState(NodeState):
    """One active item, with a machine of its own: the counterpart of a node that runs once."""

    __slots__ = ("at", "value")

    def __init__(self, whole: NodeState, fan: FanOutState, at: int, value: Any) -> None:
        super().__init__(whole.run, whole.plan)
        self.order = (*whole.order, 0, at)
        self.fan, self.at, self.value = fan, at, value

    @property
    def name(self) -> str:
        """Return the name of the node with the index of the item."""
        return f"{self.plan.name}[{self.at}]"

    @property
    def own_names(self) -> dict[str, Any]:
        """Return the names that only expressions of this item see."""
        return {"item": self.value, "index": self.at}


def start_fan_out(node: NodeState, fan: FanOut, scope: LayeredScope) -> FanOutState:
    """Start a fan-out by evaluating its list; raise EvaluationError if that fails."""
    values = fan.items.evaluate(scope)
    if not isinstance(values, list):
        raise EvaluationError(f"expected an array, found {json_type(values)}")
    return FanOutState(node, fan, values)


_PENDING_RESULT = ItemResult("cancelled", Reason(""))
"""A placeholder for the result of an item that has none yet."""
