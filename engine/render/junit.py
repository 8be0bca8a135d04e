"""Render findings as JUnit XML: one suite for each file, one case for each finding, and a passing case for a sound file.

Errors and warnings are `failure`s, of type `error` and `warning`, notes are left out; a file that could not be checked is
an `error`. Source: junit-10.xsd of Jenkins' xUnit plugin.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from engine.diagnostics import Diagnostic, Severity
from engine.render.formats import Report

__all__ = ["write"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(report: Report) -> str:
    """Render the document, in ASCII."""
    told = [each for each in report.found if each.severity is not Severity.NOTE]
    root = _counted("testsuites", "engine check", len(told), len(report.unread))
    for path in _paths(report):
        found = [each for each in told if str(each.source.path) == path]
        errors = [message for unread, message in report.unread if unread == path]
        suite = _counted("testsuite", path, len(found), len(errors))
        suite.extend([*map(_case, found), *(_error(path, message) for message in errors)])
        if not len(suite):
            Xml.SubElement(suite, "testcase", name="sound", classname=_clean(path))
        suite.set("tests", str(len(suite)))
        root.append(suite)
    root.set("tests", str(sum(map(len, root))))
    Xml.indent(root)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        + Xml.tostring(root, "unicode").encode("ascii", "xmlcharrefreplace").decode()
    )


def _paths(report: Report) -> Iterator[str]:
    """Yield every file once: those checked, those that findings name, those that could not be read."""
    found = (str(each.source.path) for each in report.found)
    return iter(dict.fromkeys([*report.files, *found, *(path for path, _ in report.unread)]))


def _counted(tag: str, name: str, failures: int, errors: int) -> Xml.Element:
    counts = {"tests": "0", "failures": str(failures), "errors": str(errors)}
    return Xml.Element(tag, {"name": _clean(name), **counts})


def _case(each: Diagnostic) -> Xml.Element:
    place = f"{each.source.path}:{each.span.line}:{each.span.column}"
    name = f"{each.rule.code} {each.rule.name} at line {each.span.line}, column {each.span.column}"
    case = Xml.Element("testcase", name=name, classname=_clean(str(each.source.path)))
    said = {"type": each.severity.value, "message": _clean(each.message)}
    failure = Xml.SubElement(case, "failure", said)
    help = f"\nhelp: {each.help}" if each.help else ""
    failure.text = _clean(f"{place}: {each.message}{help}")
    return case


def _error(path: str, message: str) -> Xml.Element:
    case = Xml.Element("testcase", name="readable", classname=_clean(path))
    Xml.SubElement(case, "error", type="unreadable", message=_clean(message))
    return case


def _clean(text: str) -> str:
    """Replace characters that XML does not allow by U+FFFD."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
