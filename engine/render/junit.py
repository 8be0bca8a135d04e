"""Render findings as JUnit XML: one suite for each file, one case for each finding, and a passing case for a sound file.

Errors and warnings are `failure`s, of type `error` and `warning`, notes are left out; a file that could not be checked is
an `error`. Source: junit-10.xsd of Jenkins' xUnit plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from engine.diagnostics import Diagnostic, Severity
from engine.render.formats import CheckReport

__all__ = ["write"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: CheckReport) -> str:
    """Render the document, in ASCII."""
    findings = [each for each in report.diagnostics if each.severity is not Severity.NOTE]
    root = _build_element("testsuites", "engine check", len(findings), len(report.unreadable))
    for path in _iter_paths(report):
        found = [each for each in findings if str(each.source.path) == path]
        errors = [message for unread, message in report.unreadable if unread == path]
        suite = _build_element("testsuite", path, len(found), len(errors))
        suite.extend(
            [*map(_build_case, found), *(_build_error_case(path, message) for message in errors)]
        )
        if not len(suite):
            Xml.SubElement(suite, "testcase", name="sound", classname=_replace_invalid(path))
        suite.set("tests", str(len(suite)))
        root.append(suite)
    root.set("tests", str(sum(map(len, root))))
    Xml.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + Xml.tostring(root, "unicode").encode("ascii", "xmlcharrefreplace").decode()
    )


def _iter_paths(report: CheckReport) -> Iterator[str]:
    """Yield every file once: those checked, those that findings name, those that could not be read."""
    found = (str(each.source.path) for each in report.diagnostics)
    return iter(dict.fromkeys([*report.files, *found, *(path for path, _ in report.unreadable)]))


def _build_element(tag: str, name: str, failures: int, errors: int) -> Xml.Element:
    counts = {"tests": "0", "failures": str(failures), "errors": str(errors)}
    return Xml.Element(tag, {"name": _replace_invalid(name), **counts})


def _build_case(diagnostic: Diagnostic) -> Xml.Element:
    place = f"{diagnostic.source.path}:{diagnostic.span.line}:{diagnostic.span.column}"
    name = f"{diagnostic.rule.code} {diagnostic.rule.name} at line {diagnostic.span.line}, column {diagnostic.span.column}"
    case = Xml.Element(
        "testcase", name=name, classname=_replace_invalid(str(diagnostic.source.path))
    )
    said = {"type": diagnostic.severity.value, "message": _replace_invalid(diagnostic.message)}
    failure = Xml.SubElement(case, "failure", said)
    help = f"\nhelp: {diagnostic.help}" if diagnostic.help else ""
    failure.text = _replace_invalid(f"{place}: {diagnostic.message}{help}")
    return case


def _build_error_case(path: str, message: str) -> Xml.Element:
    case = Xml.Element("testcase", name="readable", classname=_replace_invalid(path))
    Xml.SubElement(case, "error", type="unreadable", message=_replace_invalid(message))
    return case


def _replace_invalid(text: str) -> str:
    """Replace characters that XML does not allow by U+FFFD."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
