"""Apply comments of the form `# engine: ignore[W305] reason`, and report those that are wrong or unused.

A comment at the end of a line suppresses the diagnostics that begin in that line; a comment alone on its line,
those that begin in the next line that is not a comment. Texts without the words are not scanned for comments. Only
diagnostics in the comment's own file are suppressed. Reports W702, E103.
Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from engine.base.suggestions import nearest
from engine.checking.selection import ignorable, known, unignorable
from engine.diagnostics import Diagnostic, Diagnostics, Edit, Fix, Safety, codes
from engine.toml import scanner
from engine.toml.source import Source, Span

__all__ = ["silence"]

_COMMENT = re.compile(r"#+[ \t]*engine:[ \t]*ignore\b(?P<rest>.*)", re.DOTALL).match
_LIST = re.compile(r"[ \t]*\[(?P<codes>[^\]]*)\][ \t]*(?P<reason>.*)", re.DOTALL).match
_CODE = re.compile(r"[^,\s]+")
_FORM = "write `# engine: ignore[CODE] reason`"


@attrs.frozen
class _Ignore:
    """One code of a comment, and its span.

    `comment_span` is what to remove where the comment has no other code.
    """

    word: str
    span: Span
    sole: Span | None


@attrs.define
class _Comments:
    """The suppressions of a source, and the diagnostics about its comments."""

    source: Source
    ignores: dict[int, list[_Ignore]] = attrs.Factory(dict)
    """The suppressions by the line that they apply to."""
    wrong: list[Diagnostic] = attrs.Factory(list)
    used: set[_Ignore] = attrs.Factory(set)


def silence(root: Source, found: Iterable[Diagnostic]) -> Diagnostics:
    """Remove the diagnostics that comments suppress, and add those about the comments of `root`."""
    found = list(found)
    by_text = {id(source): source for source in (root, *(each.source for each in found))}
    comments = {key: _comments(s) for key, s in by_text.items() if "engine:" in s.text}
    left = [each for each in found if not _is_silenced(each, comments.get(id(each.source)))]
    own = comments.get(id(root))
    if own is None:
        return Diagnostics.of(left)
    left += own.wrong
    # rules say nothing where other errors are: what seems unused beside one may be needed
    if all(ignorable(each.rule) for each in left):
        left += _unused(own)
    return Diagnostics.of(left)


def _is_silenced(each: Diagnostic, comments: _Comments | None) -> bool:
    if comments is None or not ignorable(each.rule):
        return False
    for ignore in comments.ignores.get(each.span.line, ()):
        if ignore.word in (each.rule.code, each.rule.name):
            comments.used.add(ignore)
            return True
    return False


def _unused(comments: _Comments) -> Iterator[Diagnostic]:
    every = (ignore for listed in comments.ignores.values() for ignore in listed)
    for ignore in every:
        if ignore not in comments.used:
            message = f"`{ignore.word}` has nothing to ignore here"
            yield _finding(comments, message, ignore.span, "remove it", _without(ignore.sole))


def _without(sole: Span | None) -> Fix | None:
    edits = (Edit(sole, ""),) if sole else ()
    return Fix("remove the comment", edits, Safety.UNSAFE) if edits else None


# -- reading comments --------------------------------------------------------------------------


def _comments(source: Source) -> _Comments:
    found = _Comments(source)
    for start, end in scanner.comments(source.text):
        match = _COMMENT(source.text, start, end)
        if match:
            _read(found, match, _silences(source, start))
    return found


def _silences(source: Source, start: int) -> int:
    """Return the line that a comment beginning at offset `start` applies to."""
    span = source.span(start, start)
    if source.line(span.line)[: span.column - 1].strip():
        return span.line
    line = span.line + 1
    while source.line(line).lstrip().startswith("#"):
        line += 1
    return line


def _read(comments: _Comments, match: re.Match[str], line: int) -> None:
    source, whole = comments.source, comments.source.span(*match.span())
    listed = _LIST(source.text, match.start("rest"), match.end())
    words = list(_CODE.finditer(source.text, *listed.span("codes"))) if listed else []
    if not words:
        comments.wrong.append(_finding(comments, "this ignore comment names no rule", whole, _FORM))
    elif listed and not listed["reason"].strip():
        comments.wrong.append(_finding(comments, "this ignore comment has no reason", whole, _FORM))
    else:
        sole = _with_blanks(source, *match.span()) if len(words) == 1 else None
        for word in words:
            _one(comments, word, line, sole)


def _with_blanks(source: Source, start: int, end: int) -> Span:
    """Extend a comment over the blanks before it, or to its whole line if it is alone there."""
    span = source.span(start, start)
    before = source.line(span.line)[: span.column - 1]
    start -= len(before) - len(before.rstrip(" \t"))
    if not before.strip():
        end = source.text.find("\n", end) + 1 or len(source.text)
    return source.span(start, end)


def _one(comments: _Comments, match: re.Match[str], line: int, sole: Span | None) -> None:
    word, span = match[0], comments.source.span(*match.span())
    rules = {name: rule for rule in known().values() for name in (rule.code, rule.name)}
    rule = rules.get(word)
    if rule is None:
        guess = nearest(word, rules)
        cure = f"did you mean `{guess}`?" if guess else None
        comments.wrong.append(_finding(comments, f"there is no rule `{word}`", span, cure))
    elif not ignorable(rule):
        error = unignorable(word, rule.code)
        found = Diagnostic(codes.WRONG_TYPE, error.message, comments.source, span, error.help)
        comments.wrong.append(found)
    else:
        comments.ignores.setdefault(line, []).append(_Ignore(word, span, sole))


def _finding(
    comments: _Comments, message: str, span: Span, help: str | None, fix: Fix | None = None
) -> Diagnostic:
    return Diagnostic(codes.UNUSED_IGNORE, message, comments.source, span, help, fix=fix)
