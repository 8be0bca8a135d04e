"""Render a result as text: a table of nodes with the reason for each end, the failures, the outputs, and the verdict.

Nodes of a sub-pipeline are indented below the node that ran it; of several runs, the last one is shown. Of a fan-out
only the first failed items are shown.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from engine.record.events import Event
from engine.record.result import NodeResult, Result
from engine.render import progress
from engine.render.text import (
    Paint,
    Piece,
    Styled,
    bare,
    columns,
    duration,
    painter,
    printable,
    table,
    wrap,
)

__all__ = ["as_json", "last_lines", "nodes", "report"]

_HEAD = ("node", "result", "label", "time", "attempts", "why")
_GIVEN_UP = ("attempts", "label", "time")
"""Columns that are left out on a narrow terminal, in this order."""
_STYLES = {
    "succeeded": "good",
    "failed": "bad",
    "skipped": "dim",
    "cancelled": "odd",
    "running": "busy",
    "pending": "dim",
    "interrupted": "odd",
    "waiting": "busy",
}
_MOST = 10

Notes = Mapping[str, Sequence[str]]
"""The last progress messages of attempts, by the path of their step."""


def report(
    result: Result, *, width: int | None = None, color: bool = False, notes: Notes | None = None
) -> str:
    """Render a result for people; without `width` lines are not wrapped."""
    paint = painter(color)
    parts = [nodes(result, width=width, color=color)] if result.nodes else []
    parts += ["\n".join(block) for block in _failures(result, "", notes or {}, paint, width)]
    if result.outputs:
        parts.append("\n".join(_outputs(result.outputs, paint)))
    parts.append("\n".join(_lines(_verdict(result), _STYLES[result.status], paint, width)))
    return "\n\n".join(parts)


def last_lines(events: Iterable[Event]) -> Notes:
    """Return the last progress messages by step, of a run that is over."""
    notes = progress.Notes()
    for event in events:
        notes.feed(event)
    return notes.by_path


def nodes(result: Result, *, width: int | None = None, color: bool = False) -> str:
    """Render the table of nodes in the order of the file."""
    rows = [dict(zip(_HEAD, row, strict=True)) for row in _rows(result, 0)]
    head = list(_HEAD)
    for name in _GIVEN_UP:
        if width is not None and _fixed(head, rows) > width:
            head.remove(name)
    cells = [[row[name] for name in head] for row in rows]
    return "\n".join(table(head, cells, painter(color), width=width, right=("time", "attempts")))


def as_json(result: Result) -> str:
    """Render the result as one JSON object in ASCII; no newline at the end."""
    return json.dumps(result.to_json(), indent=2)


def _rows(result: Result, depth: int) -> Iterator[tuple[Piece, ...]]:
    for node in result.nodes.values():
        yield (
            "  " * depth + node.name,
            Styled(_STYLES[node.result], node.result),
            node.label or "",
            _time(node),
            str(sum(1 for _ in node.ran())),
            printable(node.reason.message),
        )
        inner = _inner(node)
        if inner is not None:
            yield from _rows(inner, depth + 1)


def _fixed(head: list[str], rows: list[dict[str, Piece]]) -> int:
    """Return the total width of all but the last column."""
    texts = ([name, *(bare(row[name]) for row in rows)] for name in head[:-1])
    return sum(max(map(columns, column)) + 2 for column in texts) - 2


def _time(node: NodeResult) -> str:
    ran = list(node.ran())
    ends = [attempt.ended for attempt in ran if attempt.ended is not None]
    return duration(max(ends) - min(each.started for each in ran)) if ends else ""


def _inner(node: NodeResult) -> Result | None:
    runs = [attempt.run for attempt in node.attempts if attempt.run]
    return runs[-1] if runs else None


def _failures(
    result: Result, prefix: str, notes: Notes, paint: Paint, width: int | None
) -> Iterator[list[str]]:
    """Yield a block for each failed node: the reason, its last progress messages, and the nodes skipped because of it."""
    skipped = _skipped(result)
    for node in result.nodes.values():
        if node.result != "failed":
            continue
        path = f"{prefix}{node.name}/{node.attempts[-1].step}" if node.attempts else ""
        inner = _inner(node)
        why = ": ".join([f"{prefix}{node.name} failed", *filter(None, [node.reason.message])])
        lines = _lines(printable(why), "bad", paint, width)
        for note in notes.get(path, ()):
            lines += _lines(printable(note), "dim", paint, width, "  | ")
        lines += _items(node, prefix, notes, paint, width)
        led_to = skipped.get(node.name, [])
        if led_to:
            shown = ", ".join(led_to[:_MOST]) + (
                f" and {len(led_to) - _MOST} more" * (len(led_to) > _MOST)
            )
            lines += _lines(f"skipped because of it: {shown}", "", paint, width, "  ")
        yield lines
        if inner is not None:
            yield from _failures(inner, f"{path}/", notes, paint, width)


def _items(
    node: NodeResult, prefix: str, notes: Notes, paint: Paint, width: int | None
) -> Iterator[str]:
    """Yield lines about the first failed items, with their last progress messages."""
    failed = [at for at, item in enumerate(node.items or ()) if item.result == "failed"]
    for at in failed[:_MOST]:
        item = (node.items or ())[at]
        why = printable(f"{node.name}[{at}]: {item.reason.message}")
        yield from _lines(why, "", paint, width, "  ")
        path = f"{prefix}{node.name}[{at}]/{item.attempts[-1].step}" if item.attempts else ""
        for note in notes.get(path, ()):
            yield from _lines(printable(note), "dim", paint, width, "    | ")
    if len(failed) > _MOST:
        yield from _lines(f"and {len(failed) - _MOST} more items", "", paint, width, "  ")


def _skipped(result: Result) -> dict[str, list[str]]:
    """Return, by failed node, the nodes that were skipped because of it, directly or through others."""
    roots: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for name in result.nodes:
        trail = []
        at = name
        while at not in roots and result.nodes[at].reason.because:
            trail.append(at)
            at = result.nodes[at].reason.because[0]
        root = roots.get(at, at)
        roots |= dict.fromkeys(trail, root)
        if root != name and result.nodes[root].result == "failed":
            found.setdefault(root, []).append(name)
    return found


def _outputs(outputs: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    yield paint(Styled("head", "outputs"))
    most = max(map(columns, outputs))
    for name, value in outputs.items():
        text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
        first, *more = [printable(line) for line in text.split("\n")]
        if more:
            yield f"  {name}"
            yield from (f"    {line}".rstrip() for line in (first, *more))
        else:
            yield f"  {name:<{most}}  {first}"


def _verdict(result: Result) -> str:
    counts = Counter[str](node.result for node in result.nodes.values())
    listed = ", ".join(f"{counts[word]} {word}" for word in _STYLES if counts[word])
    ends = [a.ended for node in result.nodes.values() for a in node.ran() if a.ended is not None]
    time = duration(max(ends, default=0.0))
    tail = f": {result.message}" if result.message else ""
    counted = f" ({listed})" if listed else ""
    if result.status == "waiting":
        return printable(f"{result.pipeline} waiting{counted} {result.message}")
    return printable(f"{result.pipeline} {result.status} after {time}{counted}{tail}")


def _lines(text: str, style: str, paint: Paint, width: int | None, indent: str = "") -> list[str]:
    lines = [text] if width is None else wrap(text, max(width - len(indent), 1))
    return [paint(Styled(style, indent + line) if style else indent + line) for line in lines]
