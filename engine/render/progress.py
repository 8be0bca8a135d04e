"""Render the progress of a run from its events: one line for each event, or a few redrawn lines for a terminal.

Of the items of a fan-out the first failures and every completed tenth are reported; on a terminal, how many have ended.
Pure: `ProgressView` receives events and renders frames; who writes them, and when, is decided by the command
line. A step with its node's name is shown as the node.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from typing import Any

from engine.base.classes import define
from engine.record.events import Event
from engine.render.text import (
    Styled,
    TextPiece,
    clip_text,
    escape_unprintable,
    format_elapsed,
    plain_text,
    text_width,
)

__all__ = ["PLAIN_SPINNER", "SPINNER", "LastNotes", "ProgressView", "format_event", "shorten_path"]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
_MAX_ROWS = 8
_TIME_WIDTH = 7
_MAX_ITEM_FAILURES = 10
"""The number of failed items that are reported."""


# -- a line an event -------------------------------------------------------------------------------


def format_event(event: Event) -> str | None:
    """Format the line of an event, `  12.3s  build/test  attempt 2: exit 2`, or None if the event needs no line."""
    said = _describe_event(event)
    if said is None:
        return None
    counts = event.kind == "item_settled" and said[0].isdigit()
    path = event.path.rpartition("[")[0] if counts else event.path
    where = f"{shorten_path(path)}  " if path else ""
    return escape_unprintable(f"{format_elapsed(event.time):>{_TIME_WIDTH}}  {where}{said}")


def shorten_path(path: str) -> str:
    """Return a path of nodes and steps without the steps that have their node's name."""
    parts = path.split("/")
    return "/".join(
        part
        for at, part in enumerate(parts)
        if at % 2 == 0 or part != parts[at - 1].partition("[")[0]
    )


def _describe_event(event: Event) -> str | None:
    if event.path.endswith("]") or "]/" in event.path:
        return _describe_item_event(event)
    return _describe_plain_event(event)


def _describe_item_event(event: Event) -> str | None:
    """Describe an event of an item, or return None, as for most of them."""
    data = event.data
    match event.kind:
        case "attempt_started" | "attempt_ended" | "route_taken" | "retry_planned":
            return None
        case "item_settled":
            if data["result"] == "failed" and data["failed"] <= _MAX_ITEM_FAILURES:
                return f"{_format_node_end(data)} ({_format_item_counts(data)})"
            return (
                _format_item_counts(data)
                if data["result"] != "cancelled" and _completes_tenth(data)
                else None
            )
        case "node_settled" if data["result"] in ("succeeded", "skipped"):
            return None
        case _:
            return _describe_plain_event(event)


def _format_item_counts(data: Mapping[str, Any]) -> str:
    failed = f", {data['failed']} failed" if data["failed"] else ""
    return f"{data['done']}/{data['items']} items{failed}"


