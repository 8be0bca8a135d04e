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
    Painter,
    Styled,
    TextPiece,
    escape_unprintable,
    format_elapsed_short,
    format_table,
    make_painter,
    plain_text,
    text_width,
    wrap_text,
)

__all__ = ["collect_notes", "render_nodes", "render_result", "result_to_json"]

_COLUMNS = ("node", "result", "label", "time", "attempts", "why")
_OPTIONAL_COLUMNS = ("attempts", "label", "time")
"""Columns that are left out on a narrow terminal, in this order."""
_STYLE_BY_STATUS = {
    "succeeded": "good",
    "failed": "bad",
    "skipped": "dim",
    "cancelled": "odd",
    "running": "busy",
    "pending": "dim",
    "interrupted": "odd",
    "waiting": "busy",
}
_MAX_LISTED = 10

NotesByPath = Mapping[str, Sequence[str]]
"""The last progress messages of attempts, by the path of their step."""


def render_result(
    result: Result,
    *,
    width: int | None = None,
    color: bool = False,
    notes: NotesByPath | None = None,
) -> str:
    """Render a result for people; without `width` lines are not wrapped."""
    paint = make_painter(color)
    parts = [render_nodes(result, width=width, color=color)] if result.nodes else []
    parts += ["\n".join(block) for block in _format_failures(result, "", notes or {}, paint, width)]
    if result.outputs:
        parts.append("\n".join(_format_outputs(result.outputs, paint)))
    parts.append(
        "\n".join(
            _wrap_lines(_format_verdict(result), _STYLE_BY_STATUS[result.status], paint, width)
        )
    )
    return "\n\n".join(parts)


def collect_notes(events: Iterable[Event]) -> NotesByPath:
    """Return the last progress messages by step, of a run that is over."""
    notes = progress.LastNotes()
    for event in events:
        notes.add_event(event)
    return notes.by_path


def render_nodes(result: Result, *, width: int | None = None, color: bool = False) -> str:
    """Render the table of nodes in the order of the file."""
    rows = [dict(zip(_COLUMNS, row, strict=True)) for row in _iter_rows(result, 0)]
    head = list(_COLUMNS)
    for name in _OPTIONAL_COLUMNS:
        if width is not None and _compute_fixed_width(head, rows) > width:
            head.remove(name)
    cells = [[row[name] for name in head] for row in rows]
    return "\n".join(
        format_table(head, cells, make_painter(color), width=width, right=("time", "attempts"))
    )


def result_to_json(result: Result) -> str:
    """Render the result as one JSON object in ASCII; no newline at the end."""
    return json.dumps(result.to_json(), indent=2)


def _iter_rows(result: Result, depth: int) -> Iterator[tuple[TextPiece, ...]]:
    for node in result.nodes.values():
        yield (
            "  " * depth + node.name,
            Styled(_STYLE_BY_STATUS[node.result], node.result),
            node.label or "",
            _format_time(node),
            str(sum(1 for _ in node.all_attempts())),
            escape_unprintable(node.reason.message),
        )
        inner = _find_last_sub_run(node)
        if inner is not None:
            yield from _iter_rows(inner, depth + 1)


def _compute_fixed_width(head: list[str], rows: list[dict[str, TextPiece]]) -> int:
    """Return the total width of all but the last column."""
    texts = ([name, *(plain_text(row[name]) for row in rows)] for name in head[:-1])
    return sum(max(map(text_width, column)) + 2 for column in texts) - 2


def _format_time(node: NodeResult) -> str:
    ran = list(node.all_attempts())
    ends = [attempt.ended for attempt in ran if attempt.ended is not None]
    return format_elapsed_short(max(ends) - min(each.started for each in ran)) if ends else ""


def _find_last_sub_run(node: NodeResult) -> Result | None:
    runs = [attempt.run for attempt in node.attempts if attempt.run]
    return runs[-1] if runs else None


