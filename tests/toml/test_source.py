"""Positions against tomli: what a span cuts out of the text parses to what tomli found there."""

from __future__ import annotations

import base64
import datetime
import json
import pathlib
from collections.abc import Iterator
from typing import Any

import pytest
import tomli
from hypothesis import example, given
from hypothesis import strategies as st

from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span, TomlSyntaxError, parse_toml, read_source

CORPUS = pathlib.Path(__file__).parents[3] / "shared" / "corpora" / "toml_test.jsonl"


def corpus(verdict: str) -> list[Any]:
    if not CORPUS.exists():
        return []
    cases = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [
        pytest.param(
            case["text"].encode() if "text" in case else base64.b64decode(case["base64"]),
            id=case["id"],
        )
        for case in cases
        if case["expect"]["verdict"] == verdict
    ]


needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="no toml_test.jsonl beside the repo")


def cut(source: Source, span: Span) -> str:
    start = source.offset_of(span.line, span.column)
    return source.text[start : source.offset_of(span.end_line, span.end_column)]


def paths(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key), inner
        if isinstance(inner, (dict, list)):
            yield from paths(inner, (*path, key))


def check_positions(source: Source) -> None:
    for path, value in paths(parse_toml(source)):
        check_key(source, path)
        if not isinstance(value, (dict, list)):
            again = tomli.loads(f"x = {cut(source, source.value_span(path))}")
            assert repr(again["x"]) == repr(value)


def check_key(source: Source, path: KeyPath) -> None:
    written = cut(source, source.key_span(path))
    if isinstance(path[-1], str):
        assert tomli.loads(f"{written} = 1") == {path[-1]: 1}
    else:
        in_header = source.line_text(source.key_span(path).line).lstrip().startswith("[[")
        assert in_header or written == cut(source, source.value_span(path))


def spans_are_inside(source: Source, span: Span) -> bool:
    lines = source.text.split("\n")
    start, end = (span.line, span.column), (span.end_line, span.end_column)
    return (1, 1) <= start <= end and all(
        line <= len(lines) and column <= len(lines[line - 1]) + 1 for line, column in (start, end)
    )


def parse_or_syntax(source: Source) -> None:
    """Anything but Syntax fails the test that calls this."""
    refused: TomlSyntaxError | None = None
    try:
        parse_toml(source)
    except TomlSyntaxError as error:
        refused = error
    assert refused is None or spans_are_inside(source, refused.span)


# --- strategies -----------------------------------------------------------------------------

SHORT = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
CHARACTERS = st.one_of(st.sampled_from("ab \t\n\"'\\#=[]\x1bé😀"), st.characters(codec="utf-8"))


def is_raw(char: str, style: str, previous: str) -> bool:
    """Whether a character may stand in a literal as it is."""
    if char == "\n":
        return len(style) == 3
    if char == style[0]:
        return len(style) == 3 and previous != char
    if char == "\\":
        return style[0] == "'"
    return char == "\t" or (char >= " " and char != "\x7f")


@st.composite
def strings(
    draw: st.DrawFn, styles: tuple[str, ...] = ('"', "'", '"""', "'''")
) -> tuple[str, list[tuple[int, int]]]:
    """A literal, and where each character of what it means is written in it."""
    style = draw(st.sampled_from(styles))
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    literal = style + (newline if len(style) == 3 else "")
    extents: list[tuple[int, int]] = []
    previous, trimming = "", False
    for char in draw(st.text(CHARACTERS, max_size=8)):
        choices = ways(char, style, previous, newline, trimming)
        if not choices:
            continue
        written = draw(st.sampled_from(choices))
        extents.append((len(literal), len(literal) + len(written)))
        literal += written
        previous, trimming = written, False
        if style == '"""' and draw(st.booleans()):
            literal += f"\\{draw(st.sampled_from(['', ' ']))}{newline}{newline}  "
            previous, trimming = "", True
    return literal + style, extents


def ways(char: str, style: str, previous: str, newline: str, trimming: bool) -> list[str]:
    """How a character may be written in a literal at a place."""
    raw = newline if char == "\n" else char
    found = [raw] if is_raw(char, style, previous) and not (trimming and char in " \t\n") else []
    if style[0] == '"':
        found += [f"\\U{ord(char):08x}"]
        found += [f"\\u{ord(char):04X}"] if ord(char) < 0x10000 else []
        found += [SHORT[char]] if char in SHORT else []
    return found


BARE = st.text("abcXYZ019-_", min_size=1, max_size=4)
KEYS = st.one_of(BARE, strings(('"', "'")).map(lambda drawn: drawn[0]))
SCALARS = st.one_of(
    strings().map(lambda drawn: drawn[0]),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["true", "false", "0xDEAD_beef", "0b1", "+1_0", "1e5", "-0.0", "07:32:00.5"]),
    st.sampled_from(["1979-05-27", "1979-05-27 07:32:00", "1979-05-27t07:32:00-07:00"]),
)
GAPS = st.sampled_from(["", " ", "\n\t", " # ]\" '\n", "\r\n"])