def _completes_tenth(data: Mapping[str, Any]) -> bool:
    """Return whether this item completes another tenth of all items."""
    done, items = data["done"], data["items"]
    return bool(done * 10 // items > (done - 1) * 10 // items)


def _describe_plain_event(event: Event) -> str | None:
    data = event.data
    match event.kind:
        case "run_started":
            return f"{data['pipeline']} started, run {data['run']}"
        case "attempt_started":
            return (
                "started"
                if _format_attempt(data) == "attempt 1"
                else f"{_format_attempt(data)} started"
            )
        case "attempt_noted":
            return f"| {data['message']}"
        case "attempt_ended":
            return (
                None
                if data["outcome"] == 0
                else f"{_format_attempt(data)}: {_format_outcome(data)}"
            )
        case "retry_planned":
            return (
                f"attempt {data['attempt']} in {format_elapsed(data['delay'])}"
                if data["delay"]
                else None
            )
        case "route_taken":
            wait = f" in {format_elapsed(data['delay'])}" if data["delay"] else ""
            return f"next: {data['to']}{wait}"
        case "node_settled":
            return _format_node_end(data)
        case "cancel_asked":
            return f"cancelling: {data['message']}"
        case _:
            return None


def _format_attempt(data: Mapping[str, object]) -> str:
    visit = f"visit {data['visit']}, " if data["visit"] != 1 else ""
    return f"{visit}attempt {data['attempt']}"


def _format_outcome(data: Mapping[str, object]) -> str:
    outcome, error = data["outcome"], data["error"]
    if isinstance(outcome, int):
        return f"exit {outcome}"
    return f"{outcome}: {error}" if error else str(outcome)


def _format_node_end(data: Mapping[str, object]) -> str:
    label = f" `{data['label']}`" if data["label"] not in (None, "success") else ""
    why = f": {data['message']}" if data["message"] else ""
    return f"{data['result']}{label}{why}"


# -- a few lines redrawn ---------------------------------------------------------------------------


@define
class _RunningAttempt:
    started: float
    label: str
    note: str = ""
    inner_attempts: int = 0
    """The number of attempts that run in this one, which is a sub-pipeline."""


class ProgressView:
    """The state of a run of `total` nodes, as shown on a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._running: dict[str, _RunningAttempt] = {}
        self._waiting_nodes: set[str] = set()
        self._finished_counts: Counter[str] = Counter()
        self._item_counts: dict[str, str] = {}
        self._is_cancelling = False

    def add_event(self, event: Event) -> None:
        """Update the view with an event."""
        path, data = event.path, event.data
        match event.kind:
            case "attempt_started":
                self._waiting_nodes.discard(path.rpartition("/")[0])
                self._running[path] = _RunningAttempt(event.time, _format_attempt(data))
                self._adjust_inner_attempts(path, 1)
            case "attempt_noted" if path in self._running:
                self._running[path].note = escape_unprintable(str(data["message"]).strip())
            case "attempt_ended":
                self._waiting_nodes.add(path.rpartition("/")[0])
                if self._running.pop(path, None):
                    self._adjust_inner_attempts(path, -1)
            case "item_settled":
                self._waiting_nodes.discard(path)
                self._item_counts[path.rpartition("[")[0]] = _format_item_counts(data)
            case "node_settled":
                self._waiting_nodes.discard(path)
                self._item_counts.pop(path, None)
                if "/" not in path:
                    self._finished_counts[data["result"]] += 1
            case "cancel_asked":
                self._is_cancelling = True

    def render_frame(
        self, now: float, width: int, height: int, spinner: str
    ) -> list[list[TextPiece]]:
        """Return the lines to show at `now` seconds after the start.

        Each is narrower than `width`; there are fewer than `height`.
        """
        room = max(1, min(_MAX_ROWS, height - 1)) - 1
        fans = list(self._iter_fan_out_lines())[: room // 2]
        room -= len(fans)
        leaves = [(path, run) for path, run in self._running.items() if not run.inner_attempts]
        shown = leaves if len(leaves) <= room else leaves[: max(room - 1, 0)]
        lines = [
            self._build_head(now, len(leaves), spinner),
            *fans,
            *_build_rows(shown, now, width),
        ]
        if room and len(shown) < len(leaves):
            lines.append([Styled("dim", f"  and {len(leaves) - len(shown)} more")])
        return [_clip_pieces(pieces, width - 1) for pieces in lines]

    def _iter_fan_out_lines(self) -> Iterator[list[TextPiece]]:
        for path, counted in self._item_counts.items():
            yield [f"  {shorten_path(path)}  {counted}"]

    def _build_head(self, now: float, running: int, spinner: str) -> list[TextPiece]:
        done = sum(self._finished_counts.values())
        pieces: list[TextPiece] = [
            Styled("busy", spinner),
            f" {format_elapsed(now)}  {done}/{self._total} done",
        ]
        if self._is_cancelling:
            pieces.append(Styled("odd", "  cancelling"))
        if self._finished_counts["failed"]:
            pieces.append(Styled("bad", f"  {self._finished_counts['failed']} failed"))
        pieces.append(f"  {running} running" if running else "")
        pieces.append(f"  {len(self._waiting_nodes)} waiting" if self._waiting_nodes else "")
        return pieces

    def _adjust_inner_attempts(self, path: str, by: int) -> None:
        outer = self._running.get("/".join(path.split("/")[:-2]))
        if outer:
            outer.inner_attempts += by


def _build_rows(
    attempts: list[tuple[str, _RunningAttempt]], now: float, width: int
) -> list[list[TextPiece]]:
    names = [clip_text(shorten_path(path), max(width // 2 - 2, 8)) for path, _ in attempts]
    most = max(map(text_width, names), default=0)
    return [
        [
            f"  {name}{' ' * (most - text_width(name))}  {format_elapsed(max(now - run.started, 0.0)):>6}",
            f"  {run.label}" if run.label != "attempt 1" else "",
            Styled("dim", f"  {run.note}" if run.note else ""),
        ]
        for name, (_, run) in zip(names, attempts, strict=True)
    ]


def _clip_pieces(pieces: list[TextPiece], width: int) -> list[TextPiece]:
    """Return the pieces, clipped to `width` columns."""
    found: list[TextPiece] = []
    for piece in pieces:
        text = clip_text(plain_text(piece), width)
        width -= text_width(text)
        found.append(text if isinstance(piece, str) else Styled(piece.style, text))
    return found


# -- the last messages -----------------------------------------------------------------------------


class LastNotes:
    """Collects the last progress messages of every step's latest attempt, unless it ended with exit 0."""

    def __init__(self, max_lines: int = 5) -> None:
        self._max_lines = max_lines
        self.by_path: dict[str, deque[str]] = {}

    def add_event(self, event: Event) -> None:
        """Update the notes with an event."""
        if event.kind == "attempt_started":
            self.by_path.pop(event.path, None)
        elif event.kind == "attempt_noted":
            notes = self.by_path.setdefault(event.path, deque(maxlen=self._max_lines))
            notes.append(str(event.data["message"]))
        elif event.kind == "attempt_ended" and event.data["outcome"] == 0:
            self.by_path.pop(event.path, None)
