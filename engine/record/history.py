"""Rebuild the Result of a run from its events, also for a run that has not ended.

It needs no plan and no task: the events hold what happened, and the names of nodes are read from the text of the
spec. The output of a node is known only as far as the events hold it.

Source: docs/language.md, "Results", "Engines that die".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import tomli

from engine.record.events import Event
from engine.record.result import ABSENT, Attempt, ItemResult, NodeResult, Reason, Result, Unended

__all__ = ["history", "lines_of", "node_names"]


@attrs.define
class _Run:
    """A run, or a sub-pipeline's run, as far as its events go.

    Attempts and outputs are keyed by node, or by item of a fan-out, `node[3]`.
    """

    pipeline: str
    nodes: dict[str, NodeResult] = attrs.Factory(dict)
    attempts: dict[str, list[Attempt]] = attrs.Factory(dict)
    outputs: dict[str, Any] = attrs.Factory(dict)
    """The output of the last attempt."""
    items: dict[str, dict[int, ItemResult]] = attrs.Factory(dict)
    """The settled items of each node, by number."""
    state: dict[str, Any] = attrs.Factory(dict)

    def result(self, id: str, status: Any, message: str, outputs: Mapping[str, Any]) -> Result:
        begun = dict.fromkeys(name.partition("[")[0] for name in self.attempts)
        nodes = {name: self.nodes.get(name) or self._open(name) for name in {**self.nodes, **begun}}
        return Result(status, nodes, outputs, message, id, self.pipeline, self.state)

    def _open(self, name: str) -> NodeResult:
        items = self.items.get(name)
        known = None if items is None else tuple(items[at] for at in sorted(items))
        attempts = tuple(self.attempts.get(name, ()))
        return NodeResult(name, "running", Reason(""), attempts=attempts, items=known)

    def settled(self, name: str, data: Mapping[str, Any]) -> None:
        """Record the result of a node."""
        reason = Reason(data["reason"], data["message"], tuple(data.get("because", ())))
        count, output = data.get("items"), data.get("output", self._output(name, data))
        items = None if count is None else tuple(self._items(name, count, reason))
        if data.get("gathered"):
            output = [_given(item) for item in items or ()]
        attempts = tuple(self.attempts.get(name, ()))
        label = data["label"]
        self.nodes[name] = NodeResult(name, data["result"], reason, label, output, attempts, items)

    def item_settled(self, path: str, data: Mapping[str, Any]) -> None:
        """Record the result of an item of a fan-out."""
        name, _, number = path.partition("[")
        reason = Reason(data["reason"], data["message"])
        output = data.get("output", self._output(path, data))
        attempts = tuple(self.attempts.pop(path, ()))
        item = ItemResult(data["result"], reason, data["label"], output, attempts)
        self.items.setdefault(name, {})[int(number[:-1])] = item

    def _output(self, path: str, data: Mapping[str, Any]) -> Any:
        output = self.outputs.pop(path, ABSENT)
        if data["reason"] in ("deadline", "evaluation") or data["result"] in _WITHOUT:
            return ABSENT
        return output

    def _items(self, name: str, count: int, reason: Reason) -> Iterator[ItemResult]:
        """Return all items, including those that never started."""
        known = self.items.get(name, {})
        kind = "failure" if reason.kind == "tolerance" else reason.kind
        left = ItemResult("cancelled", Reason(kind, reason.message))
        return (known.get(at, left) for at in range(count))


def _begun(data: Mapping[str, Any]) -> _Run:
    return _Run(data["pipeline"], state=dict(data.get("state", {})))


_WITHOUT = ("cancelled", "skipped")
"""Results that carry no output."""


def _given(item: ItemResult) -> Any:
    """Return the value that an item adds to the output of its node."""
    succeeded = item.result == "succeeded" and item.output is not ABSENT
    return item.output if succeeded else None


def history(
    events: Iterable[Event], unended: Unended = "running", names: Sequence[str] = ()
) -> Result:
    """Return the result of a run with these events.

    Its status is `unfinished_status` if the events do not end the run. `names` are all nodes in the order of the file:
    those without events are `pending`.
    """
    fold = _Fold()
    for event in events:
        fold.feed(event)
    return fold.result(unended, names)


def node_names(text: str, *tables: str) -> list[str]:
    """Return the names of a spec's nodes, in the order of the file; of `tables` alone if any are named.

    The default tables are `nodes` and `finally`. Empty if the text is not a valid spec.
    """
    try:
        data = tomli.loads(text)
        return [name for table in tables or ("nodes", "finally") for name in data.get(table, {})]
    except (tomli.TOMLDecodeError, AttributeError):
        return []


def lines_of(events: Iterable[Event], node: str | None = None) -> Iterator[tuple[Event, str, str]]:
    """Yield each line that tasks wrote, with its event and the attempt as `visit.attempt`.

    Progress comes as it was reported; the standard output of a command when its attempt ended.
    """
    current: dict[str, str] = {}
    for event in events:
        if event.kind == "attempt_started":
            current[event.path] = f"{event.data['visit']}.{event.data['attempt']}"
        elif node is None or _within(event.path, node):
            for line in _lines(event):
                yield event, current.get(event.path, ""), line


def _lines(event: Event) -> list[str]:
    if event.kind == "attempt_noted":
        return [event.data["message"]]
    output = event.data.get("output") if event.kind == "attempt_ended" else None
    if not isinstance(output, dict) or not output.keys() >= _COMMAND:
        return []
    written = output["stdout"]
    if isinstance(written, list) and all(isinstance(line, str) for line in written):
        return written
    return (written if isinstance(written, str) else json.dumps(written)).splitlines()


_COMMAND = {"stdout", "stderr", "status"}
"""Keys that mark an output as that of a command."""


def _within(path: str, node: str) -> bool:
    return path == node or path.startswith(f"{node}/")


class _Fold:
    def __init__(self) -> None:
        self.runs: dict[str, _Run] = {"": _Run("")}
        self.id = ""
        self.end: dict[str, Any] | None = None
        self.message = ""

    def feed(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "taken_over":
                self.runs, self.end = {"": _Run("")}, None
            case "run_started":
                self.id, self.runs[""] = data["run"], _begun(data)
            case "attempt_started":
                self._started(event)
            case "attempt_ended":
                self._ended(event)
            case "node_settled":
                run, local = self._run_of(event.path)
                run.settled(local, data)
            case "item_settled":
                run, local = self._run_of(event.path)
                run.item_settled(local, data)
            case "state_set":
                run, _ = self._run_of(event.path)
                run.state |= data["state"]
            case "run_ended":
                self.end = data
            case "run_waiting":
                self.message = data["message"]

    def _run_of(self, path: str) -> tuple[_Run, str]:
        """Return the run that contains a node or step, and the path inside that run."""
        parts = path.split("/")
        inner = (len(parts) - 1) // 2 * 2
        prefix = "/".join(parts[:inner])
        return self.runs[prefix], "/".join(parts[inner:])

    def _started(self, event: Event) -> None:
        run, local = self._run_of(event.path)
        node, _, step = local.partition("/")
        data = event.data
        if "pipeline" in data:
            self.runs[event.path] = _begun(data)
        attempts = run.attempts.setdefault(node, [])
        attempts.append(Attempt(step, data["visit"], data["attempt"], event.time))

    def _ended(self, event: Event) -> None:
        run, local = self._run_of(event.path)
        node = local.partition("/")[0]
        attempt, data = run.attempts[node][-1], event.data
        attempt.ended, attempt.outcome, attempt.error = event.time, data["outcome"], data["error"]
        run.outputs[node] = data["output"] if isinstance(data["outcome"], int) else ABSENT
        child = self.runs.pop(event.path, None)
        if child is not None and "status" in data:
            outputs = (data["output"] if data["outcome"] == 0 else data.get("outputs")) or {}
            attempt.run = child.result(self.id, data["status"], data["message"], outputs)
            if data["outcome"] != 0:
                run.outputs[node] = ABSENT

    def result(self, unended: Unended, names: Sequence[str]) -> Result:
        end: dict[str, Any] = self.end or {"status": unended, "message": "", "outputs": {}}
        if unended == "waiting" and self.end is None:
            end["message"] = self.message
        for path in sorted(self.runs, key=len, reverse=True):
            if path:  # a sub-pipeline that has not ended
                run, local = self._run_of(path)
                attempts = run.attempts.get(local.partition("/")[0])
                if attempts:
                    attempts[-1].run = self.runs[path].result(self.id, unended, "", {})
        found = self.runs[""].result(self.id, end["status"], end["message"], end["outputs"])
        nodes = {name: NodeResult(name, "pending", Reason("")) for name in names}
        nodes |= found.nodes
        return attrs.evolve(found, nodes=nodes)
