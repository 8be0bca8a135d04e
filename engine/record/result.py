"""Result: what a run was: its status, and for every node a result with its reason and its attempts in order.

Times are seconds since the start of the outermost run. `to_json` is the one form that `run --json` and `simulate --json` print.
Source: LANGUAGE.md sections 3, 6 and 8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Literal

import attrs

from engine.base.classes import define, frozen

__all__ = [
    "ABSENT",
    "Attempt",
    "ItemResult",
    "NodeResult",
    "Outcome",
    "Reason",
    "Result",
    "Status",
    "Unended",
]

Status = Literal["succeeded", "failed", "cancelled", "waiting"]
Unended = Literal["running", "interrupted", "waiting"]
"""What a run is that has not ended: `interrupted` if nobody runs it, `waiting` if it waits for people."""


class _Absent:
    """There is no value; falsy, and not `None`, which is one."""

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()


@frozen
class Outcome:
    """How a body ended: an exit `code`, or `error` or `interrupted` with a message; a code comes with an output (which may be null).
    `timeout` only where it is known to have ended so before."""

    code: int | Literal["error", "timeout", "interrupted"]
    output: Any = ABSENT
    error: str | None = None
    permanent: bool = False
    retry_after: float | None = None


@define(eq=False)
class Attempt:
    """One execution of a step. `visit` counts its step's visits, `attempt` those within the visit, from 1."""

    step: str
    visit: int
    attempt: int
    started: float
    ended: float | None = None
    outcome: int | Literal["error", "timeout", "interrupted", "cancelled"] | None = None
    error: str | None = None
    run: Result | None = None
    """The run of the sub-pipeline that this attempt was."""

    def to_json(self) -> dict[str, Any]:
        """`step visit attempt outcome started ended`, and `error` and `run` where there are any."""
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
    """Why a node ended so: a `kind` of section 6, a sentence, and for `needs` the nodes whose edges were dead."""

    kind: str
    message: str = ""
    because: tuple[str, ...] = ()


@frozen(eq=False)
class ItemResult:
    """What became of one item of a fan-out; `output` is ABSENT where it has none."""

    result: Literal["succeeded", "failed", "cancelled"]
    reason: Reason
    label: str | None = None
    output: Any = ABSENT
    attempts: tuple[Attempt, ...] = ()


@frozen(eq=False)
class NodeResult:
    """What became of a node; `output` is ABSENT where it has none. A fan-out that had its list has `items`, in the order of that,
    and its attempts are theirs."""

    name: str
    result: Literal["succeeded", "failed", "skipped", "cancelled", "running", "pending"]
    """`running` and `pending` only where it is looked at before its run has ended."""
    reason: Reason
    label: str | None = None
    output: Any = ABSENT
    attempts: tuple[Attempt, ...] = ()
    items: tuple[ItemResult, ...] | None = None

    def ran(self) -> Iterator[Attempt]:
        """All its attempts, those of its items in turn."""
        yield from self.attempts
        for item in self.items or ():
            yield from item.attempts


@frozen(eq=False, slots=False)
class Result:
    """What became of a run. `outputs` is there when it succeeded; `message` says why it did not;
    `state` is how the run left it."""

    status: Status | Unended
    nodes: Mapping[str, NodeResult]
    outputs: Mapping[str, Any] = attrs.field(factory=dict)
    message: str = ""
    id: str = ""
    pipeline: str = ""
    state: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def progress(self) -> float:
        """How many of its nodes have their results, 0 to 1: each counts the same."""
        open = sum(node.result in ("running", "pending") for node in self.nodes.values())
        return 1.0 - open / len(self.nodes) if self.nodes else 0.0

    def why(self, name: str, most: int = 10) -> tuple[str, ...]:
        """The chain of causes behind a node's result, from it to the first cause; the middle of a long one is left out."""
        length, last = self._chains[name]
        chain: list[str] = []
        at: str | None = name
        while at is not None and len(chain) < (length if length <= most else most - 1):
            chain.append(_sentence(self.nodes[at]))
            at = self._cause(at)
        if length > most:
            chain += [f"… {length - most} more …", _sentence(self.nodes[last])]
        return tuple(chain)

    @cached_property
    def _chains(self) -> Mapping[str, tuple[int, str]]:
        """By node, how many sentences its chain has, and which node is the first cause."""
        found: dict[str, tuple[int, str]] = {}
        for name in self.nodes:
            at: str | None = name
            path: dict[str, None] = {}
            while at is not None and at not in found and at not in path:
                path[at] = None
                at = self._cause(at)
            length, last = found.get(at or "", (0, ""))
            for each in reversed(path):
                length, last = length + 1, last or each
                found[each] = (length, last)
        return found

    def _cause(self, name: str) -> str | None:
        because = self.nodes[name].reason.because
        return because[0] if because else None

    def to_json(self) -> dict[str, Any]:
        """The printed form: `status`, `nodes`, `outputs`, `state`, and who and why; of a run that has not ended `progress` too."""
        unended = self.status not in ("succeeded", "failed", "cancelled")
        return {
            "id": self.id,
            "pipeline": self.pipeline,
            "status": self.status,
            **({"progress": self.progress} if unended else {}),
            "message": self.message,
            "nodes": {name: self._node(node) for name, node in self.nodes.items()},
            "outputs": dict(self.outputs),
            "state": dict(self.state),
        }

    def _node(self, node: NodeResult) -> dict[str, Any]:
        reason: dict[str, Any] = {"kind": node.reason.kind, "message": node.reason.message}
        if node.reason.because:
            reason |= {"because": list(node.reason.because), "chain": list(self.why(node.name))}
        found = {"result": node.result, "label": node.label, "reason": reason}
        if node.output is not ABSENT:
            found["output"] = node.output
        if node.items is not None:
            return found | {"items": list(_items(node))}
        return found | {"attempts": [attempt.to_json() for attempt in node.attempts]}


def _items(node: NodeResult) -> Iterator[dict[str, Any]]:
    """Each item; an output that stands in the node's own is not said again."""
    for item in node.items or ():
        reason = {"kind": item.reason.kind, "message": item.reason.message}
        found: dict[str, Any] = {"result": item.result, "label": item.label, "reason": reason}
        told = node.output is not ABSENT and item.result == "succeeded"
        if item.output is not ABSENT and not told:
            found["output"] = item.output
        yield found | {"attempts": [attempt.to_json() for attempt in item.attempts]}


def _sentence(node: NodeResult) -> str:
    tail = f": {node.reason.message}" if node.reason.message else ""
    return f"{node.name} {node.result}{tail}"
