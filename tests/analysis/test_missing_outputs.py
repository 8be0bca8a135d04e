"""T7: a read is reported if and only if some run finds nothing there, against `brute`; specs that
pass run without a read that fails."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analysis import missing_outputs as produced
from engine.analysis import step_outputs
from engine.analysis.missing_outputs import find_missing_outputs
from engine.analysis.output_types import build_output_types
from engine.analysis.reads import ReadSite, key_path_of_site
from engine.plan.plan import Plan
from engine.record.result import NodeResult, Result
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from tests.oracle import exhaustive
from tests.support.plans import plan_of
from tests.support.small_strategies import reading_machines, reading_pipelines

Doc = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHELL: Doc = {"task": "shell"}
PROBE: Doc = {"task": "probe"}


def where(plan: Plan, site: ReadSite) -> exhaustive.Absent:
    """A site as `brute` writes it."""
    parts = site.read.path[: 2 if site.read.path[0] == "steps" else 1]
    if site.node is None:
        return "", site.key, ".".join(map(str, parts))
    node = plan.nodes[site.node]
    place = site.key if site.step is None else node.name_of(site.step)
    place = f"set {place}" if site.key == "set" else place
    return node.name, place, ".".join(map(str, parts))


def missing(plan: Plan) -> set[exhaustive.Absent]:
    found = find_missing_outputs(plan)
    assert found.undecided == ()
    return {where(plan, each.site) for each in found.missing}


def steps_agree(doc: Doc) -> None:
    """Reads of steps that are reported are those that find nothing in some run of the node."""
    assert missing(plan_of(doc)) == exhaustive.absent_steps("n", doc["nodes"]["n"])


def nodes_agree(doc: Doc) -> None:
    """Reads of nodes that are reported are those that find nothing in some run."""
    assert {
        each for each in missing(plan_of(doc)) if "." not in each[2]
    } == exhaustive.absent_nodes(doc)


def reads_hold(case: tuple[Doc, Doc]) -> None:
    """With defaults where they are asked for, no read of a run fails."""
    doc, script = case
    plan = plan_of(doc)
    while found := find_missing_outputs(plan).missing:
        for each in found:
            guard(doc, key_path_of_site(plan, each.site))
        plan = plan_of(doc)
    if not plan.loops:
        result = simulate(plan, parse_script(script, plan))
        assert [text for text in said(result) if "has no output" in text] == []


def guard(doc: Doc, path: tuple[str | int, ...]) -> None:
    """Give the read at a place a default."""
    table: Any = doc
    for part in path[:-1]:
        table = table[part]
    if "??" not in table[path[-1]]:
        table[path[-1]] = table[path[-1]].replace("}", " ?? true}")


def said(result: Result) -> list[str]:
    found = [result.message]
    for node in result.nodes.values():
        found += told(node)
    return found


def told(node: NodeResult) -> list[str]:
    return [node.reason.message, *(attempt.error or "" for attempt in node.all_attempts())]


@st.composite
def scripted(draw: st.DrawFn, docs: st.SearchStrategy[Doc]) -> tuple[Doc, Doc]:
    """A document and how the attempts of its steps end."""
    doc = draw(docs)
    script: Doc = {}
    for name, node in doc["nodes"].items():
        for at, step in exhaustive.steps_of(name, node).items():
            ends = st.sampled_from(exhaustive.outcomes(step)).map(end_of)
            script[f"{name}/{at}"] = draw(st.lists(ends, min_size=1, max_size=4))
    return doc, script


def end_of(outcome: exhaustive.Outcome) -> Doc:
    if outcome == "timeout":
        return {"outcome": "hang"}
    if outcome in ("error", "interrupted"):
        return {"outcome": outcome}
    return {"exit": outcome, "output": {"x": outcome != 2}}


@given(reading_machines())
@settings(RELAXED, max_examples=1000)
def test_reads_of_steps_are_reported_exactly_where_they_can_find_nothing(doc: Doc) -> None:
    steps_agree(doc)


@given(reading_pipelines())
@settings(RELAXED, max_examples=500)
def test_reads_of_nodes_are_reported_exactly_where_they_can_find_nothing(doc: Doc) -> None:
    nodes_agree(doc)


@given(scripted(reading_machines()))
@settings(RELAXED, max_examples=200)
def test_no_read_of_a_step_fails_in_a_spec_that_passes(case: tuple[Doc, Doc]) -> None:
    reads_hold(case)


@given(scripted(reading_pipelines()))
@settings(RELAXED, max_examples=200)
def test_no_read_of_a_node_fails_in_a_spec_that_passes(case: tuple[Doc, Doc]) -> None:
    reads_hold(case)


def test_what_waits_for_a_failure_that_ends_the_run_reads_nothing() -> None:
    """It is cancelled with the rest at that instant; what cannot run is skipped all the same."""
    doc = {
        "engine": 1,
        "pipeline": {"name": "case", "on_failure": "cancel"},
        "nodes": {
            "n1": {"task": "probe"},
            "n2": {"task": "probe", "needs": ["n1"]},
            "n3": {"task": "probe", "when": "${n2.x}", "needs": ["n1", "n2"], "join": "any"},
            "n4": {"task": "probe", "needs": ["n2"]},
            "n5": {"task": "probe", "needs": {"n4": "always"}, "with": {"x": "${n4.x ?? 1}"}},
        },
    }
    plan = plan_of(doc)
    assert find_missing_outputs(plan).missing == ()
    result = simulate(plan, parse_script({"n2/n2": [{"outcome": "error"}]}, plan))
    found = {name: (node.result, node.reason.kind) for name, node in result.nodes.items()}
    cancelled = ("cancelled", "failure")
    assert [*found.values()][2:] == [cancelled, ("skipped", "needs"), cancelled]


# -- what random documents do not have -------------------------------------------------------------


def doc_of(nodes: dict[str, Doc], **more: Any) -> Doc:
    return {"engine": 1, "nodes": nodes, **more}


def reading(*names: str, **more: Any) -> Doc:
    return {**SHELL, "with": {name: f"${{{name}.x}}" for name in names}, **more}


CHILD: Doc = {"child": {"nodes": {"a": SHELL}, "outputs": {"x": "${a}"}}}


@pytest.mark.parametrize(
    ("condition", "absent"),
    [("success", False), (["success"], False), (["failure"], True), ("finished", True)],
)
def test_a_sub_pipeline_that_failed_has_no_output(condition: Any, absent: bool) -> None:
    nodes = {"sub": {"pipeline": "child"}, "r": reading("sub", needs={"sub": condition})}
    found = missing(plan_of(doc_of(nodes, pipelines=CHILD)))
    assert found == ({("r", "r", "sub")} if absent else set())


def test_a_failure_of_a_sub_pipeline_that_is_done_is_a_success_without_an_output() -> None:
    sub = {"pipeline": "child", "routes": {"failure": "done"}}
    plan = plan_of(doc_of({"sub": sub, "r": reading("sub")}, pipelines=CHILD))
    assert missing(plan) == {("r", "r", "sub")}


def test_a_step_that_is_a_sub_pipeline_leaves_nothing_when_it_failed() -> None:
    one = {"pipeline": "child", "routes": {"*": "two", "success": "two"}}
    two = {**SHELL, "with": {"x": "${steps.one.x}"}}
    node = {"start": "one", "steps": {"one": one, "two": two}}
    [found] = find_missing_outputs(plan_of(doc_of({"n": node}, pipelines=CHILD))).missing
    assert found.run == ((0, 1),)


def test_a_reference_inside_a_sub_pipeline_is_its_own_plan_s() -> None:
    child = {"nodes": {"a": SHELL, "b": reading("a", needs={"a": "always"})}}
    plan = plan_of(doc_of({"sub": {"pipeline": "child"}}, pipelines={"child": child}))
    inner = plan.nodes[0].bodies[0].plan
    assert inner is not None
    assert missing(plan) == set()
    assert missing(inner) == {("b", "b", "a")}


def skipped_behind_another() -> Doc:
    return doc_of(
        {
            "a": PROBE,
            "b": {**PROBE, "needs": ["a"]},
            "c": reading("b", needs={"a": "finished", "b": "always"}),
        }
    )


def test_a_run_tells_what_becomes_of_the_nodes_that_matter() -> None:
    [found] = find_missing_outputs(plan_of(skipped_behind_another())).missing
    assert isinstance(found.run, dict)
    assert {node: getattr(fate, "label", fate) for node, fate in found.run.items()} in (
        {1: "error"},
        {0: "failure", 1: "needs"},
    )


def test_beyond_the_effort_a_read_of_a_node_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produced, "MISSING_OUTPUT_BUDGET", 1)
    found = find_missing_outputs(plan_of(skipped_behind_another()))
    assert (found.missing, len(found.undecided)) == ((), 1)


def counting(bound: int) -> Doc:
    """Whether `c` is entered before `b` has run depends on how bounds use each other up."""
    steps = {
        "a": {**SHELL, "routes": {"3": {"to": "a", "max": bound, "then": "b"}, "4": "b"}},
        "b": {**SHELL, "routes": {"success": "c"}},
        "c": {**SHELL, "with": {"x": "${steps.a}"}},
    }
    return doc_of({"n": {"start": "a", "steps": steps}})


def test_a_read_that_no_way_leaves_open_takes_no_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_outputs, "STEP_OUTPUT_BUDGET", 0)
    assert missing(plan_of(counting(1000))) == set()


def test_nodes_that_start_however_others_end_take_no_search(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(produced, "MISSING_OUTPUT_BUDGET", 0)
    nodes: dict[str, Doc] = {"n0": {**SHELL, "when": "${run.id == 'x'}"}}
    nodes["n1"] = {**SHELL, "needs": {"n0": "finished"}}
    for i in range(2, 2000):
        needs = {f"n{i - 1}": "finished", f"n{i - 2}": "always"}
        read = {"x": f"${{n{i - 1}.x}}", "y": f"${{n{i - 2}.x}}"}
        nodes[f"n{i}"] = {**SHELL, "needs": needs, "with": read, "when": "${run.id == 'x'}"}
    assert len(missing(plan_of(doc_of(nodes)))) == 2 * 1998


def test_many_reads_of_one_machine_take_one_look_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    plain = step_outputs._iter_uncounted_targets

    def counted(*asked: Any) -> Any:
        looked.append(asked)
        return plain(*asked)

    monkeypatch.setattr(step_outputs, "_iter_uncounted_targets", counted)
    steps = {
        f"s{i}": {
            **SHELL,
            "with": {"x": f"${{steps.s{i - 1}}}", "y": "${steps.s0}"} if i else {},
            "routes": {"success": f"s{i + 1}", "3": {"to": "s0", "max": 2}},
        }
        for i in range(300)
    }
    steps["s299"]["routes"] = {}
    assert missing(plan_of(doc_of({"n": {"start": "s0", "steps": steps}}))) == set()
    assert len(looked) < 4000


def test_beyond_the_effort_a_read_of_a_step_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_outputs, "STEP_OUTPUT_BUDGET", 3)
    doc = counting(1000)
    doc["nodes"]["n"]["steps"]["a"]["routes"] |= {"4": "fail", "error": "fail", "success": "done"}
    doc["nodes"]["n"]["steps"]["c"]["with"] = {"x": "${steps.b}"}
    doc["nodes"]["n"]["steps"]["b"]["routes"] = {"success": "c", "error": "c"}
    found = find_missing_outputs(plan_of(doc))
    assert (found.missing, len(found.undecided)) == ((), 1)


def test_long_chains_take_no_recursion_and_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(produced, "MISSING_OUTPUT_BUDGET", 0)
    nodes: dict[str, Doc] = {"n0": SHELL}
    for i in range(1, 3000):
        kept = {"x": f"${{n{i - 1}.x}}"}
        nodes[f"n{i}"] = {**SHELL, "outputs": kept, "needs": {f"n{i - 1}": "success"}}
        nodes[f"n{i}"] |= {"with": {"x": "${n0.x}"}}
        nodes[f"n{i}"]["needs"] |= {"n0": "always"} if i > 1 else {}
    plan = plan_of(doc_of(nodes, outputs={"x": "${n2999.x}"}))
    assert missing(plan) == set()
    assert build_output_types(plan).mapped.keys() == set(range(1, 3000))
