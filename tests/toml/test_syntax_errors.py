"""What a text that is refused is told, and which characters that is about."""

from __future__ import annotations

import pytest

from engine.toml.limits import MAX_DEPTH
from engine.toml.source import Source, Span, TomlSyntaxError, parse_toml


def refusal(text: str) -> tuple[str, str]:
    """The message, and the characters under it."""
    source = Source("x.toml", text)
    with pytest.raises(TomlSyntaxError) as caught:
        parse_toml(source)
    span = caught.value.span
    start, end = (
        source.offset_of(span.line, span.column),
        source.offset_of(span.end_line, span.end_column),
    )
    return caught.value.message, text[start:end]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a = 1\na = 2", "a"),
        ("[a]\n[b]\n[a]", "a"),
        ("a.b = 1\n[a]\n[a.b]", "a"),
        ("[a.b.c]\n[a]\nb.c.d = 1", "b.c"),
        ("[[a]]\n[a]", "a"),
        ("a = []\n[[a]]", "a"),
        ("[[t.a]]\n[t]\na = 1", "a"),
        ("a = {b = {}}\r\n[a.b]", "a.b"),
        ("x = {a = 1, a = {b = 1}}", "a"),
        ("x = [{a = {}, 'a'.b = 1}]", "'a'"),
        ('"a b" = 1\n"a b" = """\n"""', '"a b"'),
    ],
)
def test_a_name_that_is_taken_is_named_with_the_line_of_the_first(text: str, name: str) -> None:
    assert refusal(text) == (f"`{name}` is already defined on line 1", name.rpartition(".")[2])


def test_a_table_inside_a_plain_value_is_told_of_the_value() -> None:
    assert refusal("[t]\nx = 0\na = 1\n[t.a.b]") == ("`t.a` is already defined on line 3", "a")


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ('a = "b', "this string is not closed", '"b'),
        ('a = "b\r\nc = 1', "this string is not closed", '"b'),
        ("a = 'b\nc = 1", "this string is not closed", "'b"),
        ('a = """b\nc = 1\n', "this string is not closed", '"""b'),
        ("a = '''b\nc = 1\n", "this string is not closed", "'''b"),
        ('[ "b\n', "this string is not closed", '"b'),
        ("a = [1, [2], # b\n\n", "this array is not closed", "[1, [2], # b"),
        ("a = [{b = 1,\nc = 2}]", "this inline table does not end on its line", "{b = 1,"),
        ("a = {b = 1", "this inline table does not end on its line", "{b = 1"),
    ],
)
def test_what_is_left_open_is_shown_from_where_it_opens(
    text: str, message: str, under: str
) -> None:
    assert refusal(text) == (message, under)


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        ("a = review", "expected a value (a string has quotes), found `review`", "review"),
        ("a =\nb = 1", "expected a value (a string has quotes), found the end of the line", ""),
        ("a\n", "expected `=` after a key, found the end of the line", ""),
        ("a", "expected `=` after a key, found the end of the file", ""),
        ("[a\n", "expected `]` after the name of a table, found the end of the line", ""),
        ('[a\nb = "c', "expected `]` after the name of a table, found the end of the line", ""),
        ("[[a]\n", "expected `]]` after the name of a table, found `]`", "]"),
        ("[]", "expected a key, found `]`", "]"),
        ("a = {b = 1,}", "expected a key, found `}`", "}"),
        ("a = {b = 1 c = 2}", "expected `,` or `}` in an inline table, found `c`", "c"),
        ("a = [1 2]", "expected `,` or `]` in an array, found `2`", "2"),
        ("a = [1\nb = 2", "expected `,` or `]` in an array, found `b`", "b"),
        ("a = 1 b = 2", "expected the end of the line, found `b`", "b"),
        ("a = 1 \r", "expected the end of the line, found `\\r`", "\r"),
        ("= 1", "expected a key or a `[table]`, found `=`", "="),
    ],
)
def test_what_is_missing_is_named_with_what_stands_there(
    text: str, message: str, under: str
) -> None:
    assert refusal(text) == (message, under)


@pytest.mark.parametrize(
    ("text", "message", "under"),
    [
        (
            r'a = "C:\dir"',
            "unknown escape in a string; a backslash itself is `\\\\`",
            r"\d",
        ),
        ('a = "b\\\nc"', "unknown escape in a string; a backslash itself is `\\\\`", "\\"),
        (r'a = "\u12"', "`\\u` takes four hexadecimal digits, `\\U` takes eight", r"\u"),
        (r'a = "\ud800"', "the escape names no Unicode character", r"\ud800"),
        ("a = 1979-02-31", "invalid date or datetime", "1979-02-31"),
        ("a = '\x00'", "found invalid character '\\x00'", "\x00"),
    ],
)
def test_what_cannot_stand_in_a_value_is_shown(text: str, message: str, under: str) -> None:
    assert refusal(text) == (message, under)


@pytest.mark.parametrize(
    ("text", "under"),
    [
        ("a = " + "[" * 500, "["),
        ("a = " + "[" * 500 + "]" * 500, "["),
        ("a = " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "["),
        ("a." * 2000 + "b = 1", "a"),
        ("[" + "a." * MAX_DEPTH + "b]", "b"),
        ("[" + "a." * 60 + "b]\n" + "c." * 60 + "d = 1", "c"),
    ],
)
def test_what_is_too_deep_is_shown(text: str, under: str) -> None:
    assert refusal(text) == (f"nested more than {MAX_DEPTH} levels deep", under)


def test_what_is_missing_at_the_end_is_shown_after_the_last_word() -> None:
    with pytest.raises(TomlSyntaxError) as caught:
        parse_toml(Source("x.toml", "a =  "))
    assert caught.value.span == Span(1, 4, 1, 4)


def test_what_is_as_deep_as_allowed_is_accepted() -> None:
    parse_toml(Source("x.toml", "a = " + "[" * MAX_DEPTH + "1" + "]" * MAX_DEPTH))


@pytest.mark.parametrize("digits", ["9" * 5000, "-1" + "_0" * 5000, "0x" + "f" * 4000])
def test_an_integer_too_long_to_print_is_shown(digits: str) -> None:
    text = f"a = {'9' * 4000}\nb = '{digits}'\nc = [{digits}]"
    assert refusal(text) == ("an integer of thousands of digits", digits)


def test_a_long_word_in_a_string_is_accepted() -> None:
    text = "0x" + "f" * 4000
    assert parse_toml(Source("x.toml", f"a = '{text}'")) == {"a": text}
