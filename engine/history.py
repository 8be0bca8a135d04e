"""Events of a run -> what it has come to: a Result, also of a run that has not ended.

Needs no plan and no task: what happened is told in the events, and the names of nodes are read from
the text of the spec. Of a node's output only what the events have is known.
Source: LANGUAGE.md sections 6 and 8.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import tomli

from engine.events import Event
from engine.result import ABSENT, Attempt, NodeResult, Reason, Result, Unended

__all__ = ["history", "lines_of", "node_names"]


@attrs.define
class _Run:
    """A run as far as it has come: that of a sub-pipeline too."""

    pipeline: str
    nodes: dict[str, NodeResult] = attrs.Factory(dict)
    attempts: dict[str, list[Attempt]] = attrs.Factory(dict)
    outputs: dict[str, Any] = attrs.Factory(dict)
    """By node, that of its last attempt."""

    def result(self, id: str, status: Any, message: str, outputs: Mapping[str, Any]) -> Result:
        unsettled = [name for name in self.attempts if name not in self.nodes]
        running = {name: self._open(name) for name in unsettled}
        return Result(status, {**self.nodes, **running}, outputs, message, id, self.pipeline)

    def _open(self, name: str) -> NodeResult:
        attempts = tuple(self.attempts[name])
        return NodeResult(name, "running", Reason("", ""), attempts=attempts)


def history(
    events: Iterable[Event], unended: Unended = "running", names: Sequence[str] = ()
) -> Result:
    """The result of a run with these events, which is `unended` if they do not end it. `names` are all nodes in the order of the
    file: those of which nothing is known are `pending`."""
    fold = _Fold()
    for event in events:
        fold.feed(event)
    return fold.result(unended, names)


def node_names(text: str) -> list[str]:
    """The nodes of a spec, in the order of the file."""
    try:
        return list(tomli.loads(text).get("nodes", {}))
    except (tomli.TOMLDecodeError, AttributeError):
        return []


def lines_of(events: Iterable[Event], node: str | None = None) -> Iterator[tuple[Event, str]]:
    """What tasks wrote, each line with the event it came by and the attempt's `path visit.attempt`."""
    current: dict[str, str] = {}
    for event in events:
        if event.kind == "attempt_started":
            current[event.path] = f"{event.data['visit']}.{event.data['attempt']}"
        elif event.kind == "attempt_noted" and (node is None or _within(event.path, node)):
            yield event, current.get(event.path, "")


def _within(path: str, node: str) -> bool:
    return path == node or path.startswith(f"{node}/")


class _Fold:
    def __init__(self) -> None:
        self.runs: dict[str, _Run] = {"": _Run("")}
        self.id = ""
        self.end: dict[str, Any] | None = None

    def feed(self, event: Event) -> None:
        data = event.data
        match event.kind:
            case "taken_over":
                self.runs, self.end = {"": _Run("")}, None
            case "run_started":
                self.id, self.runs[""].pipeline = data["run"], data["pipeline"]
            case "attempt_started":
                self._started(event)
            case "attempt_ended":
                self._ended(event)
            case "node_settled":
                self._settled(event)
            case "run_ended":
                self.end = data

    def _run_of(self, path: str) -> tuple[_Run, str]:
        """The run in which a node or step is, and what it is called there."""
        parts = path.split("/")
        inner = (len(parts) - 1) // 2 * 2
        prefix = "/".join(parts[:inner])
        return self.runs[prefix], "/".join(parts[inner:])

    def _started(self, event: Event) -> None:
        run, local = self._run_of(event.path)
        node, _, step = local.partition("/")
        data = event.data
        if "pipeline" in data:
            self.runs[event.path] = _Run(data["pipeline"])
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

    def _settled(self, event: Event) -> None:
        (run, name), data = self._run_of(event.path), event.data
        reason = Reason(data["reason"], data["message"], tuple(data.get("because", ())))
        output = run.outputs.get(name, ABSENT)
        if reason.kind in ("deadline", "evaluation") or data["result"] in ("cancelled", "skipped"):
            output = ABSENT
        run.nodes[name] = NodeResult(
            name,
            data["result"],
            reason,
            data["label"],
            data.get("output", output),
            tuple(run.attempts.get(name, ())),
        )

    def result(self, unended: Unended, names: Sequence[str]) -> Result:
        end: dict[str, Any] = self.end or {"status": unended, "message": "", "outputs": {}}
        for path in sorted(self.runs, key=len, reverse=True):
            if path:  # a sub-pipeline that has not ended
                run, local = self._run_of(path)
                attempts = run.attempts.get(local.partition("/")[0])
                if attempts:
                    attempts[-1].run = self.runs[path].result(self.id, unended, "", {})
        found = self.runs[""].result(self.id, end["status"], end["message"], end["outputs"])
        pending = Reason("", "")
        nodes = {name: NodeResult(name, "pending", pending) for name in names} | dict(found.nodes)
        return attrs.evolve(found, nodes=nodes)
