"""Which findings are shown, and how bad they are: words for rules -> Settings -> fewer findings.

A word is a code (`W305`), the beginning of one (`W`, `E3`) or a rule's name (`dead-route`). What
cannot be ignored is shown whatever is selected. Source: LANGUAGE.md section 16.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import attrs

from engine.base.classes import frozen
from engine.base.suggestions import nearest
from engine.diagnostics import Diagnostic, Diagnostics, Rule, Severity
from engine.rules import ALL

__all__ = [
    "IGNORABLE",
    "Settings",
    "UnknownRule",
    "chosen",
    "ignorable",
    "ignored",
    "known",
    "rules_of",
    "unignorable",
]

IGNORABLE = ("E302", "E303", "E401", "E402")
"""The errors that may be ignored, as all warnings may."""

Codes = frozenset[str]


class UnknownRule(ValueError):
    """A word that means no rule, or one that cannot be ignored; `help` is the cure."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(f"{message}, {help}" if help else message)


@frozen
class Settings:
    """What to show: the codes selected (None: all), those ignored, severities (None: off) by
    code, and codes ignored in the files that a glob of absolute paths matches; and where runs are kept."""

    select: Codes | None = None
    ignore: Codes = frozenset()
    levels: Mapping[str, Severity | None] = attrs.field(factory=dict)
    per_file: tuple[tuple[str, Codes], ...] = ()
    store: str | None = None
    """Where runs are kept: an absolute path or a URL."""
    tasks: tuple[str, ...] | None = None
    """Ids and patterns of the tasks that specs may use; None: all."""
    hooks: tuple[str, ...] = ()
    """Names of the hooks that runs have."""


@cache
def known() -> Mapping[str, Rule]:
    """Every rule by its code, in order."""
    return {rule.code: rule for rule in ALL}


def ignorable(rule: Rule) -> bool:
    """Whether findings of a rule may be silenced."""
    return rule.severity is not Severity.ERROR or rule.code in IGNORABLE


def rules_of(word: str) -> Codes:
    """The codes of the rules that a word means; raises UnknownRule if there are none."""
    rules = known()
    found = {code for code, rule in rules.items() if word and code.startswith(word)}
    found |= {code for code, rule in rules.items() if rule.name == word}
    if not found:
        guess = nearest(word, [*rules, *(rule.name for rule in rules.values())])
        cure = f"did you mean `{guess}`?" if guess else None
        raise UnknownRule(f"there is no rule `{word}`", cure)
    return frozenset(found)


def ignored(word: str) -> Codes:
    """The same, for a word whose rules are to be silenced: all of them must be ignorable."""
    found = rules_of(word)
    for code in sorted(found):
        if not ignorable(known()[code]):
            raise unignorable(word, code)
    return found


def unignorable(word: str, code: str) -> UnknownRule:
    """`code`, which `word` means, cannot be ignored."""
    same = word in (code, known()[code].name)
    covers = f"`{word}`" if same else f"`{word}` covers `{code}`, which"
    cure = f"only warnings and {', '.join(IGNORABLE)} can be"
    return UnknownRule(f"{covers} cannot be ignored", cure)


def chosen(found: Iterable[Diagnostic], settings: Settings) -> Diagnostics:
    """What the settings leave of findings, at the levels they give."""
    return Diagnostics.of(_shown(found, settings))


def _shown(found: Iterable[Diagnostic], settings: Settings) -> Iterator[Diagnostic]:
    for each in found:
        code = each.rule.code
        if ignorable(each.rule) and _is_off(each, settings):
            continue
        level = settings.levels.get(code)
        yield attrs.evolve(each, level=level) if level else each


def _is_off(each: Diagnostic, settings: Settings) -> bool:
    code = each.rule.code
    if code in settings.ignore or settings.levels.get(code, each.severity) is None:
        return True
    if settings.select is not None and code not in settings.select:
        return True
    path = os.path.abspath(each.source.path)
    return any(code in codes and fnmatch.fnmatch(path, glob) for glob, codes in settings.per_file)
