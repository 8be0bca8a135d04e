"""Text for terminals: what is shown prints, and fits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.render.text import (
    Styled,
    clip_text,
    escape_unprintable,
    format_elapsed,
    format_elapsed_short,
    format_table,
    make_painter,
    text_width,
    wrap_text,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("a  \té漢🙂"))
SHOWN = TEXTS.map(escape_unprintable)
PLAIN = make_painter(False)


@given(st.text())
def test_what_is_printable_prints(text: str) -> None:
    assert escape_unprintable(text).isprintable()


def test_control_characters_are_escaped() -> None:
    assert escape_unprintable("a\tb\x1b[2J\n\x00é\u202e") == r"a    b\x1b[2J\n\x00é\u202e"


def test_columns_of_wide_and_of_combining_characters() -> None:
    assert [text_width(text) for text in ("abc", "漢字", "e\u0301", "é")] == [3, 4, 1, 1]


@given(SHOWN, st.integers(0, 30))
def test_clipped_text_fits_and_begins_the_same(text: str, width: int) -> None:
    found = clip_text(text, width)
    assert text_width(found) <= width
    assert found == text or text.startswith(found.removesuffix("…"))


@given(SHOWN, st.integers(2, 30))
def test_wrapped_text_fits_and_loses_nothing_but_spaces(text: str, width: int) -> None:
    lines = wrap_text(text, width)
    assert lines
    assert all(text_width(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")


def test_text_is_wrapped_at_spaces() -> None:
    assert wrap_text("needs `publish`, which failed", 16) == ["needs `publish`,", "which failed"]


@pytest.mark.parametrize(
    "seconds, going, gone",
    [
        (0, "0.0s", "0ms"),
        (0.0254, "0.0s", "25ms"),
        (0.9996, "1.0s", "1.0s"),
        (12.34, "12.3s", "12.3s"),
        (59.96, "1m00s", "1m00s"),
        (125, "2m05s", "2m05s"),
        (3599.6, "1h00m", "1h00m"),
        (11220, "3h07m", "3h07m"),
        (180_000, "2d02h", "2d02h"),
    ],
)
def test_times(seconds: float, going: str, gone: str) -> None:
    assert (format_elapsed(seconds), format_elapsed_short(seconds)) == (going, gone)


ROWS = [("a", "10", "it works"), ("build", "2", "it takes its time and then some more of it")]


def test_a_table_without_a_width_has_a_line_a_row() -> None:
    assert format_table(("name", "n", "why"), ROWS, PLAIN, right=("n",)) == [
        "name    n  why",
        "a      10  it works",
        "build   2  it takes its time and then some more of it",
    ]


def test_the_last_column_is_wrapped() -> None:
    assert format_table(("name", "n", "why"), ROWS, PLAIN, width=36) == [
        "name   n   why",
        "a      10  it works",
        "build  2   it takes its time and",
        "           then some more of it",
    ]


def test_where_too_little_is_left_the_last_column_goes_beneath() -> None:
    assert format_table(("name", "n", "why"), ROWS, PLAIN, width=30) == [
        "name   n",
        "a      10",
        "    it works",
        "build  2",
        "    it takes its time and then",
        "    some more of it",
    ]


def test_where_all_is_too_wide_the_first_column_is_clipped() -> None:
    rows = [("a_name_that_goes_on", "succeeded", "so it was"), ("b", "failed", "")]
    assert format_table(("name", "result", "why"), rows, PLAIN, width=24) == [
        "name           result",
        "a_name_that_…  succeeded",
        "    so it was",
        "b              failed",
    ]
    assert format_table(("name", "result", "why"), rows, PLAIN, width=9)[1] == "a_name_…  succeeded"


def test_colours_change_nothing_else() -> None:
    rows = [(Styled("bad", "x"), "1", Styled("dim", "some more"))]
    colored = "\n".join(format_table(("name", "n", "why"), rows, make_painter(True), width=14))
    for code in ("\x1b[2m", "\x1b[1;31m", "\x1b[0m"):
        assert code in colored
        colored = colored.replace(code, "")
    bare = "\n".join(format_table(("name", "n", "why"), rows, PLAIN, width=14))
    assert [line.rstrip() for line in colored.split("\n")] == bare.split("\n")
