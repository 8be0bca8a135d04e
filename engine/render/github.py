"""Render findings as GitHub workflow commands: `::error file=…,line=…::message`, one on each line.

Source: "Workflow commands for GitHub Actions", and the escapes of `actions/toolkit`'s `command.ts`.
Columns are given only for a span within one line: otherwise GitHub ignores the command.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Severity
from engine.render.formats import CheckReport

__all__ = ["write"]

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}


def write(report: CheckReport) -> str:
    """Render a command for each finding, and for each file that could not be checked."""
    unread = (
        _format_command("error", {"file": path}, message) for path, message in report.unreadable
    )
    return "\n".join([*map(_format_finding, report.diagnostics), *unread])


def _format_finding(diagnostic: Diagnostic) -> str:
    help = f" ({diagnostic.help})" if diagnostic.help else ""
    return _format_command(
        _COMMANDS[diagnostic.severity],
        dict(_iter_location_properties(diagnostic)),
        f"{diagnostic.message}{help}",
    )


def _iter_location_properties(diagnostic: Diagnostic) -> Iterator[tuple[str, str]]:
    span = diagnostic.span
    yield "file", str(diagnostic.source.path)
    yield "line", str(span.line)
    if span.line == span.end_line:
        yield "col", str(span.column)
        yield "endColumn", str(span.end_column)
    yield "endLine", str(span.end_line)
    yield "title", f"{diagnostic.rule.code} {diagnostic.rule.name}"


def _format_command(name: str, properties: dict[str, str], message: str) -> str:
    given = ",".join(f"{key}={_escape(text, _PROPERTY)}" for key, text in properties.items())
    return f"::{name} {given}::{_escape(message, _DATA)}"


def _escape(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
