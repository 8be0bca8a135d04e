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
from engine.record.result import (
    ABSENT,
    Attempt,
    ItemResult,
    NodeResult,
    Reason,
    Result,
    UnfinishedStatus,
)

__all__ = ["iter_log_lines", "read_node_names", "result_from_events"]


@attrs.define
class _PartialRun:
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

    def build_result(
        self, id: str, status: Any, message: str, outputs: Mapping[str, Any]
    ) -> Result:
        begun = dict.fromkeys(name.partition("[")[0] for name in self.attempts)
        nodes = {
            name: self.nodes.get(name) or self._build_running_node(name)
            for name in {**self.nodes, **begun}
        }
        return Result(status, nodes, outputs, message, id, self.pipeline, self.state)

    def _build_running_node(self, name: str) -> NodeResult:
        items = self.items.get(name)
        known = None if items is None else tuple(items[at] for at in sorted(items))
        attempts = tuple(self.attempts.get(name, ()))
        return NodeResult(name, "running", Reason(""), attempts=attempts, items=known)

    def settle_node(self, name: str, data: Mapping[str, Any]) -> None:
        """Record the result of a node."""
        reason = Reason(data["reason"], data["message"], tuple(data.get("because", ())))
        count, output = data.get("items"), data.get("output", self._take_output(name, data))
        items = None if count is None else tuple(self._iter_items(name, count, reason))
        if data.get("gathered"):
            output = [_get_gathered_output(item) for item in items or ()]
        attempts = tuple(self.attempts.get(name, ()))
        label = data["label"]
        self.nodes[name] = NodeResult(name, data["result"], reason, label, output, attempts, items)

    def settle_item(self, path: str, data: Mapping[str, Any]) -> None:
        """Record the result of an item of a fan-out."""
        name, _, number = path.partition("[")
        reason = Reason(data["reason"], data["message"])
        output = data.get("output", self._take_output(path, data))
        attempts = tuple(self.attempts.pop(path, ()))
        item = ItemResult(data["result"], reason, data["label"], output, attempts)
        self.items.setdefault(name, {})[int(number[:-1])] = item

    def _take_output(self, path: str, data: Mapping[str, Any]) -> Any:
        output = self.outputs.pop(path, ABSENT)
        if (
            data["reason"] in ("deadline", "evaluation")
            or data["result"] in _RESULTS_WITHOUT_OUTPUT
        ):
            return ABSENT
        return output

    def _iter_items(self, name: str, count: int, reason: Reason) -> Iterator[ItemResult]:
        """Yield the results of all items, including those that never started."""
        known = self.items.get(name, {})
        kind = "failure" if reason.kind == "tolerance" else reason.kind
        left = ItemResult("cancelled", Reason(kind, reason.message))
        return (known.get(at, left) for at in range(count))


def _start_run(data: Mapping[str, Any]) -> _PartialRun:
    return _PartialRun(data["pipeline"], state=dict(data.get("state", {})))


_RESULTS_WITHOUT_OUTPUT = ("cancelled", "skipped")
"""Results that carry no output."""


def _get_gathered_output(item: ItemResult) -> Any:
    """Return the value that an item adds to the output of its node."""
    succeeded = item.result == "succeeded" and item.output is not ABSENT
    return item.output if succeeded else None


def result_from_events(
    events: Iterable[Event],
    unfinished_status: UnfinishedStatus = "running",
    names: Sequence[str] = (),
) -> Result:
    """Return the result of a run with these events.

    Its status is `unfinished_status` if the events do not end the run. `names` are all nodes in the order of the file:
    those without events are `pending`.
    """
    fold = _EventFold()
    for event in events:
        fold.feed(event)
    return fold.build_result(unfinished_status, names)


def read_node_names(text: str, *tables: str) -> list[str]:
    """Return the names of a spec's nodes, in the order of the file; of `tables` alone if any are named.

    The default tables are `nodes` and `finally`. Empty if the text is not a valid spec.
    """
    try:
        data = tomli.loads(text)
        return [name for table in tables or ("nodes", "finally") for name in data.get(table, {})]
    except (tomli.TOMLDecodeError, AttributeError):
        return []


