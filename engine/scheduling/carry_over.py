"""Carry over attempts that need not run again, from the same run or an earlier one.

A run that is resumed with another spec, from a node on, or as a new run starts at its first node. Every attempt of it
that is recorded under its key ends at once as it ended then, without running its body and without the wait
before it. The journal records `taken_over`, then one `attempt_known` for each of these attempts; events before them in
the same journal no longer count.

Source: docs/language.md, "Engines that die".
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from engine.base.classes import frozen
from engine.record.events import Event
from engine.record.result import ABSENT, Outcome

__all__ = [
    "CarriedOver",
    "carry_over_events",
    "main_node_of",
    "outcome_of",
    "recorded_ends",
    "since_last_restart",
]


_ENDS = ("attempt_known", "attempt_ended")


@frozen
class CarriedOver:
    """The recorded outcomes of attempts, by key.

    `rerunnable_nodes` are the nodes whose other attempts may run; None if all may.
    """

    outcomes: Mapping[str, Outcome] = attrs.field(factory=dict)
    rerunnable_nodes: frozenset[str] | None = None


def since_last_restart(events: Sequence[Event]) -> tuple[Sequence[Event], CarriedOver]:
    """Return the events since the journal was last taken over, and the ends carried over."""
    start = next(
        (at for at in range(len(events) - 1, -1, -1) if events[at].kind == "taken_over"), None
    )
    if start is None:
        return events, CarriedOver()
    own = events[start + 1 :]
    known = {e.data["key"]: outcome_of(e) for e in own if e.kind == "attempt_known"}
    only = events[start].data["only"]
    return (
        [event for event in own if event.kind != "attempt_known"],
        CarriedOver(known, None if only is None else frozenset(only)),
    )


def recorded_ends(events: Sequence[Event]) -> dict[str, Event]:
    """Return the recorded ends of attempts, by key.

    Ends that were carried over are included; cancelled attempts are not.
    """
    found: dict[str, Event] = {}
    for event in events:
        if event.kind == "taken_over":
            found.clear()
        elif event.kind in _ENDS and event.data["outcome"] != "cancelled":
            found[event.data["key"]] = event
    return found


def carry_over_events(
    ended: Mapping[str, Event],
    rerun_nodes: Collection[str],
    overrides: Mapping[str, int],
    only: Collection[str] | None,
    time: float,
    why: str,
) -> Iterator[Event]:
    """Yield the events of a carry-over: all recorded ends but those of `rerun_nodes`.

    `overrides` gives attempts, by key, another exit.
    """
    names = None if only is None else sorted(only)
    yield Event("taken_over", time, "", {"only": names, "why": why})
    for key, event in ended.items():
        if key in overrides:
            yield _override_end(event, key, overrides[key], time)
        elif main_node_of(key) not in rerun_nodes:
            yield Event("attempt_known", time, event.path, dict(event.data))


def _override_end(event: Event, key: str, code: int, time: float) -> Event:
    data = {"key": key, "outcome": code, "error": None, "output": event.data["output"]}
    return Event("attempt_known", time, event.path, data)


def main_node_of(path: str) -> str:
    """Return the node of the outermost run that a path or key belongs to."""
    return path.partition("/")[0].partition("[")[0]


def outcome_of(event: Event) -> Outcome:
    """Return the outcome of an attempt from the event of its end."""
    data = event.data
    code = data["outcome"]
    output = data["output"] if isinstance(code, int) else ABSENT
    permanent, asked = data.get("permanent", False), data.get("retry_after")
    return Outcome(code, output, data["error"], permanent, asked)
