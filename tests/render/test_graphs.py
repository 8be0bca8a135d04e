"""Plans as Mermaid and DOT, letter for letter."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.plan.plan import Plan
from engine.render.graphs import render_dot, render_mermaid
from tests.support.plans import plan_of

SHELL: dict[str, Any] = {"task": "shell"}


def plan(nodes: dict[str, Any], **more: Any) -> Plan:
    return plan_of({"engine": 1, "pipeline": {"name": "release"}, "nodes": nodes, **more})


def machine() -> Plan:
    review = {
        "task": "probe",
        "routes": {
            "needs_review": {"to": "work", "max": 3, "then": "fail:worn_out"},
            "*": "done:a__b",
        },
    }
    steps = {"work": {**SHELL, "routes": {"success": "review"}}, "review": review}
    return plan(
        {
            "end": {**SHELL, "retry": {"attempts": 3}},
            "article": {"needs": ["end"], "start": "work", "steps": steps},
            "publish": {**SHELL, "needs": {"article": "finished", "end": ["success", 3]}},
        }
    )


def test_mermaid() -> None:
    assert (
        render_mermaid(machine())
        == """
flowchart TD
  n0["end<br/>shell<br/>up to 3 attempts"]
  subgraph n1["article"]
    n1_start((" "))
    n1_0["work<br/>shell"]
    n1_1["review<br/>probe"]
    n1_end0(["fail:worn_out"])
    n1_end1(["done"])
    n1_end2(["done:a__b"])
    n1_start --> n1_0
    n1_0 -->|"success"| n1_1
    n1_1 -->|"success"| n1_end1
    n1_1 -.->|"needs_review, max 3"| n1_0
    n1_1 -.->|"needs_review, then"| n1_end0
    n1_1 -.->|"any other"| n1_end2
  end
  n2["publish<br/>shell"]
  n0 --> n1
  n0 -.->|"success, 3"| n2
  n1 -.->|"finished"| n2
""".strip()
    )


def test_dot() -> None:
    assert (
        render_dot(machine())
        == """
digraph "release" {
  compound=true
  node [shape=box, fontname="sans-serif"]
  edge [fontname="sans-serif", fontsize=10]
  fontname="sans-serif"
  n0 [label="end\\nshell\\nup to 3 attempts"]
  subgraph cluster_n1 {
    label="article"
    n1_start [label="", shape=point, width=0.12]
    n1_0 [label="work\\nshell"]
    n1_1 [label="review\\nprobe"]
    n1_end0 [label="fail:worn_out", style="rounded,filled", fillcolor="#eeeeee"]
    n1_end1 [label="done", style="rounded,filled", fillcolor="#eeeeee"]
    n1_end2 [label="done:a__b", style="rounded,filled", fillcolor="#eeeeee"]
    n1_start -> n1_0
    n1_0 -> n1_1 [label="success"]
    n1_1 -> n1_end1 [label="success"]
    n1_1 -> n1_0 [label="needs_review, max 3", style=dashed]
    n1_1 -> n1_end0 [label="needs_review, then", style=dotted]
    n1_1 -> n1_end2 [label="any other", style=dashed]
  }
  n2 [label="publish\\nshell"]
  n0 -> n1_start [lhead=cluster_n1]
  n0 -> n2 [label="success, 3", style=dashed]
  n1_end2 -> n2 [label="finished", style=dashed, ltail=cluster_n1]
}
""".strip()
    )


def test_groups_and_sub_pipelines() -> None:
    child = {"nodes": {"x": SHELL}}
    found = plan(
        {
            "a": {**SHELL, "group": "1. Build"},
            "b": SHELL,
            "c": {"pipeline": "child", "group": "1. Build"},
        },
        pipelines={"child": child},
    )
    assert (
        render_mermaid(found)
        == """
flowchart TD
  subgraph g0["1#46; Build"]
    n0["a<br/>shell"]
    n2[["c<br/>pipeline child"]]
  end
  n1["b<br/>shell"]
