"""How deep pipelines may stand one in another: all that is allowed runs, all beyond is a finding, and nothing a traceback."""

from __future__ import annotations

import pathlib
from itertools import pairwise

import pytest

from engine.api import check
from engine.compile.compiler import compile as compile_spec
from engine.diagnostics import Diagnostics
from engine.language.loader import load_spec
from engine.language.nesting import MAX_NESTING
from engine.plan.plan import Plan
from engine.testing.simulation import simulate
from engine.toml.source import Source
from tests.support.plans import registry

LEAF = 'task = "shell"\nwith = { argv = ["x"] }\n'


def file_of(order: list[int]) -> str:
    """A file whose pipelines use each the next, written in this order, and the first of which it uses itself."""
    last = max(order)
    text = 'engine = 1\n[nodes.a]\npipeline = "p0"\n'
    for at in order:
        body = LEAF if at == last else f'pipeline = "p{at + 1}"\n'
        text += f"[pipelines.p{at}.nodes.x]\n{body}"
    return text


def chain_of(files: int) -> dict[str, str]:
    """Files each of which names the next."""
    texts = {f"f{files - 1}.toml": f"engine = 1\n[nodes.x]\n{LEAF}"}
    for at, after in pairwise(range(files)):
        texts[f"f{at}.toml"] = f'engine = 1\n[nodes.x]\npipeline = "./f{after}.toml"\n'
    return texts


def compiled(texts: dict[str, str], first: str) -> tuple[Plan | None, Diagnostics]:
    def reader(path: pathlib.Path) -> Source:
        return Source(path, texts[path.name])

    spec, found = load_spec(Source(first, texts[first]), reader)
    assert spec is not None
    plan, more = compile_spec(spec, registry())
    return plan, Diagnostics.collect((*found, *more))


@pytest.mark.parametrize("turned", [False, True])
def test_as_deep_as_may_be_runs(turned: bool) -> None:
    order = list(range(MAX_NESTING - 1))
    plan, found = compiled({"case.toml": file_of(order[::-1] if turned else order)}, "case.toml")
    assert plan is not None
    assert not found
    result = simulate(plan)
    assert result.status == "succeeded"
    assert result.to_json()
    assert simulate(plan, cancel_at=0.5).status == "cancelled"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("count", [MAX_NESTING, 160])
def test_deeper_is_told_at_the_step_that_is_one_too_many(count: int, turned: bool) -> None:
    order = list(range(count))
    _, found = compiled({"case.toml": file_of(order[::-1] if turned else order)}, "case.toml")
    names = [f"p{at}" for at in range(count - MAX_NESTING, -1, -MAX_NESTING)]
    expected = {
        f"with `{name}` pipelines are nested more than {MAX_NESTING} levels deep" for name in names
    }
    assert {each.message for each in found} == expected
    assert {each.rule.code for each in found} == {"E103"}


def test_check_tells_it_too() -> None:
    assert [each.rule.code for each in check(Source("case.toml", file_of(list(range(60)))))] == [
        "E103"
    ]


def test_files_may_be_as_deep() -> None:
    plan, found = compiled(chain_of(MAX_NESTING), "f0.toml")
    assert not found
    assert plan is not None


@pytest.mark.parametrize("count", [MAX_NESTING + 1, 250])
def test_files_nested_deeper_are_told_once(count: int) -> None:
    _, found = compiled(chain_of(count), "f0.toml")
    [one] = found
    assert (one.rule.code, pathlib.PurePath(one.source.path).name) == (
        "E103",
        f"f{MAX_NESTING - 1}.toml",
    )


def test_a_file_met_before_at_less_depth_counts_with_all_that_is_in_it() -> None:
    texts = chain_of(60)
    texts["f0.toml"] += '[nodes.early]\npipeline = "./f30.toml"\n'
    texts["case.toml"] = texts["f0.toml"].replace("[nodes.x]", "[nodes.z]")
    first, rest = texts["case.toml"].split("[nodes.early]")
    texts["case.toml"] = "engine = 1\n[nodes.early]" + rest + first.removeprefix("engine = 1\n")
    _, found = compiled(texts, "case.toml")
    assert {each.rule.code for each in found} == {"E103"}
