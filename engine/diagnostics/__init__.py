"""Diagnostics: what `engine check` has to say, as values.

A `Rule` is a code and a name, stable for ever. A `Diagnostic` stands alone: its message needs no other, the cure is in
`help`, `notes` point at further places ("the loop goes on here"). Source: LANGUAGE.md section 16.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import attrs

from engine.base.classes import frozen
from engine.toml.source import Source, Span

__all__ = ["Diagnostic", "Diagnostics", "Edit", "Fix", "Note", "Rule", "Safety", "Severity"]


class Severity(StrEnum):
    """How bad: an error keeps a spec from compiling or running, a warning does not; a note says what
    was left open and never counts."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Safety(StrEnum):
    """Whether a fix may be made without a look at it: it leaves what was meant, or it decides something."""

    SAFE = "safe"
    UNSAFE = "unsafe"


@frozen
class Rule:
    """One kind of finding: `code` ("E301"), `name` ("infinite-retry"), what it says in one line."""

    code: str
    name: str
    summary: str

    @property
    def severity(self) -> Severity:
        """`error` for E codes, `warning` for W codes, `note` for N codes."""
        return _SEVERITIES[self.code[0]]


_SEVERITIES = {"E": Severity.ERROR, "W": Severity.WARNING, "N": Severity.NOTE}


@frozen
class Note:
    """A second place that explains a finding."""

    message: str
    span: Span


@frozen
class Edit:
    """A part of a text and what is to stand there instead."""

    span: Span
    text: str


@frozen
class Fix:
    """What mends a finding: all of its edits, in the finding's own source, or none."""

    message: str
    edits: tuple[Edit, ...]
    safety: Safety = Safety.SAFE

    def to_json(self) -> dict[str, object]:
        """Lines and columns count from 1, the end is exclusive."""
        edits = [{**attrs.asdict(edit.span), "text": edit.text} for edit in self.edits]
        return {"message": self.message, "safety": self.safety.value, "edits": edits}


@frozen
class Diagnostic:
    """One finding at one place."""

    rule: Rule
    message: str
    source: Source
    span: Span
    help: str | None = None
    node: str | None = None
    step: str | None = None
    notes: tuple[Note, ...] = ()
    fix: Fix | None = None
    level: Severity | None = None
    """The severity that the user's settings give it, where they do."""

    @property
    def severity(self) -> Severity:
        """That of its rule, unless settings say otherwise."""
        return self.level or self.rule.severity

    @property
    def sort_key(self) -> tuple[object, ...]:
        """File, place, code, message: the order in which findings are shown."""
        return (str(self.source.path), self.span, self.rule.code, self.message)

    def __str__(self) -> str:
        head = f"{self.source.path}:{self.span.line}:{self.span.column}: "
        tail = f" ({self.help})" if self.help else ""
        return f"{head}{self.rule.code} {self.rule.name}: {self.message}{tail}"

    def to_json(self) -> dict[str, object]:
        """The form of LANGUAGE.md section 16; lines and columns count from 1, the end is exclusive."""
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
    """All findings of a phase, in order of file and place, each once."""

    __slots__ = ()

    @classmethod
    def of(cls, found: Iterable[Diagnostic]) -> Diagnostics:
        """Sort and remove duplicates."""
        unique = {(d.sort_key, d.node, d.step): d for d in found}
        return cls(sorted(unique.values(), key=lambda d: d.sort_key))

    @property
    def errors(self) -> tuple[Diagnostic, ...]:
        """Only those of severity `error`."""
        return tuple(d for d in self if d.severity is Severity.ERROR)
