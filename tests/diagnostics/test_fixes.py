"""Fixes: a slip in a spec is mended and nothing else; what could be two things is left alone."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import attrs
import pytest
import tomli
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.base.suggestions import unique_match
from engine.diagnostics import Diagnostics, Edit, Fix, Safety
from engine.diagnostics.fixer import apply_all, apply_edits
from engine.toml.source import Source, Span

FIXTURES = Path(__file__).parents[1] / "fixtures"

SOUND = """\
engine = 1 # the language

[pipeline]
on_failure = "cancel"

[inputs]
branch = { type = "string", default = "main" }

[pools]
graphics = 1

[nodes.build]
task   = 'shell'   # aligned
pool = "graphics"
with = { argv = ["make", "${inputs.branch}"] }
retry = { attempts = 2, delay = "1s" }

[nodes.article]
start = "draft"
needs = { build = "finished" }

[nodes.article.steps.draft]
task = "shell"
with = { argv = [
  "./draft", # "${inputs.branch}"
  "${build.stdout ?? 'inputs.branch'}",
] }
routes = { success = "polish" }

[nodes.article.steps.polish]
task = "sleep"
with.seconds = 0
timeout = "3s"
[nodes.article.steps.polish.routes]
timeout = { to = "draft", max = 2, then = "fail" }
"""

WORDS = (
    *("pipeline", "on_failure", '"cancel"', "inputs]", "inputs.branch", "pools", '"graphics"'),
    *("'shell'", "argv", "attempts", "delay", "start", '"draft"', "needs", "build =", "finished"),
    *("steps", "routes =", "routes]", "success", '"polish"', "sleep", "seconds", "to", "then"),
)


def text_of(source: Source, unsafe: bool = False) -> str:
    return apply_all(source, check, unsafe=unsafe)[0].text


def slip(word: str, at: int) -> str:
    """Two letters in the middle of a word change places; the first of its kind is what counts."""
    letters = [index for index, letter in enumerate(word) if letter.isalpha()]
    first = letters[at % (len(letters) - 1)]
    return word[:first] + word[first + 1] + word[first] + word[first + 2 :]


def tokens(text: str) -> list[str]:
    return re.findall(r"\w+|\W", text)


def test_the_spec_to_be_misspelt_is_sound() -> None:
    assert not check(Source("a.toml", SOUND))
    assert text_of(Source("a.toml", SOUND), unsafe=True) == SOUND


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=2, unique=True), st.data())
def test_a_slip_is_mended_to_the_character_or_left_alone(
    words: list[str], data: st.DataObject
) -> None:
    """Never a third thing, and no more findings than before."""
    text = SOUND
    for word in words:
        text = text.replace(word, slip(word, data.draw(st.integers(0, 20))), 1)
    mended = text_of(Source("a.toml", text))
    for ours, theirs, right in zip(*map(tokens, (mended, text, SOUND)), strict=True):
        assert ours in (theirs, right)
    assert len(check(Source("a.toml", mended))) <= len(check(Source("a.toml", text)))


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ('on_failure = "cancle"', 'on_failure = "cancel"'),
        ("[pools]", "[poolz]"),
        ("task   = 'shell'", "task   = 'shel'"),
        ('pool = "graphics"', 'pool = "grapics"'),
        ('${inputs.branch}"] }', '${inputs.brnch}"] }'),
        ("argv = [\n", "agv = [\n"),
        ("attempts = 2", "atempts = 2"),
        ('start = "draft"', 'start = "darft"'),
        ("needs = { build", "needs = { biuld"),
        ("${build.stdout", "${biuld.stdout"),
        ('"finished"', '"finishd"'),
        ('success = "polish"', 'sucess = "polish"'),
        ('to = "draft"', 'to = "drafd"'),
        ("with.seconds", "with.second"),
        ("timeout =", "timout ="),
    ],
)
def test_every_kind_of_slip_is_mended(wrong: str, right: str) -> None:
    one, other = (wrong, right) if wrong in SOUND else (right, wrong)
    assert text_of(Source("a.toml", SOUND.replace(one, other))) == SOUND


@pytest.mark.parametrize(
    "read", ["inputs['NAME']", 'inputs[\\"NAME\\"]', "inputs['NAME'] + 'NAME'", "inputs.NAME"]
)
def test_an_input_is_mended_however_it_is_read(read: str) -> None:
    text = SOUND.replace("inputs.branch}", read + "}", 1)
    right, wrong = text.replace("NAME", "branch"), text.replace("NAME", "brnch", 1)
    assert not check(Source("a.toml", right))
    assert text_of(Source("a.toml", wrong.replace("NAME", "branch"))) == right


def test_a_key_of_several_headers_is_mended_in_all_of_them() -> None:
    assert text_of(Source("a.toml", SOUND.replace(".steps.", ".stpes."))) == SOUND


def test_a_key_that_is_there_already_is_not_put_there_twice() -> None:
    text = SOUND.replace('timeout = "3s"', 'timeout = "3s"\ntimeoot = "4s"')
    assert text_of(Source("a.toml", text)) == text


def test_of_two_slips_for_one_key_the_first_is_mended() -> None:
    text = SOUND.replace('timeout = "3s"', 'timeoot = "3s"\ntimeuot = "4s"')
    assert text_of(Source("a.toml", text)) == text.replace("timeoot", "timeout")


def test_what_could_be_two_names_is_left_alone() -> None:
    assert unique_match("fetch", ["fetch_1", "fetch_2"]) is None
    assert unique_match("retries", ["retry", "requires"]) is None
    assert unique_match("SLEEP", ["sleep", "shell"]) == "sleep"


def test_a_loop_is_bounded_only_when_asked_for() -> None:
    for path in sorted((FIXTURES / "err").glob("*loop*.toml")):
        source = Source(path, path.read_text())
        loops = [each for each in check(source) if each.rule.code == "E301"]
        assert text_of(source) == source.text
        left = check(Source(path, text_of(source, unsafe=True)))
        assert not (loops and [each for each in left if each.rule.code == "E301"]), path


@pytest.mark.parametrize(
    ("route", "bounded"),
    [
        ('routes = { 3 = "a" }', 'routes = { 3 = { to = "a", max = 3 } }'),
        (
            'routes = { 3 = { to = "a", delay = "1s" } }',
            'routes = { 3 = { to = "a", max = 3, delay = "1s" } }',
        ),
        ('[nodes.a.routes.3]\nto = "a" # x', '[nodes.a.routes.3]\nto = "a" # x\nmax = 3'),
        ('[nodes.a.routes.3]\r\n\tto="a"\r', '[nodes.a.routes.3]\r\n\tto="a"\r\n\tmax = 3\r'),
        ('[nodes.a.routes]\n3.to = "a" # x', '[nodes.a.routes]\n3.to = "a" # x\n3.max = 3'),
        ('[nodes.a.routes]\n3 = "a"', '[nodes.a.routes]\n3 = { to = "a", max = 3 }'),
        ('routes.3.to = "a"', 'routes.3.to = "a"\nroutes.3.max = 3'),
        ("'routes' . \"3\". to = 'a'", "'routes' . \"3\". to = 'a'\n'routes' . \"3\". max = 3"),
        ('routes = { 3.to = "a" } # x', 'routes = { 3.to = "a", 3.max = 3 } # x'),
        ('routes = { 4 = "done", 3.to = "a" }', 'routes = { 4 = "done", 3.to = "a", 3.max = 3 }'),
        ('routes.3 = { to = "a" }', 'routes.3 = { to = "a", max = 3 }'),
    ],
)
def test_a_bound_goes_where_the_route_is_written(route: str, bounded: str) -> None:
    head = 'engine = 1\n[nodes.a]\ntask = "shell"\nwith = { argv = ["x"] }\n'
    source = Source("a.toml", head + route + "\n")
    assert text_of(source, unsafe=True) == head + bounded + "\n"
    assert not check(Source("a.toml", text_of(source, unsafe=True)))


def test_one_mended_mistake_shows_the_next() -> None:
    text = SOUND.replace("retry = { attempts = 2, delay", "rety = { attempts = 2, dealy")
    assert text_of(Source("a.toml", text)) == SOUND


spans = st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted)


@given(st.text("ab\n", min_size=12, max_size=12), st.lists(spans, max_size=4))
def test_edits_are_made_as_if_one_by_one(text: str, extents: list[list[int]]) -> None:
    source = Source("a.toml", text)
    apart = [e for i, e in enumerate(sorted(extents)) if i == 0 or sorted(extents)[i - 1][1] < e[0]]
    fixes = [Fix("x", (Edit(source.span_between(a, b), "<>"),)) for a, b in apart]
    expected = text
    for start, end in reversed(apart):
        expected = expected[:start] + "<>" + expected[end:]
    if all(a[1] < b[0] for a, b in itertools.pairwise(apart)):
        assert apply_edits(source, fixes).text == expected


def test_a_fix_that_brings_nothing_ends() -> None:
    fix = Fix("for ever", (Edit(Span(1, 1, 1, 1), "# x\n"),))

    def look(source: Source) -> Diagnostics:
        [found] = check(Source("a.toml", "x"))
        return Diagnostics.collect([attrs.evolve(found, source=source, fix=fix)])

    mended, made = apply_all(Source("a.toml", ""), look, unsafe=False)
    assert made == mended.text.count("# x")
    assert tomli.loads(mended.text) == {}


def test_json_shows_a_fix() -> None:
    [found] = check(Source("a.toml", SOUND.replace("timeout =", "timout =", 1)))
    assert found.to_json()["fix"] == {
        "message": "write `timeout` for `timout`",
        "safety": Safety.SAFE,
        "edits": [{"line": 33, "column": 1, "end_line": 33, "end_column": 7, "text": "timeout"}],
    }
