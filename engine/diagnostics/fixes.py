"""Builds fixes that replace a misspelt name by the one name it can have meant.

A fix is offered only where it is visibly right: the text at the span is the name itself, bare or in plain quotes, and
the new name is not taken. Knows sources, not specs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from engine.base.suggestions import unique_match
from engine.diagnostics import Edit, Fix
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span

__all__ = ["fix_key", "fix_reference", "fix_value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL).fullmatch


def fix_key(source: Source, path: KeyPath, known: Iterable[str]) -> Fix | None:
    """Return a fix that renames the last key of `path` wherever it is written, or None.

    The new name is the unique match among `known`; there is no fix if a sibling of that name exists.
    """
    name = str(path[-1])
    meant = unique_match(name, known)
    if meant is None or source.has_path((*path[:-1], meant)):
        return None
    return _build_rename(source, source.occurrences(path), name, meant)


def fix_value(source: Source, span: Span, name: str, known: Iterable[str]) -> Fix | None:
    """Return a fix that replaces the string at `span` by its unique match among `known`, or None."""
    meant = unique_match(name, known)
    return None if meant is None else _build_rename(source, (span,), name, meant)


def fix_reference(
    source: Source, span: Span, root: str | None, name: str, known: Iterable[str]
) -> Fix | None:
    """Return a fix that replaces `name` in the reference that `span` holds, or None.

    `name` is the first part of the reference, or the part after `root`, as in `inputs.brnch` or `inputs['brnch']`.
    """
    meant = unique_match(name, known)
    before = "" if root is None else rf"{re.escape(root)}(?:\.|\[\\?[\"'])"
    found = re.match(rf"({before}){re.escape(name)}(?!\w)", source.text_of(span))
    if meant is None or found is None:
        return None
    start = span.column + found.end(1)
    place = Span(span.line, start, span.line, start + len(name))
    return _build_fix(name, meant, (Edit(place, meant),))


def _build_rename(source: Source, spans: tuple[Span, ...], name: str, new_name: str) -> Fix | None:
    edits = [_build_edit(source, span, name, new_name) for span in spans]
    whole = tuple(edit for edit in edits if edit)
    return _build_fix(name, new_name, whole) if whole and len(whole) == len(edits) else None


def _build_edit(source: Source, span: Span, name: str, new_name: str) -> Edit | None:
    written = source.text_of(span)
    if written == name:
        return Edit(span, new_name if _BARE(new_name) else json.dumps(new_name))
    quoted = _QUOTED(written)
    if quoted is None or quoted[2] != name or not _BARE(new_name.replace(":", "")):
        return None
    return Edit(span, quoted[1] + new_name + quoted[1])


def _build_fix(name: str, new_name: str, edits: tuple[Edit, ...]) -> Fix:
    return Fix(f"write `{new_name}` for `{name}`", edits)
