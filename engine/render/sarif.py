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
from engine.render.formats import CheckReport
from engine.toml.source import Span
from engine.version import __version__

__all__ = ["write"]

SARIF_SCHEMA_URL = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


DOCUMENTATION = "https://example.org/engine/"
"""The address of the documentation: `site_url` in mkdocs.yml."""


def write(report: CheckReport) -> str:
    """Render the log, in ASCII."""
    rules = list({each.rule.code: each.rule for each in report.diagnostics}.values())
    rules.sort(key=lambda rule: rule.code)
    index = {rule.code: at for at, rule in enumerate(rules)}
    run = {
        "tool": {"driver": _driver_to_json(rules)},
        "columnKind": "unicodeCodePoints",
        "invocations": [_invocation_to_json(report)],
        "artifacts": [{"location": _artifact_to_json(path)} for path in report.files],
        "results": [_finding_to_json(each, index[each.rule.code]) for each in report.diagnostics],
    }
    log = {"$schema": SARIF_SCHEMA_URL, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=2)


def _driver_to_json(rules: list[Rule]) -> dict[str, Any]:
    return {
        "name": "engine",
        "version": __version__,
        "semanticVersion": __version__,
        "rules": [_rule_to_json(rule) for rule in rules],
    }


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    page = _get_rule_page(rule)
    return {
        "id": rule.code,
        "name": "".join(part.title() for part in rule.name.split("-")),
        "shortDescription": {"text": rule.summary},
        "help": {"text": page, "markdown": page},
        "helpUri": f"{DOCUMENTATION}reference/rules/{rule.name}/",
        "defaultConfiguration": {"level": rule.severity.value},
    }


def _get_rule_page(rule: Rule) -> str:
    """Return the page of a rule, or its summary if it has none."""
    from engine.rules import ALL_RULES, read_page

    return read_page(rule) if rule in ALL_RULES else rule.summary


def _invocation_to_json(report: CheckReport) -> dict[str, Any]:
    notes = [
        {"level": "error", "message": {"text": message}, "locations": [_location_to_json(path)]}
        for path, message in report.unreadable
    ]
    found = {"executionSuccessful": not notes}
    return found | {"toolExecutionNotifications": notes} if notes else found


def _finding_to_json(diagnostic: Diagnostic, index: int) -> dict[str, Any]:
    path = str(diagnostic.source.path)
    help = f"\n{diagnostic.help}" if diagnostic.help else ""
    result = {
        "ruleId": diagnostic.rule.code,
        "ruleIndex": index,
        "level": diagnostic.severity.value,
        "message": {"text": f"{diagnostic.message}{help}"},
        "locations": [_location_to_json(path, diagnostic.span)],
    }
    if diagnostic.notes:
        result["relatedLocations"] = [
            {"id": at, **_location_to_json(path, note.span), "message": {"text": note.message}}
            for at, note in enumerate(diagnostic.notes)
        ]
    if diagnostic.fix:
        change = {
            "artifactLocation": _artifact_to_json(path),
            "replacements": [_edit_to_json(edit) for edit in diagnostic.fix.edits],
        }
        result["fixes"] = [
            {"description": {"text": diagnostic.fix.message}, "artifactChanges": [change]}
        ]
    return result


def _edit_to_json(edit: Edit) -> dict[str, Any]:
    return {"deletedRegion": _span_to_json(edit.span), "insertedContent": {"text": edit.text}}


def _location_to_json(path: str, span: Span | None = None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": _artifact_to_json(path)}
    if span:
        place["region"] = _span_to_json(span)
    return {"physicalLocation": place}


def _span_to_json(span: Span) -> dict[str, int]:
    return {
        "startLine": span.line,
        "startColumn": span.column,
        "endLine": span.end_line,
        "endColumn": span.end_column,
    }


def _artifact_to_json(path: str) -> dict[str, str]:
    found = Path(path)
    if found.is_absolute() and found.is_relative_to(Path.cwd()):
        found = found.relative_to(Path.cwd())
    uri = quote(found.as_posix())
    return {"uri": f"file://{uri}"} if found.is_absolute() else {"uri": uri}