def iter_log_lines(
    events: Iterable[Event], node: str | None = None
) -> Iterator[tuple[Event, str, str]]:
    """Yield each line that tasks wrote, with its event and the attempt as `visit.attempt`.

    Progress comes as it was reported; the standard output of a command when its attempt ended.
    """
    current: dict[str, str] = {}
    for event in events:
        if event.kind == "attempt_started":
            current[event.path] = f"{event.data['visit']}.{event.data['attempt']}"
        elif node is None or _is_within(event.path, node):
            for line in _extract_log_lines(event):
                yield event, current.get(event.path, ""), line


def _extract_log_lines(event: Event) -> list[str]:
    if event.kind == "attempt_noted":
        return [event.data["message"]]
    output = event.data.get("output") if event.kind == "attempt_ended" else None
    if not isinstance(output, dict) or not output.keys() >= _COMMAND_OUTPUT_KEYS:
        return []
    written = output["stdout"]
    if isinstance(written, list) and all(isinstance(line, str) for line in written):
        return written
    return (written if isinstance(written, str) else json.dumps(written)).splitlines()


_COMMAND_OUTPUT_KEYS = {"stdout", "stderr", "status"}
"""Keys that mark an output as that of a command."""


def _is_within(path: str, node: str) -> bool:
    return path == node or path.startswith((f"{node}/", f"{node}["))


class _EventFold:
    def __init__(self) -> None:
        self.runs: dict[str, _PartialRun] = {"": _PartialRun("")}
        self.id = ""
        self.end: dict[str, Any] | None = None
        self.message = ""

    def feed(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "taken_over":
                self.runs, self.end = {"": _PartialRun("")}, None
            case "run_started":
                self.id, self.runs[""] = data["run"], _start_run(data)
            case "attempt_started":
                self._start_attempt(event)
            case "attempt_ended":
                self._end_attempt(event)
            case "node_settled":
                run, local = self._find_run(event.path)
                run.settle_node(local, data)
            case "item_settled":
                run, local = self._find_run(event.path)
                run.settle_item(local, data)
            case "state_set":
                run, _ = self._find_run(event.path)
                run.state |= data["state"]
            case "run_ended":
                self.end = data
            case "run_waiting":
                self.message = data["message"]

    def _find_run(self, path: str) -> tuple[_PartialRun, str]:
        """Return the run that contains a node or step, and the path inside that run."""
        parts = path.split("/")
        inner = (len(parts) - 1) // 2 * 2
        prefix = "/".join(parts[:inner])
        return self.runs[prefix], "/".join(parts[inner:])

    def _start_attempt(self, event: Event) -> None:
        run, local = self._find_run(event.path)
        node, _, step = local.partition("/")
        data = event.data
        if "pipeline" in data:
            self.runs[event.path] = _start_run(data)
        attempts = run.attempts.setdefault(node, [])
        attempts.append(Attempt(step, data["visit"], data["attempt"], event.time))

    def _end_attempt(self, event: Event) -> None:
        run, local = self._find_run(event.path)
        node = local.partition("/")[0]
        attempt, data = run.attempts[node][-1], event.data
        attempt.ended, attempt.outcome, attempt.error = event.time, data["outcome"], data["error"]
        run.outputs[node] = data["output"] if isinstance(data["outcome"], int) else ABSENT
        child = self.runs.pop(event.path, None)
        if child is not None and "status" in data:
            outputs = (data["output"] if data["outcome"] == 0 else data.get("outputs")) or {}
            attempt.run = child.build_result(self.id, data["status"], data["message"], outputs)
            if data["outcome"] != 0:
                run.outputs[node] = ABSENT

    def build_result(self, unfinished_status: UnfinishedStatus, names: Sequence[str]) -> Result:
        end: dict[str, Any] = self.end or {
            "status": unfinished_status,
            "message": "",
            "outputs": {},
        }
        if unfinished_status == "waiting" and self.end is None:
            end["message"] = self.message
        for path in sorted(self.runs, key=len, reverse=True):
            if path:  # a sub-pipeline that has not ended
                run, local = self._find_run(path)
                attempts = run.attempts.get(local.partition("/")[0])
                if attempts:
                    attempts[-1].run = self.runs[path].build_result(
                        self.id, unfinished_status, "", {}
                    )
        found = self.runs[""].build_result(self.id, end["status"], end["message"], end["outputs"])
        nodes = {name: NodeResult(name, "pending", Reason("")) for name in names}
        nodes |= found.nodes
        return attrs.evolve(found, nodes=nodes)
