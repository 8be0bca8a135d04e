"""T3: what is reported unreachable is exactly what no run reaches, against `brute`."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from engine.analysis import node_reachability, step_reachability
from engine.analysis.node_reachability import find_reachable_nodes
from engine.analysis.run_outcomes import can_never_succeed, possible_exit_codes
from engine.analysis.search import BlockedBy, Conflict
from engine.analysis.step_reachability import analyse_steps, reachable_endings
from engine.diagnostics import Diagnostic
from engine.plan.machine import LoopEdge, Machine, find_unbounded_loops
from engine.plan.plan import Plan
from engine.rules import RULES
from engine.rules.locations import find_route_path
from tests.oracle import exhaustive
from tests.support.plans import plan_of
from tests.support.small_strategies import machines, pipelines

Doc = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHELL: Doc = {"task": "shell"}
PROBE: Doc = {"task": "probe"}


def findings(plan: Plan) -> list[Diagnostic]:
    return [found for _, rule in RULES for found in rule(plan)]


def steps_with(code: str, found: list[Diagnostic]) -> set[str | None]:
    return {each.step for each in found if each.rule.code == code}


def machine_agrees(doc: Doc) -> None:
    """E301, E302 and E303 of a machine, and how it can end, are those of `brute`."""
    plan, node = plan_of(doc), doc["nodes"]["n"]
    found = findings(plan)
    visited, endings = exhaustive.walk("n", node)
    parts = exhaustive.endless("n", node)
    assert steps_with("E302", found) == set(node["steps"]) - visited
    assert steps_with("E303", found) == exhaustive.trapped("n", node) - set().union(*parts)
    closing = steps_with("E301", found)
    assert closing <= set().union(*parts)
    assert all(closing & part for part in parts)
    assert routes_with(plan, found) == exhaustive.idle_routes("n", node)
    all_are_told(doc, plan.nodes[0].machine)
    assert analyse_steps(plan.nodes[0].machine).undecided == frozenset()
    assert ends_by_name(plan.nodes[0].machine) == {
        (result, name) for result, called in endings for name in called if is_name(name)
    }


def routes_with(plan: Plan, found: list[Diagnostic]) -> set[tuple[str, str, str]]:
    """The routes that W305 is about: step, key, and whether it is the route or its `max`."""
    spans = {each.span for each in found if each.rule.code == "W305"}
    routes = [
        (at, step, route)
        for at, step in enumerate(plan.nodes[0].machine.steps)
        for route in step.iter_routes()
    ]
    told = set()
    for at, step, route in routes:
        path = find_route_path(plan, plan.nodes[0], at, route)
        if plan.spec.source.key_span(path) in spans:
            told.add((step.name, route.key, "route"))
        if route.max is not None and plan.spec.source.value_span((*path, "max")) in spans:
            told.add((step.name, route.key, "max"))
    assert len(told) == len(spans)
    return told


def all_are_told(doc: Doc, machine: Machine) -> None:
    """Mending what E301 marks is enough, and leaving one of them is not."""
    told = [(machine.steps[loop[-1].step].name, loop[-1]) for loop in find_unbounded_loops(machine)]
    assert not exhaustive.endless("n", mended(doc["nodes"]["n"], told))
    for index in range(len(told)):
        assert exhaustive.endless("n", mended(doc["nodes"]["n"], told[:index] + told[index + 1 :]))


def mended(node: Doc, told: list[tuple[str, LoopEdge]]) -> Doc:
    found = copy.deepcopy(node)
    for step, hop in told:
        routes, key = found["steps"][step]["routes"], hop.route.key
        to = routes[key] if isinstance(routes[key], str) else routes[key]["to"]
        routes[key] = {"to": to, "max": 1, "then": "fail"}
    return found


def ends_by_name(machine: Machine) -> set[tuple[str, str]]:
    """Every end under each of its names; those with a number alone left out."""
    found = set()
    for end in reachable_endings(machine, ()):
        aliases = machine.steps[end.step].aliases.items()
        called = {end.label, *(name for name, code in aliases if code == end.code)}
        found |= {(end.result, name) for name in called if is_name(name)}
    return found


def is_name(label: object) -> bool:
    return isinstance(label, str) and not label.isdecimal()


def pipeline_agrees(doc: Doc) -> None:
    """E401 is on the nodes that no execution starts; each contradiction hangs together."""
    plan = plan_of(doc)
    found = [each.node for each in findings(plan) if each.rule.code == "E401"]
    assert set(found) == set(doc["nodes"]) - exhaustive.started(doc)
    decided = find_reachable_nodes(plan)
    assert decided.undecided == ()
    for target, cause in decided.never.items():
        if isinstance(cause, Conflict):
            for path in cause.paths:
                assert (path[0].target, path[-1].source) == (target, cause.node)
                assert all(e.source == after.target for e, after in itertools.pairwise(path))


def verdicts_agree(doc: Doc) -> None:
    """Whether the pipeline can succeed, and whether it can fail, is what `brute` finds."""
    plan = plan_of(doc)
    if plan.loops:
        return
    can = exhaustive.verdicts(doc)
    assert can_never_succeed(plan) is ("succeeded" not in can)
    assert possible_exit_codes(plan) == {{"succeeded": 0, "failed": 1}[each] for each in can}
    found = [each.rule.code for each in findings(plan)]
    assert found.count("E402") == ("succeeded" not in can)


@given(machines())
@settings(RELAXED, max_examples=700)
def test_steps_and_ends_are_exactly_those_that_some_run_reaches(doc: Doc) -> None:
    machine_agrees(doc)


@given(pipelines())
@settings(RELAXED, max_examples=700)
def test_nodes_are_exactly_those_that_some_run_starts(doc: Doc) -> None:
    pipeline_agrees(doc)


@given(pipelines())
@settings(RELAXED, max_examples=700)
def test_a_pipeline_can_succeed_or_fail_exactly_if_some_run_does(doc: Doc) -> None:
    verdicts_agree(doc)


# -- limits ----------------------------------------------------------------------------------------


def doc_of(nodes: dict[str, Doc]) -> Doc:
    return {"engine": 1, "nodes": nodes}


def machine_of(steps: dict[str, Doc]) -> Machine:
    nodes = {"n": {"start": next(iter(steps)), "steps": steps}}
    return plan_of(doc_of(nodes)).nodes[0].machine


def tangled_steps() -> dict[str, Doc]:
    """Two bounds that have to be used up in turn: what lies behind takes more than a look."""
    return {
        "a": {**SHELL, "routes": {"3": {"to": "b", "max": 5, "then": "c"}}},
        "b": {**SHELL, "routes": {"3": {"to": "a", "max": 4}}},
        "c": SHELL,
    }


def test_a_bound_on_the_way_back_that_ends_first_is_counted() -> None:
    assert analyse_steps(machine_of(tangled_steps())).steps == {0, 1}


def test_beyond_the_effort_a_step_is_undecided_and_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_reachability, "STEP_SEARCH_BUDGET", 3)
    found = analyse_steps(machine_of(tangled_steps()))
    assert (found.steps, found.undecided) == ({0, 1, 2}, {2})


def test_a_large_bound_with_an_open_way_back_takes_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_reachability, "STEP_SEARCH_BUDGET", 0)
    back = {"routes": {"3": {"to": "s1", "max": 1000, "then": "s49"}}}
    steps = {f"s{i}": {**SHELL, "routes": {"success": f"s{i + 1}"}} for i in range(48)}
    found = analyse_steps(machine_of({**steps, "s48": {**SHELL, **back}, "s49": SHELL}))
    assert (len(found.steps), found.undecided) == (50, frozenset())


def test_many_bounds_take_one_look_at_what_leads_where(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = []
    plain = step_reachability.reachable_sets
    monkeypatch.setattr(
        step_reachability, "reachable_sets", lambda back: looks.append(back) or plain(back)
    )
    steps = {
        f"s{i}": {**SHELL, "routes": {"0": f"s{i + 1}", "3": {"to": f"s{i // 2}", "max": 1000}}}
        for i in range(300)
    }
    found = analyse_steps(machine_of({**steps, "s300": SHELL}))
    assert (len(found.steps), len(found.exhausted_routes)) == (301, 300)
    assert len(looks) == 2


def contradiction() -> dict[str, Doc]:
    return {
        "a": PROBE,
        "b": {**PROBE, "needs": {"a": "failure"}},
        "c": {**PROBE, "needs": ["a", "b"]},
    }


def test_beyond_the_effort_a_node_is_undecided_and_not_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(node_reachability, "SEARCH_BUDGET", 3)
    found = find_reachable_nodes(plan_of(doc_of(contradiction())))
    assert (found.runs, found.never, found.undecided) == ({0, 1}, {}, (2,))


def test_every_code_of_an_open_task_counts() -> None:
    wanted = {f"n{code}": {**SHELL, "needs": {"a": [code]}} for code in range(256)}
    found = find_reachable_nodes(plan_of(doc_of({"a": SHELL, **wanted})))
    assert len(found.runs) == 257


def test_codes_that_nothing_tells_apart_are_one() -> None:
    machine = machine_of({"a": {**SHELL, "routes": {"3": "done"}}})
    assert {end.code for end in reachable_endings(machine, (7,))} == {0, 1, 3, 7, None}
    assert len(reachable_endings(machine)) == 257


@pytest.mark.parametrize("first", ["success", "failure"])
def test_long_chains_take_no_recursion(first: str) -> None:
    nodes = {f"n{i}": {**SHELL, "needs": {f"n{i - 1}": "success"}} for i in range(2, 3000)}
    chain = {"n0": SHELL, "n1": {**SHELL, "needs": {"n0": first}}, **nodes}
    assert len(find_reachable_nodes(plan_of(doc_of(chain))).runs) == 3000


def test_what_lies_behind_a_contradiction_is_decided_without_a_search() -> None:
    nodes = contradiction()
    nodes |= {f"n{i}": {**SHELL, "needs": [f"n{i - 1}" if i else "c"]} for i in range(3000)}
    found = find_reachable_nodes(plan_of(doc_of(nodes)))
    assert (len(found.never), found.undecided) == (3001, ())


def test_many_contradictions_that_have_nothing_to_do_with_each_other_are_all_decided() -> None:
    nodes: dict[str, Doc] = {}
    for i in range(60):
        before = {f"a{i - 1}": "finished", f"b{i - 1}": "always"} if i else {}
        nodes[f"a{i}"] = {**PROBE, "needs": before}
        nodes[f"b{i}"] = {**PROBE, "needs": {f"a{i}": "failure"}}
        nodes[f"c{i}"] = {**PROBE, "needs": [f"a{i}", f"b{i}"]}
    found = find_reachable_nodes(plan_of(doc_of(nodes)))
    assert (len(found.never), found.undecided) == (60, ())


def test_a_node_that_never_ends_holds_up_what_waits_for_it_over_others() -> None:
    nodes: dict[str, Doc] = {
        "a": {**PROBE, "routes": {"success": "a", "*": "a"}},
        "b": {**PROBE, "needs": {"a": "always"}},
        "c": {**PROBE, "needs": {"b": "always"}},
    }
    found = find_reachable_nodes(plan_of(doc_of(nodes)))
    assert found.never == {1: BlockedBy(0), 2: BlockedBy(0)}
