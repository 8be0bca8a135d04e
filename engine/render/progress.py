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
from engine.render.text import Piece, Styled, bare, clip, columns, elapsed, printable

__all__ = ["PLAIN_SPINNER", "SPINNER", "Board", "Notes", "line", "short"]

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
PLAIN_SPINNER = "|/-\\"
_ROWS = 8
_TIME = 7
_TOLD = 10
"""The number of failed items that are reported."""


# -- a line an event -------------------------------------------------------------------------------


def line(event: Event) -> str | None:
    """Format the line of an event, `  12.3s  build/test  attempt 2: exit 2`, or None if the event needs no line."""
    said = _said(event)
    if said is None:
        return None
    counts = event.kind == "item_settled" and said[0].isdigit()
    path = event.path.rpartition("[")[0] if counts else event.path
    where = f"{short(path)}  " if path else ""
    return printable(f"{elapsed(event.time):>{_TIME}}  {where}{said}")


def short(path: str) -> str:
    """Return a path of nodes and steps without the steps that have their node's name."""
    parts = path.split("/")
    return "/".join(
        part
        for at, part in enumerate(parts)
        if at % 2 == 0 or part != parts[at - 1].partition("[")[0]
    )


def _said(event: Event) -> str | None:
    if event.path.endswith("]") or "]/" in event.path:
        return _of_item(event)
    return _plainly(event)


def _of_item(event: Event) -> str | None:
    """Describe an event of an item, or return None, as for most of them."""
    data = event.data
    match event.kind:
        case "attempt_started" | "attempt_ended" | "route_taken" | "retry_planned":
            return None
        case "item_settled":
            if data["result"] == "failed" and data["failed"] <= _TOLD:
                return f"{_settled(data)} ({_counted(data)})"
            return _counted(data) if data["result"] != "cancelled" and _tenth(data) else None
        case "node_settled" if data["result"] in ("succeeded", "skipped"):
            return None
        case _:
            return _plainly(event)


def _counted(data: Mapping[str, Any]) -> str:
    failed = f", {data['failed']} failed" if data["failed"] else ""
    return f"{data['done']}/{data['items']} items{failed}"


