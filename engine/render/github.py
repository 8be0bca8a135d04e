"""Render findings as GitHub workflow commands: `::error file=…,line=…::message`, one on each line.

Source: "Workflow commands for GitHub Actions", and the escapes of `actions/toolkit`'s `command.ts`.
Columns are given only for a span within one line: otherwise GitHub ignores the command.
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.diagnostics import Diagnostic, Severity
from engine.render.formats import Report

__all__ = ["write"]

_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}
_DATA = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY = _DATA | {":": "%3A", ",": "%2C"}


def write(report: Report) -> str:
    """Render a command for each finding, and for each file that could not be checked."""
    unread = (_command("error", {"file": path}, message) for path, message in report.unread)
    return "\n".join([*map(_finding, report.found), *unread])


def _finding(each: Diagnostic) -> str:
    help = f" ({each.help})" if each.help else ""
    return _command(_COMMANDS[each.severity], dict(_place(each)), f"{each.message}{help}")


def _place(each: Diagnostic) -> Iterator[tuple[str, str]]:
    span = each.span
    yield "file", str(each.source.path)
    yield "line", str(span.line)
    if span.line == span.end_line:
        yield "col", str(span.column)
        yield "endColumn", str(span.end_column)
    yield "endLine", str(span.end_line)
    yield "title", f"{each.rule.code} {each.rule.name}"


def _command(name: str, properties: dict[str, str], message: str) -> str:
    given = ",".join(f"{key}={_escaped(text, _PROPERTY)}" for key, text in properties.items())
    return f"::{name} {given}::{_escaped(message, _DATA)}"


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
