"""Source and findings -> a Source with every applicable fix applied.

All fixes of a round are applied at once, those that touch the same characters one after the other, and the text is
checked again until nothing more can be fixed. Whatever no fix names stays as it is, to the character. A text that was
TOML stays TOML. Knows neither files nor rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs

from engine.diagnostics import Diagnostics, Edit, Fix, Safety
from engine.toml.source import Source, TomlSyntaxError, parse_toml

__all__ = ["applicable_fixes", "apply_all", "apply_edits"]

SourceCheck = Callable[[Source], Diagnostics]
"""A function that checks a source and returns its diagnostics."""

MAX_ROUNDS = 100
"""Maximum number of rounds; each fixes something and may uncover more, but a chain this long makes no progress."""


def apply_all(source: Source, check: SourceCheck, *, unsafe: bool) -> tuple[Source, int]:
    """Return the fixed source and the number of fixes applied; `unsafe` also applies unsafe ones."""
    made = 0
    for _ in range(MAX_ROUNDS):
        fixes = list(
            _select_non_overlapping(source, applicable_fixes(source, check(source), unsafe=unsafe))
        )
        for tried in (fixes, fixes[:1]):  # two of a round may want the same name
            mended = apply_edits(source, tried)
            if tried and mended.text != source.text and _is_toml(mended):
                break
        else:
            break
        source, made = mended, made + len(tried)
    return source, made


def applicable_fixes(source: Source, diagnostics: Diagnostics, *, unsafe: bool) -> list[Fix]:
    """Return the fixes of a source's findings that may be applied; `unsafe` includes unsafe ones."""
    own = (each.fix for each in diagnostics if each.source.path == source.path)
    return [fix for fix in own if fix and (unsafe or fix.safety is Safety.SAFE)]


def apply_edits(source: Source, fixes: Sequence[Fix]) -> Source:
    """Return the source with all edits of the fixes made; no two edits may overlap."""
    text, end = [], len(source.text)
    for start, stop, new in sorted(
        (_locate_edit(source, e) for e in _iter_edits(fixes)), reverse=True
    ):
        text += [source.text[stop:end], new]
        end = start
    return attrs.evolve(source, text="".join(reversed([*text, source.text[:end]])))


def _select_non_overlapping(source: Source, fixes: Iterable[Fix]) -> Iterator[Fix]:
    """Yield the fixes that touch none of those yielded before."""
    taken: list[tuple[int, int]] = []
    for fix in fixes:
        wanted = [_locate_edit(source, edit)[:2] for edit in fix.edits]
        if not any(a <= stop and start <= b for start, stop in wanted for a, b in taken):
            taken += wanted
            yield fix


def _iter_edits(fixes: Iterable[Fix]) -> Iterator[Edit]:
    for fix in fixes:
        yield from fix.edits


def _locate_edit(source: Source, edit: Edit) -> tuple[int, int, str]:
    span = edit.span
    start = source.offset_of(span.line, span.column)
    return start, source.offset_of(span.end_line, span.end_column), edit.text


def _is_toml(source: Source) -> bool:
    try:
        parse_toml(source)
    except TomlSyntaxError:
        return False
    return True
