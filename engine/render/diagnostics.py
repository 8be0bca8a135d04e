"""Render diagnostics as text: for people with the source beneath, one line each, or JSON.

Text from a file or a name is escaped, so that it cannot control a terminal: characters that are not
printable are written as escapes. Tabs are shown as spaces, so that carets stand in the right column.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from engine.diagnostics import Diagnostic, Safety, Severity
from engine.render.formats import CheckReport
from engine.render.text import escape_unprintable, format_count, text_width
from engine.toml.source import Source, Span

__all__ = [
    "diagnostics_to_json",
    "format_help_line",
    "render_concise",
    "render_human",
    "summarise",
    "write_concise",
    "write_human",
    "write_json",
    "write_jsonl",
]

MAX_LINE_WIDTH = 120
"""The characters of a source line that are shown; of a longer line, those around the span."""
MAX_EXPLAINED_CODES = 3
"""The number of codes that the help line names."""
CONTEXT_BEFORE_SPAN = 30
"""The characters shown before the span in a line that is cut."""

_COLORS = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "note": "\x1b[1;34m",
    "help": "\x1b[1;36m",
    "strong": "\x1b[1m",
}
_RESET = "\x1b[0m"


@attrs.frozen
class _Painter:
    """Paints a text in a style, and escapes text from a file for the output's encoding."""

    paint: Callable[[str, str], str]
    encoding: str

    def __call__(self, style: str, text: str) -> str:
        return self.paint(style, text)

    def escape(self, text: str) -> str:
        return (
            escape_unprintable(text).encode(self.encoding, "backslashreplace").decode(self.encoding)
        )


@attrs.frozen
class _Underline:
    """An underlined span; `style` is a key of the colours."""

    span: Span
    style: str
    marker: str
    label: str = ""


def render_human(
    diagnostics: Iterable[Diagnostic], *, color: bool, encoding: str | None = "utf-8"
) -> str:
    """Render each finding with its source lines, notes and help, separated by empty lines.

    `color` adds ANSI colours and changes nothing else. Characters that `encoding` does not have are escaped
    here, where columns are counted.
    """
    paint = _Painter(_paint_colored if color else _paint_plain, encoding or "utf-8")
    return "\n\n".join("\n".join(_format_finding(each, paint)) for each in diagnostics)


def render_concise(diagnostics: Iterable[Diagnostic]) -> str:
    """Render each finding on one line, `path:line:column: CODE name: message`; no newline at the end."""
    return "\n".join(
        f"{_format_location(each)}: {each.rule.code} {each.rule.name}: {escape_unprintable(each.message)}"
        for each in diagnostics
    )


def diagnostics_to_json(diagnostics: Iterable[Diagnostic]) -> str:
    """Render the findings as a JSON list in ASCII; no newline at the end."""
    return json.dumps([each.to_json() for each in diagnostics], indent=2)


def write_human(report: CheckReport) -> str:
    """Render the findings of a report, the summary, and the number of available fixes."""
    found = report.diagnostics
    shown = (
        [render_human(found, color=report.color, encoding=report.encoding) + "\n"] if found else []
    )
    shown += [summarise(found, len(report.files))] if report.files else []
    return "\n".join(
        [*shown, *_describe_fixable(found), *([format_help_line(found)] if found else [])]
    )


def write_concise(report: CheckReport) -> str:
    """Render the findings of a report, each on one line."""
    return render_concise(report.diagnostics)


def write_json(report: CheckReport) -> str:
    """Render the findings of a report as a JSON list."""
    return diagnostics_to_json(report.diagnostics)


def write_jsonl(report: CheckReport) -> str:
    """Render the findings of a report, each as JSON on one line."""
    return "\n".join(json.dumps(each.to_json()) for each in report.diagnostics)


def summarise(diagnostics: Sequence[Diagnostic], files: int) -> str:
    """Summarise the findings in one line; `files` is the number of checked files."""
    if not diagnostics:
        return f"no problems found in {format_count(files, 'file')}"
    found = [
        format_count(number, severity.value)
        for severity in Severity
        if (number := sum(each.severity is severity for each in diagnostics))
    ]
    affected = len({str(each.source.path) for each in diagnostics})
    where = format_count(affected, "file") if affected >= files else f"{affected} of {files} files"
    return f"found {' and '.join(found)} in {where}"


