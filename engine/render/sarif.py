"""Render findings as SARIF 2.1.0: rules with their pages, results with regions, related locations and fixes.

Columns count code points. Paths below the working directory are URIs relative to it.
Source: OASIS, Static Analysis Results Interchange Format 2.1.0.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.diagnostics import Diagnostic, Edit, Rule
from engine.render.formats import Report
from engine.toml.source import Span
from engine.version import __version__

__all__ = ["write"]

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


DOCUMENTATION = "https://example.org/engine/"
"""Where the documentation is published: `site_url` in mkdocs.yml."""


def write(report: Report) -> str:
    """Render the log, in ASCII."""
    rules = list({each.rule.code: each.rule for each in report.found}.values())
    rules.sort(key=lambda rule: rule.code)
    index = {rule.code: at for at, rule in enumerate(rules)}
    run = {
        "tool": {"driver": _driver(rules)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation(report)],
        "artifacts": [{"location": _location(path)} for path in report.files],
        "results": [_result(each, index[each.rule.code]) for each in report.found],
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2)


def _driver(rules: list[Rule]) -> dict[str, Any]:
    return {
        "name": "engine",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule(rule) for rule in rules],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    page = _page(rule)
    return {
        "id": rule.code,
        "name": "".join(part.title() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "help": {"text": page, "markdown": page},
        "helpUri": f"{DOCUMENTATION}reference/rules/{rule.name}/",
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _page(rule: Rule) -> str:
    """Return the page of a rule, or its summary if it has none."""
    from engine.rules import ALL, page

    return page(rule) if rule in ALL else rule.summary


def _invocation(report: Report) -> dict[str, Any]:
    notes = [
        {"level": "error", "message": {"text": message}, "locations": [_place(path)]}
        for path, message in report.unread
    ]
    found = {"executionSuccessful": not notes}
    return found | {"toolExecutionNotifications": notes} if notes else found


def _result(each: Diagnostic, index: int) -> dict[str, Any]:
    path = str(each.source.path)
    help = f"\n{each.help}" if each.help else ""
    result = {
        "ruleId": each.rule.code,
        "ruleIndex": index,
        "level": each.severity.value,
        "message": {"text": f"{each.message}{help}"},
        "locations": [_place(path, each.span)],
    }
    if each.notes:
        result["relatedLocations"] = [
            {"id": at, **_place(path, note.span), "message": {"text": note.message}}
            for at, note in enumerate(each.notes)
        ]
    if each.fix:
        change = {
            "artifactLocation": _location(path),
            "replacements": [_replacement(edit) for edit in each.fix.edits],
        }
        result["fixes"] = [{"description": {"text": each.fix.message}, "artifactChanges": [change]}]
    return result


def _replacement(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": _region(edit.span), "insertedContent": {"text": edit.text}}


def _place(path: str, span: Span | None = None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _location(path)}
    if span:
        place["region"] = _region(span)
    return {"physicalLocation": place}


def _region(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _location(path: str) -> dict[str, str]:
    found = Path(path)
    if found.is_absolute() and found.is_relative_to(Path.cwd()):
        found = found.relative_to(Path.cwd())
    uri = quote(found.as_posix())
    return {"uri": f"file://{uri}"} if found.is_absolute() else {"uri": uri}
