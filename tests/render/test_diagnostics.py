"""What people see of a diagnostic, letter for letter."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.diagnostics import Diagnostic, Diagnostics, RelatedSpan, Rule
from engine.render.diagnostics import diagnostics_to_json, render_concise, render_human, summarise
from engine.toml.source import Source, Span

START = Span(2, 1, 2, 7)
LOOP = Rule("E301", "infinite-retry", "a machine that is not bounded")
DEAD = Rule("W305", "dead-route", "a route that no run takes")

TEXT = """\
[nodes.a.routes]
review = "process"
success = "done"

\tx = { y = 1, z = 2 }
process = \"\"\"
more
\"\"\"
"""


def finding(
    text: str = TEXT,
    span: Span = START,
    notes: tuple[RelatedSpan, ...] = (),
    help: str | None = None,
    message: str = "it never ends",
    rule: Rule = LOOP,
    path: str = "spec.toml",
) -> Diagnostic:
    return Diagnostic(rule, message, Source(path, text), span, help=help, notes=notes)


def shown(diagnostic: Diagnostic) -> list[str]:
    """The lines beneath the head and the arrow."""
    return render_human([diagnostic], color=False).split("\n")[3:]


def test_a_finding_with_its_line_and_help() -> None:
    expected = """\
error[E301 infinite-retry]: it never ends
 --> spec.toml:2:1
  |
2 | review = "process"
  | ^^^^^^
  = help: give the route a `max`"""
    assert render_human([finding(help="give the route a `max`")], color=False) == expected


def test_a_warning_says_so() -> None:
    assert render_human([finding(rule=DEAD)], color=False).startswith(
        "warning[W305 dead-route]: it never"
    )


def test_findings_stand_apart() -> None:
    one = render_human([finding()], color=False)
    assert render_human([finding(), finding()], color=False) == f"{one}\n\n{one}"


def test_nothing_found_is_no_text() -> None:
    assert render_human([], color=True) == render_concise([]) == ""


def test_notes_are_in_one_snippet_in_the_order_of_lines() -> None:
    notes = (
        RelatedSpan("the loop continues here", Span(6, 1, 6, 8)),
        RelatedSpan("from here", Span(1, 2, 1, 7)),
    )
    assert shown(finding(notes=notes)) == [
        "1 | [nodes.a.routes]",
        "  |  ----- from here",
        '2 | review = "process"',
        "  | ^^^^^^",
        "  |",
        '6 | process = """',
        "  | ------- the loop continues here",
    ]


def test_a_note_in_the_same_line_follows_the_finding() -> None:
    notes = (RelatedSpan("b", Span(2, 10, 2, 19)), RelatedSpan("a", Span(2, 1, 2, 7)))
    assert shown(finding(span=Span(2, 8, 2, 9), notes=notes)) == [
        '2 | review = "process"',
        "  |        ^",
        "  | ------ a",
        "  |          --------- b",
    ]


def test_the_margin_is_as_wide_as_the_last_number() -> None:
    text = "\n" * 9 + "a = 1\n"
    notes = (RelatedSpan("here", Span(10, 1, 10, 2)),)
    assert render_human([finding(text, Span(9, 1, 9, 1), notes)], color=False).split("\n")[1:] == [
        "  --> spec.toml:9:1",
        "   |",
        " 9 |",
        "   | ^",
        "10 | a = 1",
        "   | - here",
    ]


def test_tabs_keep_the_caret_in_its_place() -> None:
    assert shown(finding(span=Span(5, 8, 5, 9))) == [
        "5 |     x = { y = 1, z = 2 }",
        "  |           ^",
    ]


def test_wide_characters_keep_the_caret_in_its_place() -> None:
    assert shown(finding('a = "\u8349\u7a3f" b', Span(1, 6, 1, 8)))[1] == "  |      ^^^^"


def test_a_tab_in_the_span_is_underlined_in_full() -> None:
    assert shown(finding("a\t= 1", Span(1, 1, 1, 4)))[1] == "  | ^^^^^^"


def test_a_span_of_many_lines_underlines_the_first_to_its_end() -> None:
    assert shown(finding(span=Span(6, 11, 8, 4))) == ['6 | process = """', "  |           ^^^"]


@pytest.mark.parametrize("span", [Span(3, 17, 3, 17), Span(3, 17, 4, 1), Span(3, 99, 3, 100)])
def test_an_empty_span_has_one_caret(span: Span) -> None:
    assert shown(finding(span=span))[1] == f"  | {' ' * 16}^"


def test_a_place_beyond_the_text_is_an_empty_line() -> None:
    assert shown(finding(span=Span(9, 1, 9, 1))) == ["9 |", "  | ^"]