""".strip()
    )
    assert '    n2 [label="c\\npipeline child", peripheries=2]' in render_dot(found)


def test_a_single_step_that_goes_back_to_itself() -> None:
    node = {**SHELL, "exits": {"again": 4}, "routes": {"again": {"to": "a", "max": 2}}}
    assert render_mermaid(plan({"a": node})).endswith('\n  n0 -.->|"again, max 2"| n0')
    assert '  n0 -> n0 [label="again, max 2", style=dashed]' in render_dot(plan({"a": node}))


def test_what_else_decides_whether_a_node_runs() -> None:
    node = {**SHELL, "when": 'inputs.go == "x"', "needs": ["b"], "join": "any"}
    found = render_mermaid(plan({"a": node, "b": SHELL}, inputs={"go": {"type": "string"}}))
    assert "<br/>when inputs.go == #34;x#34;<br/>any of its needs" in found


@pytest.mark.parametrize("write", [render_mermaid, render_dot])
@given(text=st.text(min_size=1))
def test_no_text_leaves_its_quotes(write: Any, text: str) -> None:
    found = write(plan({"a": {**SHELL, "group": text}}))
    calm = write(plan({"a": {**SHELL, "group": "x"}}))
    quoted = re.compile(r'"(?:[^"\\]|\\.)*"' if write is render_dot else r'"[^"]*"')
    assert quoted.sub('""', found) == quoted.sub('""', calm)


@given(st.text(min_size=1))
def test_no_text_becomes_markup_in_mermaid(text: str) -> None:
    found = render_mermaid(plan({"a": {**SHELL, "group": text}}))
    (label,) = re.findall(r'subgraph g0\["(.*)"\]$', found, re.MULTILINE)
    rest = re.sub(r"#[0-9]+;", "", label)
    assert not set(rest) & set("#&<>`\\;[](){}|*~'")
    assert not re.match(r"[-+]|[0-9]{1,2}\.", label)


def test_the_routes_of_a_single_step_to_ends_are_drawn() -> None:
    again = {"to": "a", "max": 2, "then": "done:gave_up", "delay": "1m30s"}
    node = {**SHELL, "exits": {"again": 4}, "routes": {"again": again, "error": "fail:bad"}}
    found = render_mermaid(plan({"a": node}))
    assert (
        found
        == """
flowchart TD
  subgraph n0["a"]
    n0_start((" "))
    n0_0["a<br/>shell"]
    n0_end0(["fail:bad"])
    n0_end1(["done"])
    n0_end2(["done:gave_up"])
    n0_start --> n0_0
    n0_0 -->|"success"| n0_end1
    n0_0 -.->|"error"| n0_end0
    n0_0 -.->|"again, max 2, after 1m30s"| n0_0
    n0_0 -.->|"again, then"| n0_end2
  end
""".strip()
    )


@pytest.mark.parametrize(
    ("routes", "drawn"),
    [
        ({"success": "done", "3": "fail", "error": "fail", "*": "fail"}, False),
        ({"success": "done:well"}, True),
        ({"3": "done"}, True),
        ({"success": "fail"}, True),
        ({"3": {"to": "a", "max": 1}}, False),
        ({"3": {"to": "a", "max": 1, "then": "done"}}, True),
    ],
)
def test_routes_that_say_no_more_than_the_default_are_not_drawn(
    routes: dict[str, Any], drawn: bool
) -> None:
    assert ("subgraph" in render_mermaid(plan({"a": {**SHELL, "routes": routes}}))) is drawn


def test_what_a_node_runs_for_each_of_is_said() -> None:
    read = {**SHELL, "for_each": "${inputs.many}"}
    written = {**SHELL, "for_each": ["a", "b"]}
    drawn = render_mermaid(plan({"read": read, "written": written}, inputs={"many": {}}))
    assert "for each of $#123;inputs.many#125;" in drawn
    assert "for each of 2 items" in drawn
