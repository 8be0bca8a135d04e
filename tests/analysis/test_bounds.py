"""T1: the worst case is what `worst` finds by trying everything, and no run comes to more."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analysis.bounds import Bound, compute_bounds, heaviest_runs, pipeline_costs
from engine.record.result import Attempt, Result
from engine.testing.scripts import _iter_step_paths, parse_script
from engine.testing.simulation import simulate
from tests.oracle import exhaustive, exhaustive_costs
from tests.support.plans import plan_of
from tests.support.small_strategies import costly_machines, costly_pipelines
from tests.support.strategies import cases

Doc = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHELL: Doc = {"task": "shell", "timeout": "1s"}
PROBE: Doc = {"task": "probe", "timeout": "1s"}


def figures(bound: Bound) -> exhaustive_costs.Cost:
    return (bound.visits, bound.attempts, pytest.approx(bound.seconds))


def unbounded(doc: Doc) -> bool:
    documents = [doc, *doc.get("pipelines", {}).values()]
    return any(
        exhaustive.endless(name, node) for d in documents for name, node in d["nodes"].items()
    )


def machine_costs_agree(doc: Doc) -> None:
    """The figures of a node and of its steps are the most that trying everything finds."""
    found = compute_bounds(plan_of(doc))
    if found is None:
        assert unbounded(doc)
        return
    [node] = found.nodes
    assert node.whole.exact
    costs = exhaustive_costs.endings(doc, "n")
    assert exhaustive_costs.most(*costs.values()) == figures(node.whole)
    cap = exhaustive_costs.seconds(doc["nodes"]["n"].get("deadline", "99999s"))
    for step, bound in zip(node.node.machine.steps, node.steps, strict=True):
        visits, attempts, time = exhaustive_costs.step_costs(doc, "n")[step.name]
        assert (attempts, min(time, cap)) == figures(bound)[1:], step.name
        assert "pipeline" in doc["nodes"]["n"]["steps"][step.name] or visits == bound.visits


def pipeline_costs_agree(doc: Doc) -> None:
    """The figures of a run are the most that trying everything finds."""
    plan = plan_of(doc)
    found = compute_bounds(plan)
    if found is None:
        assert unbounded(doc)
        return
    costs = exhaustive_costs.most(*exhaustive_costs.pipeline_costs(doc).values())
    assert found.run.exact
    if pipeline_costs.PipelineCosts(
        plan, frozenset()
    ).crowded:  # more at once than there are places
        assert covers(found.run, costs)
        return
    assert found.run.exact_time
    assert costs == figures(found.run)
    assert found.critical.seconds == found.run.seconds


@given(costly_machines())
@settings(RELAXED, max_examples=500)
def test_a_node_comes_to_exactly_what_some_run_of_it_does(doc: Doc) -> None:
    machine_costs_agree(doc)


@given(costly_pipelines())
@settings(RELAXED, max_examples=500)
def test_a_run_comes_to_exactly_what_some_run_does(doc: Doc) -> None:
    pipeline_costs_agree(doc)


# -- beyond the effort -----------------------------------------------------------------------------


def squeezed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_costs, "COST_BUDGET", 0)
    monkeypatch.setattr(heaviest_runs, "HEAVIEST_RUN_BUDGET", 0)
    monkeypatch.setattr(heaviest_runs, "MAX_STATES", 1)


@given(costly_machines())
@settings(RELAXED, max_examples=200)
def test_beyond_the_effort_a_node_comes_to_no_more(doc: Doc) -> None:
    with pytest.MonkeyPatch.context() as patch:
        squeezed(patch)
        found = compute_bounds(plan_of(doc))
    if found is not None:
        most = exhaustive_costs.most(*exhaustive_costs.endings(doc, "n").values())
        assert covers(found.nodes[0].whole, most)
        assert not found.nodes[0].whole.exact or most == figures(found.nodes[0].whole)


@given(costly_pipelines())
@settings(RELAXED, max_examples=200)
def test_beyond_the_effort_a_run_comes_to_no_more(doc: Doc) -> None:
    with pytest.MonkeyPatch.context() as patch:
        squeezed(patch)
        found = compute_bounds(plan_of(doc))
    if found is not None:
        most = exhaustive_costs.most(*exhaustive_costs.pipeline_costs(doc).values())
        assert covers(found.run, most)
        assert not found.run.exact or most == figures(found.run)


def covers(bound: Bound, cost: exhaustive_costs.Cost) -> bool:
    ours = (bound.visits, bound.attempts, bound.seconds + 1e-6)
    return all(mine >= theirs for mine, theirs in zip(ours, cost, strict=True))


# -- real runs -------------------------------------------------------------------------------------


def a_run_keeps_to_it(case: tuple[Doc, Doc, Doc]) -> None:
    """A run under the real scheduler, limits of places included, comes to no more."""
    doc, script, inputs = timed(case[0]), case[1], case[2]
    plan = plan_of(doc)
    found = compute_bounds(plan)
    assert found is not None
    result = simulate(plan, parse_script(script, plan), inputs)
    attempts = list(attempts_of(result))
    assert len(attempts) <= found.run.attempts
    assert max([0.0, *(each.ended or 0.0 for each in attempts)]) <= found.run.seconds + 1e-6
    for node in found.nodes:
        ended = result.nodes[node.node.name]
        parts = ended.items if ended.items is not None else (ended,)
        visits = [len({(each.step, each.visit) for each in part.attempts}) for part in parts]
        assert sum(visits) <= node.whole.visits
        assert len(list(ended.all_attempts())) <= node.whole.attempts
        own = list(ended.all_attempts())
        for step, bound in zip(node.node.machine.steps, node.steps, strict=True):
            assert max([0, *(a.visit for a in own if a.step == step.name)]) <= bound.visits


def timed(doc: Doc) -> Doc:
    """A copy in which each step of a task has a timeout."""
    doc = copy.deepcopy(doc)
    for document in (doc, *doc.get("pipelines", {}).values()):
        for node in document["nodes"].values():
            for step in node.get("steps", {"": node}).values():
                if "pipeline" not in step:
                    step.setdefault("timeout", "1500ms")
    return doc


def attempts_of(result: Result) -> Iterator[Attempt]:
    for node in result.nodes.values():
        for attempt in node.all_attempts():
            yield attempt
            if attempt.run is not None:
                yield from attempts_of(attempt.run)


@given(cases())
@settings(RELAXED, max_examples=300)
def test_no_run_comes_to_more(case: tuple[Doc, Doc, Doc]) -> None:
    a_run_keeps_to_it(case)


def fanned(nodes: Doc, **tables: Any) -> Bound:
    inputs = {"few": {"type": "array", "maxItems": 5}, "any": {"type": "array"}}
    return run_of(nodes, inputs=inputs, **tables)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"for_each": ["a", "b", "c"]}, (3, 3, 1.0, True)),
        ({"for_each": "${inputs.few}"}, (5, 5, 1.0, True)),
        ({"for_each": "${inputs.few}", "max_parallel": 2}, (5, 5, 3.0, True)),
        ({"for_each": "${inputs.few}", "deadline": "2500ms", "max_parallel": 2}, (5, 5, 2.5, True)),
        ({"for_each": "${inputs.any}"}, (math.inf, math.inf, math.inf, True)),
        ({"for_each": "${inputs.any}", "deadline": "9s"}, (math.inf, math.inf, 9.0, True)),
    ],
)
def test_items_count_each_and_so_many_at_a_time(keys: Doc, expected: Any) -> None:
    found = fanned({"n": {**SHELL, **keys}})
    assert (found.visits, found.attempts, found.seconds, found.exact_time) == expected


def test_no_items_come_to_nothing_whatever_one_comes_to() -> None:
    child: Doc = {"inputs": {"any": {"type": "array"}}, "pipeline": {}}
    child["nodes"] = {"m": {**SHELL, "for_each": "${inputs.any}"}}
    inputs = {"none": {"type": "array", "maxItems": 0}, "any": {"type": "array"}}
    node = {"pipeline": "child", "for_each": "${inputs.none}", "with": {"any": "${inputs.any}"}}
    found = run_of({"n": node}, inputs=inputs, pipelines={"child": child})
    assert (found.visits, found.attempts, found.seconds) == (0, 0, 0.0)


def test_items_that_let_their_place_go_in_between_have_grahams_bound() -> None:
    retry = {"attempts": 2, "delay": "1s", "max_delay": "1s"}
    keys = {"for_each": "${inputs.few}", "max_parallel": 2, "retry": retry}
    found = fanned({"n": {**SHELL, **keys}})
    assert (found.attempts, found.seconds, found.exact_time) == (10, 3 + 4 * 2 / 2, False)


def test_only_so_many_items_fail_as_are_tolerated_where_the_node_succeeds() -> None:
    """An item that fails was tried thrice; what waits for the node runs if it succeeds."""
    steps = {
        "one": {**SHELL, "routes": {"0": "done", "*": "two"}},
        "two": {**SHELL, "routes": {"*": "three"}},
        "three": {**SHELL, "routes": {"0": "fail", "*": "fail"}},
    }
    steps["two"]["routes"]["0"] = "three"
    fan = {"start": "one", "steps": steps, "for_each": list("abcd"), "tolerate": 1}
    after = {**SHELL, "needs": ["n"], "retry": {"attempts": 100, "on": [7]}}
    found = fanned({"n": fan, "m": after})
    assert found.attempts == 3 * 1 + 3 + 100


def test_where_failure_does_the_same_as_success_the_heavier_one_counts() -> None:
    steps = {
        "one": {**SHELL, "routes": {"0": "two", "*": "fail"}},
        "two": {**SHELL, "routes": {"*": "done"}},
    }
    steps["two"]["routes"]["0"] = "done"
    fan = {"start": "one", "steps": steps, "for_each": ["a", "b"], "allow_failure": True}
    assert fanned({"n": fan}).attempts == 4


def test_the_lists_that_have_no_bound_are_named() -> None:
    nodes = {"n": {**SHELL, "for_each": "${inputs.any}"}}
    doc = {"engine": 1, "inputs": {"any": {"type": "array"}}, "nodes": nodes}
    found = compute_bounds(plan_of(doc))
    assert found is not None
    assert found.uncounted == ("n",)
    assert [each.list for each in found.endless] == [True]


def crowded() -> st.SearchStrategy[tuple[Doc, int, Random]]:
    """A pipeline, how many places it has, and what draws its pools and its script."""
    return st.tuples(costly_pipelines(), st.integers(1, 3), st.randoms(use_true_random=False))


@given(crowded())
@settings(RELAXED, max_examples=300)
def test_no_run_with_few_places_comes_to_more(case: tuple[Doc, int, Random]) -> None:
    few_places_keep_to_it(case)


def few_places_keep_to_it(case: tuple[Doc, int, Random]) -> None:
    """Runs whose attempts take all their time, with few places, keep to the bound."""
    doc, places, random = copy.deepcopy(case[0]), case[1], case[2]
    doc["pipeline"]["max_parallel"] = places
    if random.random() < 0.5:
        doc["pools"] = {"gpu": 1}
        for node in doc["nodes"].values():
            if random.random() < 0.5:
                node["pool"] = "gpu"
    plan = plan_of(doc)
    found = compute_bounds(plan)
    if found is None:
        return
    script = {
        path: [
            {"duration": random.choice([0.4, 0.9, 9.0]), "retry_after": random.choice([0, 400])}
            | ({"outcome": "error"} if random.random() < 0.3 else {"exit": random.randrange(3)})
            for _ in range(8)
        ]
        for path, _ in _iter_step_paths(plan, "")
    }
    result = simulate(plan, parse_script(script, plan), {})
    attempts = list(attempts_of(result))
    assert len(attempts) <= found.run.attempts
    assert max([0.0, *(each.ended or 0.0 for each in attempts)]) <= found.run.seconds + 1e-6


# -- published task graphs -------------------------------------------------------------------------

ESTEE = Path(__file__).parents[3] / "shared" / "corpora" / "estee.jsonl"


def graphs() -> list[Doc]:
    return [json.loads(line) for line in ESTEE.read_text().splitlines()] if ESTEE.exists() else []


def graph_doc(case: Doc) -> Doc:
    tasks = case["tasks"]
    nodes = {}
    for at, (time, needs) in enumerate(zip(tasks["duration_s"], tasks["needs"], strict=True)):
        nodes[f"n{at}"] = {**SHELL, "timeout": f"{max(time, 1e-9):.9f}s"}
        if needs:
            nodes[f"n{at}"]["needs"] = [f"n{source}" for source in needs]
    return {"engine": 1, "nodes": nodes}


@pytest.mark.skipif(not ESTEE.exists(), reason="the corpus of published task graphs is not here")
@pytest.mark.parametrize("case", graphs(), ids=lambda case: case["id"])
def test_published_graphs_have_their_critical_path_and_end_in_their_interval(case: Doc) -> None:
    expect = case["expect"]
    plan = plan_of(graph_doc(case))
    for places, (low, high) in expect["slots"].items():
        found = compute_bounds(attrs.evolve(plan, max_parallel=int(places)))
        assert found is not None
        assert found.run.attempts == expect["nodes"]
        assert found.critical.seconds == pytest.approx(expect["critical_path_s"], abs=1e-3)
        assert low - 1e-3 <= found.run.seconds <= high + 1e-3
        assert found.run.exact_time or found.run.seconds == pytest.approx(high, abs=1e-3)


# -- single cases ----------------------------------------------------------------------------------


def run_of(nodes: Doc, **tables: Any) -> Bound:
    found = compute_bounds(plan_of({"engine": 1, "nodes": nodes, **tables}))
    assert found is not None
    return found.run


def test_branches_that_exclude_each_other_are_not_added_up() -> None:
    retry = {"retry": {"attempts": 10}}
    nodes = {
        "a": PROBE,
        "b": {**PROBE, **retry, "needs": {"a": "success"}},
        "c": {**PROBE, **retry, "needs": {"a": "failure"}},
    }
    assert run_of(nodes).attempts == 11


def test_a_chain_of_such_branches_takes_no_time_to_tell() -> None:
    nodes: Doc = {"j0": PROBE}
    for at in range(1, 200):
        nodes[f"b{at}"] = {**PROBE, "needs": {f"j{at - 1}": "success"}}
        nodes[f"c{at}"] = {**PROBE, "needs": {f"j{at - 1}": "failure"}}
        both = {f"b{at}": "finished", f"c{at}": "finished"}
        nodes[f"j{at}"] = {**PROBE, "needs": both, "join": "any"}
    found = run_of(nodes)
    assert (found.attempts, found.exact) == (1 + 2 * 199, True)


def test_a_task_that_may_ask_waits_as_long_as_it_may_be_told_to() -> None:
    retry = {"retry": {"attempts": 2}}
    assert run_of({"a": {**PROBE, **retry}}).seconds == 302
    capped = {"retry": {"attempts": 2, "max_delay": "5s"}}
    assert run_of({"a": {**PROBE, **capped}}).seconds == 7


def test_a_large_machine_is_told_at_most() -> None:
    steps: Doc = {f"s{at}": {**PROBE} for at in range(30)}
    for at in range(30):
        steps[f"s{at}"]["routes"] = {
            "success": f"s{at + 1}" if at < 29 else "done",
            "failure": {"to": "s0", "max": 1000},
        }
    found = run_of({"n": {"start": "s0", "steps": steps}})
    assert not found.exact
    assert found.attempts >= 30 * 1001


def test_long_plans_and_machines_are_no_matter() -> None:
    nodes: Doc = {f"n{at}": {**SHELL, "needs": [f"n{at - 1}"] if at else []} for at in range(2000)}
    steps: Doc = {f"s{at}": {**SHELL, "routes": {"0": f"s{at + 1}"}} for at in range(2000)}
    steps["s2000"] = SHELL
    nodes["n"] = {"start": "s0", "steps": steps}
    found = run_of(nodes)
    assert (found.attempts, found.seconds) == (4001, 2001.0)


def test_of_an_unbounded_machine_nothing_is_told() -> None:
    nodes = {"n": {**PROBE, "routes": {"failure": "n"}}}
    assert compute_bounds(plan_of({"engine": 1, "nodes": nodes})) is None


def test_two_at_a_time() -> None:
    """Graham: 4 seconds of work, the longest second of it counts half."""
    nodes = dict.fromkeys("abcd", SHELL)
    found = run_of(nodes, pipeline={"max_parallel": 2})
    assert (found.seconds, found.exact_time) == (2.5, False)


def test_places_enough_for_all_that_can_be_ready_are_no_limit() -> None:
    nodes = {"a": SHELL, "b": {**SHELL, "needs": ["a"]}, "c": SHELL}
    found = run_of(nodes, pipeline={"max_parallel": 2})
    assert (found.seconds, found.exact_time) == (2.0, True)


def test_a_pool_that_waits_for_another_has_no_time() -> None:
    inner = {"nodes": {"x": {**SHELL, "pool": "two"}}}
    nodes: Doc = {"a": {"pipeline": "p", "pool": "one"}, "b": {"pipeline": "p", "pool": "one"}}
    found = compute_bounds(
        plan_of(
            {"engine": 1, "pools": {"one": 1, "two": 1}, "nodes": nodes, "pipelines": {"p": inner}}
        )
    )
    assert found is not None
    assert math.isinf(found.run.seconds)
    assert [each.pool for each in found.endless] == ["one", "one"]
