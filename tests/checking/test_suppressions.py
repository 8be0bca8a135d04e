"""Ignores: what a comment silences, wherever it stands, and that text is no comment."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.api import analyse, check
from engine.diagnostics.fixer import apply_all
from engine.toml import scanner
from engine.toml.source import Source
from tests.support.strategies import cases

LINES = """\
engine = 1

[nodes.build]
start = "make"
steps.make.task = "sleep"
steps.make.with.seconds = 0
# a word on the next

[nodes.build.steps.orphan]
task = "sleep"
with = { seconds = 0 }
""".splitlines()
ORPHAN = 9
COMMENT = "# engine: ignore[E302] for another day"


def codes(text: str) -> list[str]:
    return [each.rule.code for each in check(Source("a.toml", text))]


def test_without_a_comment_it_is_told() -> None:
    assert codes("\n".join(LINES)) == ["E302"]


@given(st.integers(0, len(LINES)), st.booleans(), st.sampled_from(["E302", "unreachable-step"]))
def test_a_comment_silences_its_line_or_the_next(at: int, alone: bool, word: str) -> None:
    comment = COMMENT.replace("E302", word)
    lines = list(LINES)
    if alone:
        lines.insert(at, comment)
    elif at < len(lines) and lines[at].strip() and lines[at][0] != "#":
        lines[at] += " " + comment
    else:
        return
    hit = at == ORPHAN - 1
    assert sorted(codes("\n".join(lines))) == ([] if hit else ["E302", "W702"])


@pytest.mark.parametrize(
    "comment",
    [
        "#engine:ignore[E302] close",
        "##  engine:   ignore [ W702 , E302 ]   wide",
        "# engine: ignore[E302,E303] two",
    ],
)
def test_a_comment_may_be_spaced_as_one_likes(comment: str) -> None:
    text = "\n".join([*LINES[: ORPHAN - 1], comment, *LINES[ORPHAN - 1 :]])
    assert "E302" not in codes(text)


def test_comments_may_stand_in_a_block_above() -> None:
    block = [COMMENT, "# more on why"]
    assert codes("\n".join([*LINES[: ORPHAN - 1], *block, *LINES[ORPHAN - 1 :]])) == []


def test_an_ignored_error_does_not_keep_a_spec_from_running() -> None:
    text = "\n".join([*LINES[: ORPHAN - 1], COMMENT, *LINES[ORPHAN - 1 :]])
    plan, found = analyse(Source("a.toml", text))
    assert plan is not None
    assert not found
    assert engine.run(plan).status == "succeeded"


def test_what_is_in_another_file_is_silenced_there(tmp_path: Path) -> None:
    text = "\n".join(LINES)
    (tmp_path / "child.toml").write_text(text)
    parent = tmp_path / "parent.toml"
    parent.write_text('engine = 1\n[nodes.a]\npipeline = "./child.toml"\n')
    assert [each.rule.code for each in check(parent)] == ["E302"]
    commented = text.replace("[nodes.build.steps.orphan]", f"{COMMENT}\n[nodes.build.steps.orphan]")
    (tmp_path / "child.toml").write_text(commented + f"\n{COMMENT}\n")
    assert not check(parent)
    assert [each.rule.code for each in check(tmp_path / "child.toml")] == ["W702"]


def test_positions_are_not_looked_for_without_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def comments(_: str) -> None:
        raise AssertionError

    monkeypatch.setattr(scanner, "iter_comments", comments)
    assert codes("\n".join(LINES)) == ["E302"]
    with pytest.raises(AssertionError):
        codes(f"{COMMENT}\nengine = 1")


@pytest.mark.parametrize("line", [f"  {COMMENT}\n", f"x = 1 {COMMENT}\n", COMMENT])
def test_an_unused_comment_can_be_taken_out(line: str) -> None:
    head = 'engine = 1\n[nodes.a]\ntask = "shell"\nwith = { argv = ["a"] }\n'
    text = head + line.replace("x = 1", 'timeout = "1s"')
    mended, made = apply_all(Source("a.toml", text), check, unsafe=True)
    assert made == 1
    assert mended.text in (head, head + 'timeout = "1s"\n')
    assert apply_all(Source("a.toml", text), check, unsafe=False) == (Source("a.toml", text), 0)


awkward = st.text("#'\"\\\n\r\t ab", max_size=8)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(awkward, awkward | st.lists(awkward), max_size=4), st.data())
def test_comments_are_found_and_nothing_else(doc: dict[str, object], data: st.DataObject) -> None:
    planted: list[str] = []
    lines = []
    for line in tomli_w.dumps(doc).splitlines():
        comment = data.draw(st.sampled_from(["", "# x", '#"', "#'''", "##[ engine: ignore"]))
        planted += [comment] * bool(comment)
        lines.append(f"{line} {comment}")
    text = "\r\n".join(lines)
    assert tomli.loads(text) == doc
    assert [text[slice(*each)] for each in scanner.iter_comments(text)] == planted


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=25)
@given(cases())
def test_a_spec_without_comments_has_none(case: tuple[dict[str, object], object, object]) -> None:
    assert not list(scanner.iter_comments(tomli_w.dumps(case[0])))
