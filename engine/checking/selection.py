"""Select which diagnostics are shown, and with which severity.

A rule is named by a code (`W305`), the beginning of a code (`W`, `E3`) or its name (`dead-route`). Errors that cannot be
ignored are shown whatever is selected.
Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

import attrs

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.diagnostics import Diagnostic, Diagnostics, Rule, Severity
from engine.rules import ALL_RULES

__all__ = [
    "IGNORABLE_ERRORS",
    "Settings",
    "UnknownRule",
    "build_not_ignorable_error",
    "find_rule_codes",
    "get_rules_by_code",
    "is_ignorable",
    "parse_ignored",
    "select_diagnostics",
]

IGNORABLE_ERRORS = ("E302", "E303", "E401", "E402")
"""The codes of the errors that may be ignored, as all warnings may."""

RuleCodes = frozenset[str]


class UnknownRule(ValueError):
    """A word that names no rule, or a rule that cannot be ignored; `help` says how to correct it."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message, self.help = message, help
        super().__init__(f"{message}, {help}" if help else message)


@frozen
class Settings:
    """Settings of a project: which diagnostics to show, where runs are stored, and which tasks and hooks are used.

    `select` are the codes to show (None: all), `ignore` those to ignore, `levels` severities by code (None: off), and
    `per_file` the codes ignored in files that match a glob of absolute paths.
    """

    select: RuleCodes | None = None
    ignore: RuleCodes = frozenset()
    levels: Mapping[str, Severity | None] = attrs.field(factory=dict)
    per_file: tuple[tuple[str, RuleCodes], ...] = ()
    store: str | None = None
    """The store of runs: an absolute path or a URL."""
    tasks: tuple[str, ...] | None = None
    """The ids and patterns of the tasks that specs may use; None for all."""
    hooks: tuple[str, ...] = ()
    """The names of the hooks that runs have."""


@cache
def get_rules_by_code() -> Mapping[str, Rule]:
    """Return every rule by its code, in order."""
    return {rule.code: rule for rule in ALL_RULES}


def is_ignorable(rule: Rule) -> bool:
    """Return whether diagnostics of a rule may be suppressed."""
    return rule.severity is not Severity.ERROR or rule.code in IGNORABLE_ERRORS


def find_rule_codes(word: str) -> RuleCodes:
    """Return the codes of the rules that a word names; raises UnknownRule if there are none."""
    rules = get_rules_by_code()
    found = {code for code, rule in rules.items() if word and code.startswith(word)}
    found |= {code for code, rule in rules.items() if rule.name == word}
    if not found:
        guess = closest_match(word, [*rules, *(rule.name for rule in rules.values())])
        advice = f"did you mean `{guess}`?" if guess else None
        raise UnknownRule(f"there is no rule `{word}`", advice)
    return frozenset(found)


def parse_ignored(word: str) -> RuleCodes:
    """Return the codes that a word names, all of which must be ignorable.

    Raises UnknownRule otherwise.
    """
    found = find_rule_codes(word)
    for code in sorted(found):
        if not is_ignorable(get_rules_by_code()[code]):
            raise build_not_ignorable_error(word, code)
    return found


def build_not_ignorable_error(word: str, code: str) -> UnknownRule:
    """Return the error that `code`, which `word` covers, cannot be ignored."""
    same = word in (code, get_rules_by_code()[code].name)
    covers = f"`{word}`" if same else f"`{word}` covers `{code}`, which"
    advice = f"only warnings and {', '.join(IGNORABLE_ERRORS)} can be"
    return UnknownRule(f"{covers} cannot be ignored", advice)


def select_diagnostics(found: Iterable[Diagnostic], settings: Settings) -> Diagnostics:
    """Return the diagnostics that the settings select, with the severities they set."""
    return Diagnostics.collect(_iter_selected(found, settings))


def _iter_selected(found: Iterable[Diagnostic], settings: Settings) -> Iterator[Diagnostic]:
    for each in found:
        code = each.rule.code
        if is_ignorable(each.rule) and _is_off(each, settings):
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
