"""Reading line by line gives what tomli gives, or leaves the text to it."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import tomli
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.toml.lines import loads
from engine.toml.source import Source, parse

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=1000)

KEYS = ("a", "b", "c-d", "1", '"q"', "a.b", "é")
VALUES = (
    *('"x"', '"${n.y}"', '""', '"a # b"', '"it\'s"', '"\\u0041"', '"tab\t"', '"\x01"', '"open'),
    *("'x'", "'a \"b\" c'", "1", "-0.0", "nan", "true", "1979-05-27", "07:32:00", "0x1F", "1_0"),
    *('["x", "y"]', '["x"]', "[]", '["x", 1, ["y"]]', "[", '"x",', "]", '"""', "'''", "wrong"),
    *('{ k = "x", l = ["y", "z"] }', '{ "k" = "x" }', '{ 0 = "x", 1 = "y" }', "{}", "{ k.l = 1 }"),
    *('{ k = "x", k = "y" }', '{ "k" = "x", "l" = "y" }', '"x" # "y"', '"x" "y"'),
)
HEADERS = (
    "[a]",
    "[b]",
    "[a.b]",
    "[a.c-d]",
    "[b.a.a]",
    "[[a]]",
    "[a] # x",
    " [b]",
    '["a"]',
    "[a",
    "[é]",
)
LINE = st.one_of(
    st.tuples(
        st.sampled_from(KEYS), st.sampled_from((" = ", "=", " ")), st.sampled_from(VALUES)
    ).map("".join),
    st.sampled_from(HEADERS),
    st.sampled_from(("a = [", "b-d = [", '"x",', "]", "  1", "]]", "# [", "a = [[", '"y"]')),
    st.sampled_from(("", "# about", "  ", "# \x02", "#", "x", 'a = "1"', 'a = "2"')),
)


def exactly(value: Any) -> Any:
    """A value with the types and the order of all that is in it."""
    if isinstance(value, dict):
        return [(key, exactly(item)) for key, item in value.items()]
    return (
        [exactly(item) for item in value] if isinstance(value, list) else (type(value), repr(value))
    )


@RELAXED
@given(st.lists(LINE, max_size=8), st.sampled_from(("\n", "\n", "\n", "\r\n", "\r")))
@example(['a = "1"', "[b]", 'a = "2"', "[c-d]", 'a = "2"'], "\n")
@example(["[a.b]", "[a]", "b = 1"], "\n")
@example(["a = [", '"x", "y",', "]", "b = [", '"z",', "]", "[a.c]"], "\n")
@example(["a = [", '"y"]', "b = [", "]"], "\n")
@example(["# [", "b = 1", "]"], "\n")
@example(["a = { b = 1 }", "[a.c]"], "\n")
def test_it_is_what_tomli_reads(lines: list[str], end: str) -> None:
    text = end.join(lines)
    found = loads(text)
    if found is not None:
        assert exactly(found) == exactly(tomli.loads(text))


def test_it_reads_a_plain_text() -> None:
    text = "".join(
        f'[n.n{at}]\nwith = {{ a = ["x{at}", "y"], b = "{at}" }}\nk = 1\n' for at in range(9)
    )
    found = loads(text)
    assert found == tomli.loads(text)
    assert found["n"]["n8"]["with"] == {"a": ["x8", "y"], "b": "8"}


def test_it_reads_arrays_over_several_lines() -> None:
    text = "".join(
        f'[n{at}]\na = [\n    "{at}",\n    "x", # ten\n]\nb = [\n  1,\n]\n' for at in range(9)
    )
    assert loads(text.replace(" # ten", "")) == tomli.loads(text)
    assert loads(text) == tomli.loads(text)


def test_of_lines_that_are_alike_few_are_read_by_tomli(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    read = tomli.loads
    monkeypatch.setattr(tomli, "loads", lambda text: asked.append(text) or read(text))
    text = "".join(f'[n{at}]\na = ["{at}", "x"]\nb = 1979-05-27\n' for at in range(100))
    found = loads(text)
    assert asked == ['a = ["0", "1"]', "b = 1979-05-27"]
    assert found is not None
    assert found["n7"] == {"a": ["7", "x"], "b": date(1979, 5, 27)}


def test_a_text_of_many_sorts_is_left_to_tomli() -> None:
    assert loads("".join(f"k{at} = {at}\n" for at in range(900))) is not None
    assert loads("".join(f"k{at} = {at}\n" for at in range(1100))) is None


@pytest.mark.parametrize(
    "line", ["a = " + "[" * 60 + "]" * 60, "a = " + "9" * 5000, "[a" + ".b" * 60 + "]"]
)
def test_what_may_be_beyond_the_limits_is_looked_at(line: str) -> None:
    assert loads(line) is None


def test_a_large_source_is_read_so() -> None:
    text = "".join(f'[nodes.n{at}]\ntask = "x{at}"\n' for at in range(2000))
    assert parse(Source("x.toml", text)) == tomli.loads(text)