def _tenth(data: Mapping[str, Any]) -> bool:
    """Return whether this item completes another tenth of all items."""
    done, items = data["done"], data["items"]
    return bool(done * 10 // items > (done - 1) * 10 // items)


def _plainly(event: Event) -> str | None:
    data = event.data
    match event.kind:
        case "run_started":
            return f"{data['pipeline']} started, run {data['run']}"
        case "attempt_started":
            return "started" if _nth(data) == "attempt 1" else f"{_nth(data)} started"
        case "attempt_noted":
            return f"| {data['message']}"
        case "attempt_ended":
            return None if data["outcome"] == 0 else f"{_nth(data)}: {_outcome(data)}"
        case "retry_planned":
            return (
                f"attempt {data['attempt']} in {elapsed(data['delay'])}" if data["delay"] else None
            )
        case "route_taken":
            wait = f" in {elapsed(data['delay'])}" if data["delay"] else ""
            return f"next: {data['to']}{wait}"
        case "node_settled":
            return _settled(data)
        case "cancel_asked":
            return f"cancelling: {data['message']}"
        case _:
            return None


def _nth(data: Mapping[str, object]) -> str:
    visit = f"visit {data['visit']}, " if data["visit"] != 1 else ""
    return f"{visit}attempt {data['attempt']}"


def _outcome(data: Mapping[str, object]) -> str:
    outcome, error = data["outcome"], data["error"]
    if isinstance(outcome, int):
        return f"exit {outcome}"
    return f"{outcome}: {error}" if error else str(outcome)


def _settled(data: Mapping[str, object]) -> str:
    label = f" `{data['label']}`" if data["label"] not in (None, "success") else ""
    why = f": {data['message']}" if data["message"] else ""
    return f"{data['result']}{label}{why}"


# -- a few lines redrawn ---------------------------------------------------------------------------


@define
class _Running:
    started: float
    nth: str
    note: str = ""
    inner: int = 0
    """The number of attempts that run in this one, which is a sub-pipeline."""


class Board:
    """The state of a run of `total` nodes, as shown on a terminal."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._running: dict[str, _Running] = {}
        self._between: set[str] = set()
        self._done: Counter[str] = Counter()
        self._items: dict[str, str] = {}
        self._cancelling = False

    def feed(self, event: Event) -> None:
        """Update the view with an event."""
        path, data = event.path, event.data
        match event.kind:
            case "attempt_started":
                self._between.discard(path.rpartition("/")[0])
                self._running[path] = _Running(event.time, _nth(data))
                self._count_inner(path, 1)
            case "attempt_noted" if path in self._running:
                self._running[path].note = printable(str(data["message"]).strip())
            case "attempt_ended":
                self._between.add(path.rpartition("/")[0])
                if self._running.pop(path, None):
                    self._count_inner(path, -1)
            case "item_settled":
                self._between.discard(path)
                self._items[path.rpartition("[")[0]] = _counted(data)
            case "node_settled":
                self._between.discard(path)
                self._items.pop(path, None)
                if "/" not in path:
                    self._done[data["result"]] += 1
            case "cancel_asked":
                self._cancelling = True

    def frame(self, now: float, width: int, height: int, spin: str) -> list[list[Piece]]:
        """Return the lines to show at `now` seconds after the start.

        Each is narrower than `width`; there are fewer than `height`.
        """
        room = max(1, min(_ROWS, height - 1)) - 1
        fans = list(self._fans())[: room // 2]
        room -= len(fans)
        leaves = [(path, run) for path, run in self._running.items() if not run.inner]
        shown = leaves if len(leaves) <= room else leaves[: max(room - 1, 0)]
        lines = [self._head(now, len(leaves), spin), *fans, *_rows(shown, now, width)]
        if room and len(shown) < len(leaves):
            lines.append([Styled("dim", f"  and {len(leaves) - len(shown)} more")])
        return [_clipped(pieces, width - 1) for pieces in lines]

    def _fans(self) -> Iterator[list[Piece]]:
        for path, counted in self._items.items():
            yield [f"  {short(path)}  {counted}"]

    def _head(self, now: float, running: int, spin: str) -> list[Piece]:
        done = sum(self._done.values())
        pieces: list[Piece] = [Styled("busy", spin), f" {elapsed(now)}  {done}/{self._total} done"]
        if self._cancelling:
            pieces.append(Styled("odd", "  cancelling"))
        if self._done["failed"]:
            pieces.append(Styled("bad", f"  {self._done['failed']} failed"))
        pieces.append(f"  {running} running" if running else "")
        pieces.append(f"  {len(self._between)} waiting" if self._between else "")
        return pieces

    def _count_inner(self, path: str, by: int) -> None:
        outer = self._running.get("/".join(path.split("/")[:-2]))
        if outer:
            outer.inner += by


def _rows(shown: list[tuple[str, _Running]], now: float, width: int) -> list[list[Piece]]:
    names = [clip(short(path), max(width // 2 - 2, 8)) for path, _ in shown]
    most = max(map(columns, names), default=0)
    return [
        [
            f"  {name}{' ' * (most - columns(name))}  {elapsed(max(now - run.started, 0.0)):>6}",
            f"  {run.nth}" if run.nth != "attempt 1" else "",
            Styled("dim", f"  {run.note}" if run.note else ""),
        ]
        for name, (_, run) in zip(names, shown, strict=True)
    ]


def _clipped(pieces: list[Piece], width: int) -> list[Piece]:
    """Return the pieces, clipped to `width` columns."""
    found: list[Piece] = []
    for piece in pieces:
        text = clip(bare(piece), width)
        width -= columns(text)
        found.append(text if isinstance(piece, str) else Styled(piece.style, text))
    return found


# -- what is left of it ----------------------------------------------------------------------------


class Notes:
    """Collects the last progress messages of every step's latest attempt, unless it ended with exit 0."""

    def __init__(self, most: int = 5) -> None:
        self._most = most
        self.by_path: dict[str, deque[str]] = {}

    def feed(self, event: Event) -> None:
        """Update the notes with an event."""
        if event.kind == "attempt_started":
            self.by_path.pop(event.path, None)
        elif event.kind == "attempt_noted":
            notes = self.by_path.setdefault(event.path, deque(maxlen=self._most))
            notes.append(str(event.data["message"]))
        elif event.kind == "attempt_ended" and event.data["outcome"] == 0:
            self.by_path.pop(event.path, None)