def format_help_line(diagnostics: Iterable[Diagnostic]) -> str:
    """Return the line that names the command with more about some findings."""
    codes = list(dict.fromkeys(each.rule.code for each in diagnostics))
    return f"`engine explain {' '.join(codes[:MAX_EXPLAINED_CODES])}` explains more"


def _describe_fixable(diagnostics: Iterable[Diagnostic]) -> Iterator[str]:
    counts = Counter(each.fix.safety for each in diagnostics if each.fix)
    ways = ((counts[Safety.SAFE], "--fix"), (counts[Safety.UNSAFE], "--unsafe-fixes"))
    said = [f"{number} with `{option}`" for number, option in ways if number]
    if said:
        yield f"can be fixed: {', '.join(said)}"


def _format_finding(diagnostic: Diagnostic, paint: _Painter) -> Iterator[str]:
    severity = diagnostic.severity.value
    marks = _list_underlines(diagnostic)
    margin = " " * len(str(marks[-1].span.line))
    head = paint(severity, f"{severity}[{diagnostic.rule.code} {diagnostic.rule.name}]")
    yield head + paint("strong", f": {paint.escape(diagnostic.message)}")
    yield f"{margin}{paint('note', '-->')} {paint.escape(_format_location(diagnostic))}"
    yield paint("note", f"{margin} |")
    yield from _format_snippet(diagnostic.source, marks, margin, paint)
    if diagnostic.help is not None:
        label = paint("help", "help")
        yield f"{margin} {paint('note', '=')} {label}: {paint.escape(diagnostic.help)}"


def _list_underlines(diagnostic: Diagnostic) -> list[_Underline]:
    """Return the underlines in the order of lines; in one line the finding comes before its notes."""
    finding = _Underline(diagnostic.span, diagnostic.severity.value, "^")
    notes = [_Underline(note.span, "note", "-", note.message) for note in diagnostic.notes]
    return sorted([finding, *notes], key=lambda m: (m.span.line, m is not finding, m.span))


def _format_snippet(
    source: Source, marks: list[_Underline], margin: str, paint: _Painter
) -> Iterator[str]:
    above: int | None = None
    for number, together in itertools.groupby(marks, key=lambda mark: mark.span.line):
        if above is not None and number > above + 1:
            yield paint("note", f"{margin} |")
        above = number
        yield from _format_annotated_line(
            source.line_text(number), number, list(together), margin, paint
        )


def _format_annotated_line(
    line: str, number: int, marks: list[_Underline], margin: str, paint: _Painter
) -> Iterator[str]:
    """Yield the source line, underlined for each mark; a line that is cut is shown again for each."""
    label = paint("note", f"{number:>{len(margin)}} |")
    shown: str | None = None
    for mark in marks:
        text, start, end = _cut_line(line, mark.span, paint)
        if text != shown:
            shown = text
            yield f"{label} {text}".rstrip()
        underline = f"{mark.marker * (end - start)} {paint.escape(mark.label)}".rstrip()
        yield f"{paint('note', f'{margin} |')} {' ' * start}{paint(mark.style, underline)}"


def _cut_line(line: str, span: Span, paint: _Painter) -> tuple[str, int, int]:
    """Return the shown part of a line, and the columns in it at which the span begins and ends."""
    first = min(span.column - 1, len(line))
    last = min(span.end_column - 1, len(line)) if span.end_line == span.line else len(line)
    cut = max(0, min(first - CONTEXT_BEFORE_SPAN, len(line) - MAX_LINE_WIDTH))
    shown = line[cut : cut + MAX_LINE_WIDTH]
    head = "..." if cut else ""
    tail = "..." if cut + MAX_LINE_WIDTH < len(line) else ""
    start = len(head) + text_width(paint.escape(shown[: first - cut]))
    width = text_width(paint.escape(shown[first - cut : last - cut]))
    return head + paint.escape(shown) + tail, start, start + max(width, 1)


def _format_location(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    return f"{escape_unprintable(str(diagnostic.source.path))}:{span.line}:{span.column}"


def _paint_colored(style: str, text: str) -> str:
    return f"{_COLORS[style]}{text}{_RESET}"


def _paint_plain(style: str, text: str) -> str:
    return text
