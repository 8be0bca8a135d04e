"""What would take time by the square of a spec's size is counted or compared with the plain way, never timed."""

from __future__ import annotations

import difflib
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.base.suggestions import closest_match
from engine.compile import references
from engine.expressions.templates import parse_template
from engine.record.result import NodeResult, Reason, Result
from tests.compile.test_compiler import A, compiled

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
WORDS = st.text("abB1_", min_size=1, max_size=8)


@RELAXED
@given(WORDS, st.lists(WORDS, max_size=12))
def test_the_nearest_is_that_of_difflib(word: str, known: list[str]) -> None:
    folded = {each.lower(): each for each in sorted(set(known))}
    expected = folded.get(word.lower())
    if expected in (None, word):
        expected = next(iter(difflib.get_close_matches(word, sorted(set(known)), n=1)), None)
    assert closest_match(word, known) == expected


def test_of_many_names_few_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []

    class Counting(difflib.SequenceMatcher):  # type: ignore[type-arg]
        def ratio(self) -> float:
            compared.append(self)
            return super().ratio()

    monkeypatch.setattr(difflib, "SequenceMatcher", Counting)
    assert (
        closest_match("collect_all", [f"node_{at}" for at in range(1000)] + ["collect_al"])
        == "collect_al"
    )
    assert len(compared) == 1


def chain_of(count: int) -> Result:
    nodes = {
        f"n{at}": NodeResult(
            f"n{at}", "skipped", Reason("needs", "", (f"n{at + 1}",) if at + 1 < count else ())
        )
        for at in range(count)
    }
    return Result("failed", nodes)


@RELAXED
@given(st.integers(1, 15), st.integers(1, 12), st.data())
def test_the_middle_of_a_long_chain_is_left_out(count: int, most: int, data: Any) -> None:
    start = data.draw(st.integers(0, count - 1))
    plain = [f"n{at} skipped" for at in range(start, count)]
    if len(plain) > most:
        plain[most - 1 : -1] = [f"… {len(plain) - most} more …"]
    assert chain_of(count).explain(f"n{start}", most) == tuple(plain)


def test_a_chain_is_not_walked_anew_for_each_of_its_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    cause = Result._find_cause

    def counting(self: Result, name: str) -> str | None:
        looked.append(name)
        return cause(self, name)

    monkeypatch.setattr(Result, "_find_cause", counting)
    chain_of(1000).to_json()
    assert len(looked) < 12_000


def test_a_table_with_many_bad_strings_is_parsed_a_few_times(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parsed: list[Any] = []

    def counting(value: Any) -> Any:
        parsed.append(value)
        return parse_template(value)

    monkeypatch.setattr(references, "parse_template", counting)
    bad = ", ".join(['"${"'] * 50)
    _, found = compiled(A + f"with = {{ argv = [{bad}] }}")
    assert len(found) == 50
    assert len([value for value in parsed if not isinstance(value, str)]) <= 2
