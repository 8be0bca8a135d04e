"""Diagnostics: what `engine check` has to say, as values.

A `Rule` is a code and a name, stable for ever. A `Diagnostic` stands alone: its message needs no other, the cure is in
`help`, `notes` point at further places ("the loop goes on here"). Source: LANGUAGE.md section 16.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum

import attrs

from engine.source import Source, Span

__all__ = ["Diagnostic", "Diagnostics", "Note", "Rule", "Severity", "nearest"]


class Severity(StrEnum):
    """How bad: an error keeps a spec from compiling or running, a warning does not."""

    ERROR = "error"
    WARNING = "warning"


@attrs.frozen
class Rule:
    """One kind of finding: `code` ("E301"), `name` ("infinite-retry"), what it says in one line."""

    code: str
    name: str
    summary: str

    @property
    def severity(self) -> Severity:
        """`error` for E codes, `warning` for W codes."""
        return Severity.ERROR if self.code.startswith("E") else Severity.WARNING


@attrs.frozen
class Note:
    """A second place that explains a finding."""

    message: str
    span: Span


@attrs.frozen
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
            "severity": self.rule.severity.value,
            "message": self.message,
            "help": self.help,
            "path": str(self.source.path),
            "line": self.span.line,
            "column": self.span.column,
            "end_line": self.span.end_line,
            "end_column": self.span.end_column,
            "node": self.node,
            "step": self.step,
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
        return tuple(d for d in self if d.rule.severity is Severity.ERROR)


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None."""
    known = sorted(set(candidates))
    folded = {c.lower(): c for c in known}
    if word.lower() in folded and folded[word.lower()] != word:
        return folded[word.lower()]
    return _closest(word, known)


_CUTOFF = 0.6


def _closest(word: str, known: Iterable[str]) -> str | None:
    """What `difflib.get_close_matches` would put first; the likeliest is compared first, so that few of many have to be."""
    letters = {letter: word.count(letter) for letter in word}
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(word)
    best, found = _CUTOFF, ""
    for bound, candidate in sorted(((_bound(word, letters, c), c) for c in known), reverse=True):
        if bound < best:
            break
        matcher.set_seq1(candidate)
        best, found = max((best, found), (matcher.ratio(), candidate))
    return found or None


def _bound(word: str, letters: Mapping[str, int], candidate: str) -> float:
    """What the ratio of two words cannot exceed: by their lengths, then by the letters they share."""
    shorter, both = min(len(word), len(candidate)), len(word) + len(candidate)
    if 2.0 * shorter < _CUTOFF * both:
        return 0.0
    shared = sum(min(count, candidate.count(letter)) for letter, count in letters.items())
    return 2.0 * shared / both if both else 1.0
