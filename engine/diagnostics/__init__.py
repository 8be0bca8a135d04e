"""Diagnostics: the findings of `engine check`, as values.

A `Rule` is a code and a name, stable for ever. A `Diagnostic` stands alone: its message needs no other, the advice is
in `help`, and `notes` point at further places ("the loop goes on here"). Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import attrs

from engine.base.classes import frozen
from engine.toml.source import Source, Span

__all__ = ["Diagnostic", "Diagnostics", "Edit", "Fix", "RelatedSpan", "Rule", "Safety", "Severity"]


class Severity(StrEnum):
    """The severity of a finding.

    An error keeps a spec from compiling or running, a warning does not; a note says what the check left undecided and
    never affects the exit code.
    """

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Safety(StrEnum):
    """Whether a fix may be applied without review.

    A safe fix keeps the evident intention of the author; an unsafe one makes a decision for them.
    """

    SAFE = "safe"
    UNSAFE = "unsafe"


@frozen
class Rule:
    """One kind of finding: a code ("E301"), a name ("infinite-retry") and a summary of one line."""

    code: str
    name: str
    summary: str

    @property
    def severity(self) -> Severity:
        """The default severity: `error` for E codes, `warning` for W codes, `note` for N codes."""
        return _SEVERITIES[self.code[0]]


_SEVERITIES = {"E": Severity.ERROR, "W": Severity.WARNING, "N": Severity.NOTE}


@frozen
class RelatedSpan:
    """A second location that explains a finding."""

    message: str
    span: Span


@frozen
class Edit:
    """A span of a text and its replacement."""

    span: Span
    text: str


@frozen
class Fix:
    """A correction of a finding; all of its edits, in the finding's own source, are applied or none."""

    message: str
    edits: tuple[Edit, ...]
    safety: Safety = Safety.SAFE

    def to_json(self) -> dict[str, object]:
        """Return the fix as JSON data; lines and columns count from 1, the end is exclusive."""
        edits = [{**attrs.asdict(edit.span), "text": edit.text} for edit in self.edits]
        return {"message": self.message, "safety": self.safety.value, "edits": edits}


@frozen
class Diagnostic:
    """One finding at one location."""

    rule: Rule
    message: str
    source: Source
    span: Span
    help: str | None = None
    node: str | None = None
    step: str | None = None
    notes: tuple[RelatedSpan, ...] = ()
    fix: Fix | None = None
    level: Severity | None = None
    """The severity from the user's settings, or None to use the rule's own."""

    @property
    def severity(self) -> Severity:
        """The severity from the settings if they give one, else that of the rule."""
        return self.level or self.rule.severity

    @property
    def sort_key(self) -> tuple[object, ...]:
        """The order in which findings are shown: file, span, code, message."""
        return (str(self.source.path), self.span, self.rule.code, self.message)

    def __str__(self) -> str:
        head = f"{self.source.path}:{self.span.line}:{self.span.column}: "
        tail = f" ({self.help})" if self.help else ""
        return f"{head}{self.rule.code} {self.rule.name}: {self.message}{tail}"

    def to_json(self) -> dict[str, object]:
        """Return the finding as JSON data; lines and columns count from 1, the end is exclusive.

        Source: docs/language.md, "Diagnostics".
        """
        return {
            "code": self.rule.code,
            "name": self.rule.name,
            "severity": self.severity.value,
            "message": self.message,
            "help": self.help,
            "path": str(self.source.path),
            "line": self.span.line,
            "column": self.span.column,
            "end_line": self.span.end_line,
            "end_column": self.span.end_column,
            "node": self.node,
            "step": self.step,
            "fix": self.fix.to_json() if self.fix else None,
        }


class Diagnostics(tuple[Diagnostic, ...]):
    """All findings of a phase, sorted by file and span, each once."""

    __slots__ = ()

    @classmethod
    def collect(cls, findings: Iterable[Diagnostic]) -> Diagnostics:
        """Build a sorted collection from findings, without duplicates."""
        unique = {(d.sort_key, d.node, d.step): d for d in findings}
        return cls(sorted(unique.values(), key=lambda d: d.sort_key))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """The findings whose severity is `error`."""
        return tuple(d for d in self if d.severity is Severity.ERROR)