def test_a_long_line_is_cut_around_the_span() -> None:
    line, caret = shown(finding("x" * 500 + "here" + "y" * 500, Span(1, 501, 1, 505)))
    assert line == f"1 | ...{'x' * 30}here{'y' * 86}..."
    assert caret == f"  | {' ' * 33}^^^^"


def test_a_long_line_is_not_cut_at_an_end_that_shows() -> None:
    text = "here" + "y" * 500 + "there"
    assert shown(finding(text, Span(1, 1, 1, 5)))[0] == f"1 | here{'y' * 116}..."
    assert shown(finding(text, Span(1, 505, 1, 510)))[0] == f"1 | ...{'y' * 115}there"


def test_a_long_span_is_underlined_as_far_as_it_shows() -> None:
    line, caret = shown(finding("x" * 500, Span(1, 101, 1, 400)))
    assert line == f"1 | ...{'x' * 120}..."
    assert caret == f"  | {' ' * 33}{'^' * 90}"


def test_a_long_line_is_shown_for_each_place_in_it() -> None:
    notes = (RelatedSpan("there", Span(1, 505, 1, 510)),)
    assert shown(finding("here" + "y" * 500 + "there", Span(1, 1, 1, 5), notes)) == [
        f"1 | here{'y' * 116}...",
        "  | ^^^^",
        f"1 | ...{'y' * 115}there",
        f"  | {' ' * 118}----- there",
    ]


def test_color_changes_nothing_but_color() -> None:
    notes = (RelatedSpan("here", Span(6, 1, 6, 8)),)
    found = [finding(notes=notes, help="mend it"), finding(rule=DEAD)]
    colored = render_human(found, color=True)
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == render_human(found, color=False)
    assert "\x1b[1;31merror[E301 infinite-retry]\x1b[0m" in colored
    assert "\x1b[1;33mwarning[W305 dead-route]\x1b[0m" in colored


def test_what_does_not_print_is_shown_as_an_escape() -> None:
    text = "a\x1b[2J\u202eb"
    diagnostic = finding(
        text, Span(1, 7, 1, 8), (RelatedSpan(text, Span(1, 1, 1, 2)),), text, text, path=text
    )
    safe = r"a\x1b[2J\u202eb"
    assert render_human([diagnostic], color=False).split("\n") == [
        f"error[E301 infinite-retry]: {safe}",
        f" --> {safe}:1:7",
        "  |",
        f"1 | {safe}",
        "  |               ^",
        f"  | - {safe}",
        f"  = help: {safe}",
    ]


@given(st.text(st.characters(codec=None)), st.integers(1, 20), st.integers(1, 20))
def test_no_text_reaches_the_terminal_as_it_is(text: str, column: int, width: int) -> None:
    line = text.replace("\n", " ")
    span = Span(1, column, 1, column + width)
    diagnostic = finding(line, span, (RelatedSpan(text, span),), text, text, path=text)
    lines = [*render_human([diagnostic], color=False).split("\n"), render_concise([diagnostic])]
    assert [line for line in lines if not line.isprintable()] == []


def test_concise_is_a_line_each() -> None:
    found = [finding(), finding(rule=DEAD, span=Span(3, 1, 3, 8), message="a\nb", path="a\n.toml")]
    assert render_concise(found).split("\n") == [
        "spec.toml:2:1: E301 infinite-retry: it never ends",
        r"a\n.toml:3:1: W305 dead-route: a\nb",
    ]


def test_json_is_the_list_of_findings() -> None:
    found = [finding(message="é\u202e", help="mend it")]
    text = diagnostics_to_json(found)
    assert text.isascii()
    assert json.loads(text) == [each.to_json() for each in found]


@pytest.mark.parametrize(
    ("found", "files", "expected"),
    [
        ([], 1, "no problems found in 1 file"),
        ([], 3, "no problems found in 3 files"),
        ([LOOP, LOOP, DEAD], 1, "found 2 errors and 1 warning in 1 file"),
        ([LOOP], 1, "found 1 error in 1 file"),
        ([DEAD, DEAD], 3, "found 2 warnings in 1 of 3 files"),
    ],
)
def test_summary(found: list[Rule], files: int, expected: str) -> None:
    assert summarise([finding(rule=rule) for rule in found], files) == expected


def test_summary_counts_files_with_findings() -> None:
    found = Diagnostics.collect([finding(path="a.toml"), finding(path="b.toml")])
    assert summarise(found, 1) == summarise(found, 2) == "found 2 errors in 2 files"


def test_carets_stand_right_where_the_output_has_no_such_characters() -> None:
    text = 'x = "日é" y = 3\n'
    source = Source("a.toml", text)
    found = Diagnostic(Rule("E999", "odd", "odd"), "odd", source, Span(1, 10, 1, 11))
    *_, line, carets = render_human([found], color=False, encoding="ascii").split("\n")
    assert line == '1 | x = "\\u65e5\\xe9" y = 3'
    assert carets.index("^") == line.index("y")
