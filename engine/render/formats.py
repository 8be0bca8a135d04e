"""The formats of `engine check`; FORMATS is the table of them all.

A format turns a CheckReport into text, without a newline at the end; empty text is not printed. Each is
imported when it is first used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from engine.base.classes import frozen
from engine.diagnostics import Diagnostics

__all__ = ["FORMATS", "CheckReport", "render_report"]

FORMATS: Mapping[str, str] = {
    "human": "for people: each finding with its source, then a summary",
    "concise": "one line per finding",
    "json": "one list of objects",
    "jsonl": "one object per line",
    "sarif": "SARIF 2.1.0, for code scanning",
    "github": "workflow commands of GitHub, which annotate the lines of a pull request",
    "junit": "JUnit XML, a test case for each file and finding",
}
"""The formats by name, with a description.

The function of a format is in `engine.render.NAME` or, for text and JSON, in `engine.render.diagnostics`.
"""

_FORMATS_WITH_MODULE = frozenset({"sarif", "github", "junit"})


def render_report(name: str, report: CheckReport) -> str:
    """Render a report in one of the FORMATS."""
    module = import_module(
        f"engine.render.{name if name in _FORMATS_WITH_MODULE else 'diagnostics'}"
    )
    text: str = getattr(module, "write" if name in _FORMATS_WITH_MODULE else f"write_{name}")(
        report
    )
    return text


@frozen
class CheckReport:
    """The findings of a check, the `files` that were checked, and why others could not be."""

    diagnostics: Diagnostics
    files: tuple[str, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = ()
    """Path and error message of each file that could not be checked."""
    color: bool = False
    encoding: str = "utf-8"
    """The encoding of the stream to which the report is written."""
