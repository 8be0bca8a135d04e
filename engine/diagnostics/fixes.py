"""Builds fixes that replace a misspelt name by the one name it can have meant.

A fix is offered only where it is visibly right: the text at the span is the name itself, bare or in plain quotes, and
the new name is not taken. Knows sources, not specs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from engine.base.suggestions import only_nearest
from engine.diagnostics import Edit, Fix
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span

__all__ = ["mend_key", "mend_read", "mend_value"]

_BARE = re.compile(r"[A-Za-z0-9_-]+").fullmatch
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL).fullmatch


def mend_key(source: Source, path: KeyPath, known: Iterable[str]) -> Fix | None:
    """Return a fix that renames the last key of `path` wherever it is written, or None.

    The new name is the unique match among `known`; there is no fix if a sibling of that name exists.
    """
    name = str(path[-1])
    meant = only_nearest(name, known)
    if meant is None or source.has((*path[:-1], meant)):
        return None
    return _renamed(source, source.written(path), name, meant)


def mend_value(source: Source, span: Span, name: str, known: Iterable[str]) -> Fix | None:
    """Return a fix that replaces the string at `span` by its unique match among `known`, or None."""
    meant = only_nearest(name, known)
    return None if meant is None else _renamed(source, (span,), name, meant)


def mend_read(
    source: Source, span: Span, root: str | None, name: str, known: Iterable[str]
) -> Fix | None:
    """Return a fix that replaces `name` in the reference that `span` holds, or None.

    `name` is the first part of the reference, or the part after `root`, as in `inputs.brnch` or `inputs['brnch']`.
    """
    meant = only_nearest(name, known)
    before = "" if root is None else rf"{re.escape(root)}(?:\.|\[\\?[\"'])"
    found = re.match(rf"({before}){re.escape(name)}(?!\w)", source.at(span))
    if meant is None or found is None:
        return None
    start = span.column + found.end(1)
    place = Span(span.line, start, span.line, start + len(name))
    return _fix(name, meant, (Edit(place, meant),))


def _renamed(source: Source, spans: tuple[Span, ...], name: str, meant: str) -> Fix | None:
    edits = [_edit(source, span, name, meant) for span in spans]
    whole = tuple(edit for edit in edits if edit)
    return _fix(name, meant, whole) if whole and len(whole) == len(edits) else None


def _edit(source: Source, span: Span, name: str, meant: str) -> Edit | None:
    written = source.at(span)
    if written == name:
        return Edit(span, meant if _BARE(meant) else json.dumps(meant))
    quoted = _QUOTED(written)
    if quoted is None or quoted[2] != name or not _BARE(meant.replace(":", "")):
        return None
    return Edit(span, quoted[1] + meant + quoted[1])


def _fix(name: str, meant: str, edits: tuple[Edit, ...]) -> Fix:
    return Fix(f"write `{meant}` for `{name}`", edits)