@st.composite
def arrays(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(inner, max_size=3))
    tail = draw(st.sampled_from([",", ""])) if items else ""
    body = ",".join(f"{draw(GAPS)}{item}{draw(GAPS)}" for item in items)
    return f"[{body}{tail}{draw(GAPS)}]"


@st.composite
def tables(draw: st.DrawFn, inner: st.SearchStrategy[str]) -> str:
    keys = draw(st.lists(st.tuples(BARE, KEYS), max_size=3, unique_by=lambda pair: pair[0]))
    pairs = [f"{name} . {key}={draw(inner)}" for name, key in keys]
    return "{ " + " , ".join(pairs) + "}"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Pairs, sub-tables before their tables, arrays of tables, their names unique."""
    newline = draw(st.sampled_from(["\n", "\r\n"]))
    lines = [f"k{i}.{draw(KEYS)} = {draw(VALUES)} # end" for i in range(draw(st.integers(0, 2)))]
    for i in range(draw(st.integers(0, 2))):
        part = draw(KEYS)
        lines += [f"\t[t{i}.{part}. sub ]", f"'k' = {draw(VALUES)}", f"[ t{i} ]", "k = 1"]
    for i in range(draw(st.integers(0, 2))):
        lines += [f"[[a.{draw(BARE)}-{i}]]", f"k.l = {draw(VALUES)}"] * 2
    return newline.join(["", *lines, ""])


# --- positions ------------------------------------------------------------------------------


@needs_corpus
@pytest.mark.parametrize("data", corpus("valid"))
def test_every_value_and_key_of_a_valid_document_is_where_its_span_says(data: bytes) -> None:
    check_positions(Source("x.toml", data.decode()))


@given(documents())
@example('"a\\u0020\\U00000062" = [[{a.b = 1}], {}]')
def test_every_value_and_key_of_a_drawn_document_is_where_its_span_says(text: str) -> None:
    check_positions(Source("x.toml", text))


@given(strings())
@example(('""""""""', [(3, 4), (4, 5)]))
@example(("'''''''", [(3, 4)]))
@example(('"""\r\n\r\n"""', [(5, 7)]))
@example(("'''\r\n\r\n'''", [(5, 7)]))
def test_each_character_of_a_string_is_where_its_span_says(
    drawn: tuple[str, list[tuple[int, int]]],
) -> None:
    literal, extents = drawn
    source = Source("x.toml", f"\tx={literal} # '\"")
    assert len(parse_toml(source)["x"]) == len(extents)
    found = [source.span_within(("x",), i, i + 1) for i in range(len(extents))]
    assert found == [source.span_between(start + 3, end + 3) for start, end in extents]


@given(strings(), st.data())
def test_a_range_goes_from_its_first_character_to_its_last(
    drawn: tuple[str, list[tuple[int, int]]], data: st.DataObject
) -> None:
    literal, extents = drawn
    start = data.draw(st.integers(0, len(extents)))
    end = data.draw(st.integers(start, len(extents)))
    source = Source("x.toml", f"x={literal}")
    if start == end:
        expected = (extents[start][0],) * 2 if start < len(extents) else (0, len(literal))
    else:
        expected = extents[start][0], extents[end - 1][1]
    assert source.span_within(("x",), start, end) == source.span_between(
        expected[0] + 2, expected[1] + 2
    )


SPEC = Source(
    "spec.toml",
    """\
[nodes.a.steps.x]
task = "shell"

[nodes.a]
with = { argv = ["ls", "-l"], 'env' . HOME = "/" }

