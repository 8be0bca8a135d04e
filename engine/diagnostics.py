"""Diagnostics: what `engine check` has to say, as values.

A `Rule` is a code and a name, stable for ever. A `Diagnostic` stands alone: its message needs no other, the cure is in
`help`, `notes` point at further places ("the loop goes on here"). Source: LANGUAGE.md section 16.
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache

import attrs

from engine.source import Source, Span

__all__ = [
    "Diagnostic",
    "Diagnostics",
    "Edit",
    "Fix",
    "Note",
    "Rule",
    "Safety",
    "Severity",
    "nearest",
    "only_nearest",
]


NEAR, LEAD = 0.75, 0.2
"""How alike a word and the one put in its place are at least, and how far behind all others stay:
`rotes` becomes `routes` (0.91, next 0.67), `retries` is left (`requires` 0.8, `retry` 0.67)."""


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


@attrs.frozen
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


@attrs.frozen
class Note:
    """A second place that explains a finding."""

    message: str
    span: Span


@attrs.frozen
class Edit:
    """A part of a text and what is to stand there instead."""

    span: Span
    text: str


@attrs.frozen
class Fix:
    """What mends a finding: all of its edits, in the finding's own source, or none."""

    message: str
    edits: tuple[Edit, ...]
    safety: Safety = Safety.SAFE

    def to_json(self) -> dict[str, object]:
        """Lines and columns count from 1, the end is exclusive."""
        edits = [{**attrs.asdict(edit.span), "text": edit.text} for edit in self.edits]
        return {"message": self.message, "safety": self.safety.value, "edits": edits}


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


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that `word` was most likely meant to be, or None."""
    known = sorted(set(candidates))
    folded = {c.lower(): c for c in known}
    if word.lower() in folded and folded[word.lower()] != word:
        return folded[word.lower()]
    return _closest(word, tuple(known))


def no_node(name: str, known: Iterable[str]) -> str:
    """What is told of a node that there is not."""
    guess = nearest(name, known)
    return f"there is no node `{name}`" + (f", did you mean `{guess}`?" if guess else "")


def only_nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The nearest candidate if it is near and no other nearly as near, or the only one of just these letters: what may
    be put in the place of `word`."""
    known = set(candidates)
    guess = nearest(word, known)
    if guess is None or guess.lower() == word.lower():
        return guess
    if [each for each in known if sorted(each) == sorted(word)] == [guess]:
        return guess
    rival = _closest(word, tuple(sorted(known)), guess)
    alike = _alike(guess, word)
    lead = alike - _alike(rival, word) if rival else 1.0
    return guess if alike >= NEAR and lead > LEAD else None


def _alike(candidate: str, word: str) -> float:
    return difflib.SequenceMatcher(None, candidate, word).ratio()


_CUTOFF = 0.6


def _closest(word: str, known: tuple[str, ...], but: str | None = None) -> str | None:
    """What `difflib.get_close_matches` would put first, leaving `but` out; the likeliest is compared
    first, so that few of many have to be."""
    by_letter, shared = _by_letter(known), Counter[int]()
    for letter in _letters(word):
        shared.update(by_letter.get(letter, ()))
    bounds = ((2.0 * n / (len(word) + len(known[at])), known[at]) for at, n in shared.items())
    matcher = difflib.SequenceMatcher()
    matcher.set_seq2(word)
    best, found = _CUTOFF, ""
    for bound, candidate in sorted((pair for pair in bounds if pair[0] >= _CUTOFF), reverse=True):
        if bound < best:
            break
        if candidate == but:
            continue
        matcher.set_seq1(candidate)
        best, found = max((best, found), (matcher.ratio(), candidate))
    return found or None


@lru_cache(maxsize=16)
def _by_letter(known: tuple[str, ...]) -> Mapping[tuple[str, int], Sequence[int]]:
    """The words that have a letter, and have it a second time, and so on; a spec's mistakes ask the same words."""
    found: dict[tuple[str, int], list[int]] = {}
    for at, word in enumerate(known):
        for letter in _letters(word):
            found.setdefault(letter, []).append(at)
    return found


def _letters(word: str) -> Iterator[tuple[str, int]]:
    """Each letter with how many of it came before; words cannot match in more than they share of these."""
    count: dict[str, int] = {}
    for letter in word:
        count[letter] = count.get(letter, -1) + 1
        yield letter, count[letter]
