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
from engine.render.formats import Report
from engine.render.text import columns, plural, printable
from engine.toml.source import Source, Span

__all__ = [
    "as_json",
    "concise",
    "hint",
    "human",
    "summary",
    "write_concise",
    "write_human",
    "write_json",
    "write_jsonl",
]

WIDEST = 120
"""The characters of a source line that are shown; of a longer line, those around the span."""
MOST_HINTED = 3
"""The number of codes that the help line names."""
BEFORE = 30
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
class _Pen:
    """Paints a text in a style, and escapes text from a file for the output's encoding."""

    paint: Callable[[str, str], str]
    encoding: str

    def __call__(self, style: str, text: str) -> str:
        return self.paint(style, text)

    def show(self, text: str) -> str:
        return printable(text).encode(self.encoding, "backslashreplace").decode(self.encoding)


@attrs.frozen
class _Mark:
    """An underlined span; `style` is a key of the colours."""

    span: Span
    style: str
    sign: str
    label: str = ""


def human(diagnostics: Iterable[Diagnostic], *, color: bool, encoding: str | None = "utf-8") -> str:
    """Render each finding with its source lines, notes and help, separated by empty lines.

    `color` adds ANSI colours and changes nothing else. Characters that `encoding` does not have are escaped
    here, where columns are counted.
    """
    paint = _Pen(_colored if color else _plain, encoding or "utf-8")
    return "\n\n".join("\n".join(_block(each, paint)) for each in diagnostics)


def concise(diagnostics: Iterable[Diagnostic]) -> str:
    """Render each finding on one line, `path:line:column: CODE name: message`; no newline at the end."""
    return "\n".join(
        f"{_place(each)}: {each.rule.code} {each.rule.name}: {printable(each.message)}"
        for each in diagnostics
    )


def as_json(diagnostics: Iterable[Diagnostic]) -> str:
    """Render the findings as a JSON list in ASCII; no newline at the end."""
    return json.dumps([each.to_json() for each in diagnostics], indent=2)


def write_human(report: Report) -> str:
    """Render the findings of a report, the summary, and the number of available fixes."""
    found = report.found
    shown = [human(found, color=report.color, encoding=report.encoding) + "\n"] if found else []
    shown += [summary(found, len(report.files))] if report.files else []
    return "\n".join([*shown, *_mendable(found), *([hint(found)] if found else [])])


def write_concise(report: Report) -> str:
    """Render the findings of a report, each on one line."""
    return concise(report.found)


def write_json(report: Report) -> str:
    """Render the findings of a report as a JSON list."""
    return as_json(report.found)


def write_jsonl(report: Report) -> str:
    """Render the findings of a report, each as JSON on one line."""
    return "\n".join(json.dumps(each.to_json()) for each in report.found)


def summary(diagnostics: Sequence[Diagnostic], files: int) -> str:
    """Summarise the findings in one line; `files` is the number of checked files."""
    if not diagnostics:
        return f"no problems found in {plural(files, 'file')}"
    found = [
        plural(number, severity.value)
        for severity in Severity
        if (number := sum(each.severity is severity for each in diagnostics))
    ]
    affected = len({str(each.source.path) for each in diagnostics})
    where = plural(affected, "file") if affected >= files else f"{affected} of {files} files"
    return f"found {' and '.join(found)} in {where}"


def hint(diagnostics: Iterable[Diagnostic]) -> str:
    """Return the line that names the command with more about some findings."""
    codes = list(dict.fromkeys(each.rule.code for each in diagnostics))
    return f"`engine explain {' '.join(codes[:MOST_HINTED])}` explains more"


def _mendable(diagnostics: Iterable[Diagnostic]) -> Iterator[str]:
    counts = Counter(each.fix.safety for each in diagnostics if each.fix)
    ways = ((counts[Safety.SAFE], "--fix"), (counts[Safety.UNSAFE], "--unsafe-fixes"))
    said = [f"{number} with `{option}`" for number, option in ways if number]
    if said:
        yield f"can be fixed: {', '.join(said)}"


def _block(diagnostic: Diagnostic, paint: _Pen) -> Iterator[str]:
    severity = diagnostic.severity.value
    marks = _marks(diagnostic)
    margin = " " * len(str(marks[-1].span.line))
    head = paint(severity, f"{severity}[{diagnostic.rule.code} {diagnostic.rule.name}]")
    yield head + paint("strong", f": {paint.show(diagnostic.message)}")
    yield f"{margin}{paint('note', '-->')} {paint.show(_place(diagnostic))}"
    yield paint("note", f"{margin} |")
    yield from _snippet(diagnostic.source, marks, margin, paint)
    if diagnostic.help is not None:
        label = paint("help", "help")
        yield f"{margin} {paint('note', '=')} {label}: {paint.show(diagnostic.help)}"


def _marks(diagnostic: Diagnostic) -> list[_Mark]:
    """Return the underlines in the order of lines; in one line the finding comes before its notes."""
    finding = _Mark(diagnostic.span, diagnostic.severity.value, "^")
    notes = [_Mark(note.span, "note", "-", note.message) for note in diagnostic.notes]
    return sorted([finding, *notes], key=lambda m: (m.span.line, m is not finding, m.span))


def _snippet(source: Source, marks: list[_Mark], margin: str, paint: _Pen) -> Iterator[str]:
    above: int | None = None
    for number, together in itertools.groupby(marks, key=lambda mark: mark.span.line):
        if above is not None and number > above + 1:
            yield paint("note", f"{margin} |")
        above = number
        yield from _annotated(source.line(number), number, list(together), margin, paint)


def _annotated(
    line: str, number: int, marks: list[_Mark], margin: str, paint: _Pen
) -> Iterator[str]:
    """Yield the source line, underlined for each mark; a line that is cut is shown again for each."""
    label = paint("note", f"{number:>{len(margin)}} |")
    shown: str | None = None
    for mark in marks:
        text, start, end = _window(line, mark.span, paint)
        if text != shown:
            shown = text
            yield f"{label} {text}".rstrip()
        underline = f"{mark.sign * (end - start)} {paint.show(mark.label)}".rstrip()
        yield f"{paint('note', f'{margin} |')} {' ' * start}{paint(mark.style, underline)}"


def _window(line: str, span: Span, paint: _Pen) -> tuple[str, int, int]:
    """Return the shown part of a line, and the columns in it at which the span begins and ends."""
    first = min(span.column - 1, len(line))
    last = min(span.end_column - 1, len(line)) if span.end_line == span.line else len(line)
    cut = max(0, min(first - BEFORE, len(line) - WIDEST))
    shown = line[cut : cut + WIDEST]
    head = "..." if cut else ""
    tail = "..." if cut + WIDEST < len(line) else ""
    start = len(head) + columns(paint.show(shown[: first - cut]))
    width = columns(paint.show(shown[first - cut : last - cut]))
    return head + paint.show(shown) + tail, start, start + max(width, 1)


def _place(diagnostic: Diagnostic) -> str:
    span = diagnostic.span
    return f"{printable(str(diagnostic.source.path))}:{span.line}:{span.column}"


def _colored(style: str, text: str) -> str:
    return f"{_COLORS[style]}{text}{_RESET}"


def _plain(style: str, text: str) -> str:
    return text