def _format_failures(
    result: Result, prefix: str, notes: NotesByPath, paint: Painter, width: int | None
) -> Iterator[list[str]]:
    """Yield a block for each failed node: the reason, its last progress messages, and the nodes skipped because of it."""
    skipped = _group_skipped_by_failed(result)
    for node in result.nodes.values():
        if node.result != "failed":
            continue
        path = f"{prefix}{node.name}/{node.attempts[-1].step}" if node.attempts else ""
        inner = _find_last_sub_run(node)
        why = ": ".join([f"{prefix}{node.name} failed", *filter(None, [node.reason.message])])
        lines = _wrap_lines(escape_unprintable(why), "bad", paint, width)
        for note in notes.get(path, ()):
            lines += _wrap_lines(escape_unprintable(note), "dim", paint, width, "  | ")
        lines += _format_failed_items(node, prefix, notes, paint, width)
        led_to = skipped.get(node.name, [])
        if led_to:
            shown = ", ".join(led_to[:_MAX_LISTED]) + (
                f" and {len(led_to) - _MAX_LISTED} more" * (len(led_to) > _MAX_LISTED)
            )
            lines += _wrap_lines(f"skipped because of it: {shown}", "", paint, width, "  ")
        yield lines
        if inner is not None:
            yield from _format_failures(inner, f"{path}/", notes, paint, width)


def _format_failed_items(
    node: NodeResult, prefix: str, notes: NotesByPath, paint: Painter, width: int | None
) -> Iterator[str]:
    """Yield lines about the first failed items, with their last progress messages."""
    failed = [at for at, item in enumerate(node.items or ()) if item.result == "failed"]
    for at in failed[:_MAX_LISTED]:
        item = (node.items or ())[at]
        why = escape_unprintable(f"{node.name}[{at}]: {item.reason.message}")
        yield from _wrap_lines(why, "", paint, width, "  ")
        path = f"{prefix}{node.name}[{at}]/{item.attempts[-1].step}" if item.attempts else ""
        for note in notes.get(path, ()):
            yield from _wrap_lines(escape_unprintable(note), "dim", paint, width, "    | ")
    if len(failed) > _MAX_LISTED:
        yield from _wrap_lines(
            f"and {len(failed) - _MAX_LISTED} more items", "", paint, width, "  "
        )


def _group_skipped_by_failed(result: Result) -> dict[str, list[str]]:
    """Return, by failed node, the nodes that were skipped because of it, directly or through others."""
    roots: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for name in result.nodes:
        trail = []
        at = name
        while at not in roots and result.nodes[at].reason.caused_by:
            trail.append(at)
            at = result.nodes[at].reason.caused_by[0]
        root = roots.get(at, at)
        roots |= dict.fromkeys(trail, root)
        if root != name and result.nodes[root].result == "failed":
            found.setdefault(root, []).append(name)
    return found


def _format_outputs(outputs: Mapping[str, Any], paint: Painter) -> Iterator[str]:
    yield paint(Styled("head", "outputs"))
    most = max(map(text_width, outputs))
    for name, value in outputs.items():
        text = value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False)
        first, *more = [escape_unprintable(line) for line in text.split("\n")]
        if more:
            yield f"  {name}"
            yield from (f"    {line}".rstrip() for line in (first, *more))
        else:
            yield f"  {name:<{most}}  {first}"


def _format_verdict(result: Result) -> str:
    counts = Counter[str](node.result for node in result.nodes.values())
    listed = ", ".join(f"{counts[word]} {word}" for word in _STYLE_BY_STATUS if counts[word])
    ends = [
        a.ended
        for node in result.nodes.values()
        for a in node.all_attempts()
        if a.ended is not None
    ]
    time = format_elapsed_short(max(ends, default=0.0))
    tail = f": {result.message}" if result.message else ""
    counted = f" ({listed})" if listed else ""
    if result.status == "waiting":
        return escape_unprintable(f"{result.pipeline} waiting{counted} {result.message}")
    after = "" if result.status in ("running", "interrupted") else f" after {time}"
    return escape_unprintable(f"{result.pipeline} {result.status}{after}{counted}{tail}")


def _wrap_lines(
    text: str, style: str, paint: Painter, width: int | None, indent: str = ""
) -> list[str]:
    lines = [text] if width is None else wrap_text(text, max(width - len(indent), 1))
    return [paint(Styled(style, indent + line) if style else indent + line) for line in lines]
