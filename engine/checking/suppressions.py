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

from engine.base.suggestions import closest_match
from engine.checking.selection import build_not_ignorable_error, get_rules_by_code, is_ignorable
from engine.diagnostics import Diagnostic, Diagnostics, Edit, Fix, Safety, codes
from engine.toml.source import Source, Span

__all__ = ["apply_suppressions"]

_match_comment = re.compile(r"#+[ \t]*engine:[ \t]*ignore\b(?P<rest>.*)", re.DOTALL).match
_match_list = re.compile(r"[ \t]*\[(?P<codes>[^\]]*)\][ \t]*(?P<reason>.*)", re.DOTALL).match
_CODE_PATTERN = re.compile(r"[^,\s]+")
_HELP = "write `# engine: ignore[CODE] reason`"


@attrs.frozen
class _Suppression:
    """One code of a comment, and its span.

    `comment_span` is what to remove where the comment has no other code.
    """

    word: str
    span: Span
    comment_span: Span | None


@attrs.define
class _Comments:
    """The suppressions of a source, and the diagnostics about its comments."""

    source: Source
    suppressions: dict[int, list[_Suppression]] = attrs.Factory(dict)
    """The suppressions by the line that they apply to."""
    diagnostics: list[Diagnostic] = attrs.Factory(list)
    used_suppressions: set[_Suppression] = attrs.Factory(set)


def apply_suppressions(root: Source, diagnostics: Iterable[Diagnostic]) -> Diagnostics:
    """Remove the diagnostics that comments suppress, and add those about the comments of `root`."""
    diagnostics = list(diagnostics)
    by_text = {id(source): source for source in (root, *(each.source for each in diagnostics))}
    comments = {key: _parse_comments(s) for key, s in by_text.items() if "engine:" in s.text}
    left = [each for each in diagnostics if not _is_silenced(each, comments.get(id(each.source)))]
    own = comments.get(id(root))
    if own is None:
        return Diagnostics.collect(left)
    left += own.diagnostics
    # rules report nothing where other errors are: a comment that seems unused beside one may be needed
    if all(is_ignorable(each.rule) for each in left):
        left += _report_unused(own)
    return Diagnostics.collect(left)


def _is_silenced(each: Diagnostic, comments: _Comments | None) -> bool:
    if comments is None or not is_ignorable(each.rule):
        return False
    for ignore in comments.suppressions.get(each.span.line, ()):
        if ignore.word in (each.rule.code, each.rule.name):
            comments.used_suppressions.add(ignore)
            return True
    return False


def _report_unused(comments: _Comments) -> Iterator[Diagnostic]:
    every = (ignore for listed in comments.suppressions.values() for ignore in listed)
    for ignore in every:
        if ignore not in comments.used_suppressions:
            message = f"`{ignore.word}` has nothing to ignore here"
            yield _build_diagnostic(
                comments, message, ignore.span, "remove it", _build_removal(ignore.comment_span)
            )


def _build_removal(comment_span: Span | None) -> Fix | None:
    edits = (Edit(comment_span, ""),) if comment_span else ()
    return Fix("remove the comment", edits, Safety.UNSAFE) if edits else None


# -- reading comments --------------------------------------------------------------------------


def _parse_comments(source: Source) -> _Comments:
    from engine.toml import scanner  # few texts have such comments

    found = _Comments(source)
    for start, end in scanner.iter_comments(source.text):
        match = _match_comment(source.text, start, end)
        if match:
            _parse_comment(found, match, _find_target_line(source, start))
    return found


def _find_target_line(source: Source, start: int) -> int:
    """Return the line that a comment beginning at offset `start` applies to."""
    span = source.span_between(start, start)
    if source.line_text(span.line)[: span.column - 1].strip():
        return span.line
    line = span.line + 1
    while source.line_text(line).lstrip().startswith("#"):
        line += 1
    return line


def _parse_comment(comments: _Comments, match: re.Match[str], line: int) -> None:
    source, whole = comments.source, comments.source.span_between(*match.span())
    listed = _match_list(source.text, match.start("rest"), match.end())
    words = list(_CODE_PATTERN.finditer(source.text, *listed.span("codes"))) if listed else []
    if not words:
        comments.diagnostics.append(
            _build_diagnostic(comments, "this ignore comment names no rule", whole, _HELP)
        )
    elif listed and not listed["reason"].strip():
        comments.diagnostics.append(
            _build_diagnostic(comments, "this ignore comment has no reason", whole, _HELP)
        )
    else:
        sole = _extend_over_blanks(source, *match.span()) if len(words) == 1 else None
        for word in words:
            _add_suppression(comments, word, line, sole)


def _extend_over_blanks(source: Source, start: int, end: int) -> Span:
    """Extend a comment over the blanks before it, or to its whole line if it is alone there."""
    span = source.span_between(start, start)
    before = source.line_text(span.line)[: span.column - 1]
    start -= len(before) - len(before.rstrip(" \t"))
    if not before.strip():
        end = source.text.find("\n", end) + 1 or len(source.text)
    return source.span_between(start, end)


def _add_suppression(
    comments: _Comments, match: re.Match[str], line: int, comment_span: Span | None
) -> None:
    word, span = match[0], comments.source.span_between(*match.span())
    rules = {name: rule for rule in get_rules_by_code().values() for name in (rule.code, rule.name)}
    rule = rules.get(word)
    if rule is None:
        guess = closest_match(word, rules)
        advice = f"did you mean `{guess}`?" if guess else None
        comments.diagnostics.append(
            _build_diagnostic(comments, f"there is no rule `{word}`", span, advice)
        )
    elif not is_ignorable(rule):
        error = build_not_ignorable_error(word, rule.code)
        found = Diagnostic(codes.WRONG_TYPE, error.message, comments.source, span, error.help)
        comments.diagnostics.append(found)
    else:
        comments.suppressions.setdefault(line, []).append(_Suppression(word, span, comment_span))


def _build_diagnostic(
    comments: _Comments, message: str, span: Span, help: str | None, fix: Fix | None = None
) -> Diagnostic:
    return Diagnostic(codes.UNUSED_IGNORE, message, comments.source, span, help, fix=fix)