[[list]]
n = 1
[[list]]
n = 2
""",
)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("nodes",), Span(1, 2, 1, 7)),
        (("nodes", "a"), Span(4, 8, 4, 9)),
        (("nodes", "a", "steps"), Span(1, 10, 1, 15)),
        (("nodes", "a", "steps", "x", "task"), Span(2, 1, 2, 5)),
        (("nodes", "a", "with", "env"), Span(5, 31, 5, 36)),
        (("nodes", "a", "with", "env", "HOME"), Span(5, 39, 5, 43)),
        (("nodes", "a", "with", "argv", 1), Span(5, 24, 5, 28)),
        (("list",), Span(7, 3, 7, 7)),
        (("list", 1), Span(9, 3, 9, 7)),
        (("list", 1, "n"), Span(10, 1, 10, 2)),
    ],
)
def test_key(path: KeyPath, expected: Span) -> None:
    assert SPEC.key_span(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (("nodes", "a"), Span(4, 8, 4, 9)),
        (("nodes", "a", "with"), Span(5, 8, 5, 51)),
        (("nodes", "a", "with", "argv"), Span(5, 17, 5, 29)),
        (("nodes", "a", "with", "argv", 0), Span(5, 18, 5, 22)),
        (("nodes", "a", "with", "env"), Span(5, 31, 5, 36)),
        (("list", 0), Span(7, 3, 7, 7)),
    ],
)
def test_value(path: KeyPath, expected: Span) -> None:
    assert SPEC.value_span(path) == expected


def test_an_unknown_path_is_its_nearest_ancestor() -> None:
    assert SPEC.key_span(("nodes", "a", "needs", 3)) == SPEC.key_span(("nodes", "a"))


def test_the_empty_path_is_the_start() -> None:
    assert SPEC.key_span(()) == SPEC.value_span(()) == Span(1, 1, 1, 1)


@pytest.mark.parametrize(
    ("path", "start", "end"), [(("s",), 0, 4), (("s",), 2, 1), (("n",), 0, 1), (("s", "t"), 0, 1)]
)
def test_within_falls_back_to_the_value(path: KeyPath, start: int, end: int) -> None:
    source = Source("x.toml", 's = "abc"\nn = 12')
    assert source.span_within(path, start, end) == source.value_span(path)


def test_columns_count_code_points_and_tabs_once() -> None:
    assert Source("x.toml", '"é😀"\t=\t1').value_span(("é😀",)) == Span(1, 8, 1, 9)


def test_a_byte_order_mark_is_not_counted() -> None:
    source = Source("x.toml", "\ufeffa = 1")
    assert (parse_toml(source), source.key_span(("a",))) == ({"a": 1}, Span(1, 1, 1, 2))


@pytest.mark.parametrize(
    ("number", "expected"), [(0, ""), (1, "a = 1"), (2, "\tb = 2"), (3, ""), (4, "")]
)
def test_line(number: int, expected: str) -> None:
    assert Source("x.toml", "a = 1\r\n\tb = 2\n").line_text(number) == expected


def test_sources_are_equal_by_path_and_text() -> None:
    assert Source("x.toml", "a = 1", Span(1, 1, 1, 1)) == Source("x.toml", "a = 1")


def test_positions_of_a_text_that_was_not_accepted_do_not_raise() -> None:
    assert Source("x.toml", "a = 1\nb = [{c = ").key_span(("b", 0, "c")) == Span(2, 7, 2, 8)


# --- read -----------------------------------------------------------------------------------


def test_read_keeps_line_ends(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\n")
    assert read_source(file) == Source(file, "a = 1\r\n")


@pytest.mark.parametrize("data", [b"a = 1\n\xc3\xa9b\xff = 2", b"\xef\xbb\xbfa = 1\n\xc3\xa9b\xff"])
def test_read_tells_of_the_first_byte_that_is_not_utf_8(
    tmp_path: pathlib.Path, data: bytes
) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(data)
    assert read_source(file).undecodable == Span(2, 3, 2, 4)


def test_read_raises_what_the_system_says(tmp_path: pathlib.Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_source(tmp_path / "none.toml")
    with pytest.raises(IsADirectoryError):
        read_source(tmp_path)


# --- parse ----------------------------------------------------------------------------------


def test_parse_gives_plain_data() -> None:
    data = parse_toml(Source("x.toml", "a = [1, 2.5]\nb.c = 1979-05-27"))
    assert data == {"a": [1, 2.5], "b": {"c": datetime.date(1979, 5, 27)}}


@needs_corpus
@pytest.mark.parametrize("data", corpus("invalid"))
def test_an_invalid_document_is_refused_inside_its_text(
    tmp_path: pathlib.Path, data: bytes
) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(data)
    source = read_source(file)
    with pytest.raises(TomlSyntaxError) as caught:
        parse_toml(source)
    assert spans_are_inside(source, caught.value.span)


@given(st.text(st.characters(codec=None)))
def test_parse_raises_only_syntax_on_any_text(text: str) -> None:
    parse_or_syntax(Source("x.toml", text))


PIECES = """
a b = . , [ ] [[ ]] { } [a] [a.b] [[a]] a=1 b={} a.b=1 a=[{}] "x" 'x' \"\"\" ''' \\ \\u12 # 1 00
"""


@given(st.lists(st.sampled_from([*PIECES.split(), " ", "\n", "\r\n", "\r", "\x00"])))
@example(["a=1", "\n", "[a.b]"])
@example(['"', "a", "\r", '"', "\n", '"'])
@example(["b", "=", '"', "\\"])
def test_parse_raises_only_syntax_on_what_looks_like_toml(pieces: list[str]) -> None:
    parse_or_syntax(Source("x.toml", "".join(pieces)))


@given(st.binary())
def test_parse_raises_only_syntax_on_any_bytes(data: bytes) -> None:
    parse_or_syntax(Source("x.toml", data.decode(errors="surrogateescape")))


def test_a_text_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(TomlSyntaxError, match="not UTF-8") as caught:
        parse_toml(Source("x.toml", "a = '\ufffd'", Span(1, 6, 1, 7)))
    assert caught.value.span == Span(1, 6, 1, 7)
