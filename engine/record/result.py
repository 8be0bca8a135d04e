"""Results of runs: a status, and for every node a result with its reason and its attempts in order.

Times are seconds since the start of the outermost run. `to_json` is the one form that `run --json` and
`simulate --json` print.

Source: docs/language.md, "Outcomes", "Results".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import attrs

from engine.base.classes import define, frozen, value

__all__ = [
    "ABSENT",
    "Attempt",
    "ItemResult",
    "NodeResult",
    "Outcome",
    "Reason",
    "Result",
    "Status",
    "UnfinishedStatus",
]

Status = Literal["succeeded", "failed", "cancelled", "waiting"]
UnfinishedStatus = Literal["running", "interrupted", "waiting"]
"""The status of a run that has not ended.

`interrupted`: no process runs it; `waiting`: it waits for people.
"""


class _AbsentType:
    """The type of `ABSENT`, which stands for no value; falsy, and different from `None`, which is a value."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _AbsentType()


@value
class Outcome:
    """The outcome of a body: an exit `code`, or `error` or `interrupted` with a message.

    A code comes with an output, which may be null. `timeout` stands only where it is known from an earlier record.
    """

    code: int | Literal["error", "timeout", "interrupted"]
    output: Any = ABSENT
    error: str | None = None
    permanent: bool = False
    retry_after: float | None = None


@define(eq=False)
class Attempt:
    """One execution of a step.

    `visit` counts the visits of the step, `attempt` the attempts within the visit, both from 1.
    """

    step: str
    visit: int
    attempt: int
    started: float
    ended: float | None = None
    outcome: int | Literal["error", "timeout", "interrupted", "cancelled"] | None = None
    error: str | None = None
    run: Result | None = None
    """The run of the sub-pipeline that this attempt executed."""

    def to_json(self) -> dict[str, Any]:
        """Return `step visit attempt outcome started ended`, and `error` and `run` if present."""
        found: dict[str, Any] = {
            "step": self.step,
            "visit": self.visit,
            "attempt": self.attempt,
            "outcome": self.outcome,
            "started": self.started,
            "ended": self.ended,
        }
        if self.error is not None:
            found["error"] = self.error
        if self.run is not None:
            found["run"] = self.run.to_json()
        return found


@frozen
class Reason:
    """The reason of a node's result: a `kind`, a sentence, and for `needs` the nodes whose edges were dead.

    Source: docs/language.md, "Results".
    """

    kind: str
    message: str = ""
    caused_by: tuple[str, ...] = ()


@frozen(eq=False)
class ItemResult:
    """The result of one item of a fan-out; `output` is ABSENT if there is none."""

    result: Literal["succeeded", "failed", "cancelled"]
    reason: Reason
    label: str | None = None
    output: Any = ABSENT
    attempts: tuple[Attempt, ...] = ()


@frozen(eq=False)
class NodeResult:
    """The result of a node; `output` is ABSENT if there is none.

    A fan-out whose list was evaluated has `items`, in the order of the list, and its attempts are theirs.
    """

    name: str
    result: Literal["succeeded", "failed", "skipped", "cancelled", "running", "pending"]
    """`running` and `pending` occur only before the run has ended."""
    reason: Reason
    label: str | None = None
    output: Any = ABSENT
    attempts: tuple[Attempt, ...] = ()
    items: tuple[ItemResult, ...] | None = None

    def all_attempts(self) -> Iterator[Attempt]:
        """Yield all attempts of the node, those of its items in turn."""
        yield from self.attempts
        for item in self.items or ():
            yield from item.attempts


@frozen(eq=False, slots=False)
class Result:
    """The result of a run.

    `outputs` is filled if the run succeeded; `message` says why it did not; `state` is the state at the end of the run.
    """

    status: Status | UnfinishedStatus
    nodes: Mapping[str, NodeResult]
    outputs: Mapping[str, Any] = attrs.field(factory=dict)
    message: str = ""
    id: str = ""
    pipeline: str = ""
    state: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def progress(self) -> float:
        """The fraction of nodes that have their results, 0 to 1; each node counts the same."""
        open = sum(node.result in ("running", "pending") for node in self.nodes.values())
        return 1.0 - open / len(self.nodes) if self.nodes else 0.0

    def explain(self, name: str, max_lines: int = 10) -> tuple[str, ...]:
        """Return the chain of causes behind a node's result, from the node to the first cause.

        One line each, at most `max_lines`: the middle of a longer chain is left out.
        """
        length, last = self._cause_chains[name]
        chain: list[str] = []
        at: str | None = name
        while at is not None and len(chain) < (length if length <= max_lines else max_lines - 1):
            chain.append(_describe_node(self.nodes[at]))
            at = self._find_cause(at)
        if length > max_lines:
            chain += [f"… {length - max_lines} more …", _describe_node(self.nodes[last])]
        return tuple(chain)

    @cached_property
    def _cause_chains(self) -> Mapping[str, tuple[int, str]]:
        """Return, by node, the length of its chain of causes, and the node that is the first cause."""
        found: dict[str, tuple[int, str]] = {}
        for name in self.nodes:
            at: str | None = name
            path: dict[str, None] = {}
            while at is not None and at not in found and at not in path:
                path[at] = None
                at = self._find_cause(at)
            length, last = found.get(at or "", (0, ""))
            for each in reversed(path):
                length, last = length + 1, last or each
                found[each] = (length, last)
        return found

    def _find_cause(self, name: str) -> str | None:
        because = self.nodes[name].reason.caused_by
        return because[0] if because else None

    def to_json(self) -> dict[str, Any]:
        """Return the printed form: `id pipeline status message nodes outputs state`, and `progress` of an unfinished run."""
        unended = self.status not in ("succeeded", "failed", "cancelled")
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "status": self.status,
            **({"progress": self.progress} if unended else {}),
            "message": self.message,
            "nodes": {name: self._node_to_json(node) for name, node in self.nodes.items()},
            "outputs": dict(self.outputs),
            "state": dict(self.state),
        }

    def _node_to_json(self, node: NodeResult) -> dict[str, Any]:
        reason: dict[str, Any] = {"kind": node.reason.kind, "message": node.reason.message}
        if node.reason.caused_by:
            reason |= {
                "because": list(node.reason.caused_by),
                "chain": list(self.explain(node.name)),
            }
        found = {"result": node.result, "label": node.label, "reason": reason}
        if node.output is not ABSENT:
            found["output"] = node.output
        if node.items is not None:
            return found | {"items": list(_iter_items_json(node))}
        return found | {"attempts": [attempt.to_json() for attempt in node.attempts]}


def _iter_items_json(node: NodeResult) -> Iterator[dict[str, Any]]:
    """Yield each item; an output that is in the node's own output is not repeated."""
    for item in node.items or ():
        reason = {"kind": item.reason.kind, "message": item.reason.message}
        found: dict[str, Any] = {"result": item.result, "label": item.label, "reason": reason}
        is_included = node.output is not ABSENT and item.result == "succeeded"
        if item.output is not ABSENT and not is_included:
            found["output"] = item.output
        yield found | {"attempts": [attempt.to_json() for attempt in item.attempts]}


def _describe_node(node: NodeResult) -> str:
    tail = f": {node.reason.message}" if node.reason.message else ""
    return f"{node.name} {node.result}{tail}"
