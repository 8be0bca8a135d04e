"""Each feature has tests that show it; a few of them stand here."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import HealthCheck, given, settings

from engine.errors import EngineError
from engine.render.graphs import render_mermaid
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases

Doc = dict[str, Any]
TESTS = Path(__file__).parents[1]
FEATURES = tomllib.loads((TESTS / "fixtures" / "features.toml").read_text(encoding="utf-8"))
NAMED = [(row, name) for row, each in FEATURES.items() for name in each["tests"]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=40)


def test_every_row_has_tests() -> None:
    assert sorted(map(int, FEATURES)) == list(range(1, 81))
    assert all(each["tests"] for each in FEATURES.values())


@pytest.mark.parametrize(("row", "name"), NAMED)
def test_a_test_that_a_row_names_is_there(row: str, name: str) -> None:
    folder, file, test = re.split("[/:]", name)
    text = (TESTS / folder / f"test_{file}.py").read_text(encoding="utf-8")
    assert re.search(rf"^ *(?:async )?def test_{test}\(", text, re.MULTILINE), f"row {row}"


def without_groups(doc: Doc) -> Doc:
    return doc | {
        "nodes": {n: {k: v for k, v in t.items() if k != "group"} for n, t in doc["nodes"].items()}
    }


@given(cases())
@RELAXED
def test_groups_change_nothing_but_the_drawing(case: tuple[Doc, Doc, Doc]) -> None:
    doc, script, inputs = case
    grouped = doc | {
        "nodes": {
            name: table | {"group": f"g{at % 2}"}
            for at, (name, table) in enumerate(doc["nodes"].items())
        }
    }
    plan, other = plan_of(without_groups(doc)), plan_of(grouped)
    assert plan.hash == other.hash
    assert render_mermaid(plan) != render_mermaid(other)
    try:
        one = simulate(plan, parse_script(script, plan), inputs)
    except EngineError:  # it hangs for ever, and so does the other
        return
    assert comparable(one) == comparable(simulate(other, parse_script(script, other), inputs))


@given(cases())
@RELAXED
def test_a_plan_is_a_graph_in_a_stable_order(case: tuple[Doc, Doc, Doc]) -> None:
    plan = plan_of(case[0])
    graph = plan.graph
    assert list(graph) == [node.name for node in plan.nodes]
    edges = {(plan.nodes[e.source].name, n.name) for n in plan.nodes for e in n.edges}
    assert set(graph.edges) == edges
    assert networkx.is_directed_acyclic_graph(graph)
    order = [plan.nodes[at].name for at in plan.order]
    assert order == [plan_of(case[0]).nodes[at].name for at in plan.order]
    assert all(order.index(one) < order.index(other) for one, other in edges)


@given(cases())
@RELAXED
def test_a_run_changes_no_plan(case: tuple[Doc, Doc, Doc]) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    parsed = parse_script(script, plan)
    try:
        first = simulate(plan, parsed, inputs)
    except EngineError:
        return
    assert simulate(plan, parsed, inputs).to_json() == first.to_json()
    assert plan.hash == plan_of(doc).hash


def test_what_is_ready_runs_at_the_same_time() -> None:
    shell = {"task": "shell"}
    nodes = {"a": shell, "b": shell | {"needs": ["a"]}, "c": shell | {"needs": ["a"]}}
    plan = plan_of({"engine": 1, "nodes": nodes})
    result = simulate(plan, parse_script({"b/b": [{"duration": 3}]}, plan))
    assert [each.started for n in "bc" for each in result.nodes[n].attempts] == [1.0, 1.0]
