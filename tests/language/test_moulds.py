"""Nodes made of the first of their mould are what they would be by themselves, and so is all that is said of them."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import attrs
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.analysis.kin import moulded
from engine.api import default_registry
from engine.checking.checker import check
from engine.compile.compiler import outline
from engine.diagnostics import Diagnostics
from engine.language import structuring
from engine.language.loader import load
from engine.language.moulds import poured, wherever
from engine.language.spec import NodeSpec
from engine.plan.plan import Node, Plan
from engine.toml.source import Source

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=300)
REGISTRY = default_registry()

# Bodies of node tables: A and B are names of nodes, T and U texts.
SHELL = 'task = "shell"\n'
BODIES = (
    SHELL + 'with = { argv = ["T", "${A.stdout}", "U"] }',
    SHELL + 'with = { argv = ["${A.stdout}", "${B.status}"], stdin = "${A.stdout}" }',
    SHELL + 'with = { argv = ["${A.stdout}", "T ${B.stdout}"] }\nneeds = ["A"]',
    SHELL + 'with = { argv = ["${A.stdout ?? \'T\'}"] }\nneeds = ["A", "B"]',
    SHELL + 'with = { argv = ["${A.nothing}"], cwd = "T" }',
    SHELL + 'with = { argv = ["${A.v}", "${A}"], output = "T" }',
    SHELL + 'with = { argv = ["${nobody.x}", "$${A}", "${ B.stdout }", "${T"] }',
    SHELL + 'with = { argv = ["${inputs.topic}", "${run.id}", "${B.stdout + A.stdout}"] }',
    SHELL + 'with = { argv = ["T"] }\nneeds = { A = "failure", B = "always" }\njoin = "any"',
    SHELL + 'with = { argv = ["T", "${A.stdout}"] }\nneeds = { A = ["stale"] }',
    SHELL + 'with = { argv = ["T"] }\nwhen = "A.status == 0"\nallow_failure = true',
    SHELL + 'with = { argv = ["T"], env = { K = "${A.stdout}" } }\noutputs = { o = "${B.stdout}" }',
    SHELL + 'with = { argv = ["T"] }\nexits = { stale = 3 }\nroutes = { stale = "done:stale" }',
    SHELL + 'with = { argv = ["T", 1] }\nexits = { stale = 3, odd = 4 }\npool = "p"',
    SHELL + 'with = { argv = ["T"] }\nretry = { attempts = 2, on = ["success"] }\ndeadline = "1s"',
    SHELL + 'with = { argv = "${A.stdout}" }\nroutes = { error = "done", 300 = "fail" }',
    SHELL + 'with = { argv = [], more = "T" }\ndescription = "${T}"',
    SHELL + 'with = { argv = ["T${A.stdout}", "${A.v} ${B.stdout}${B.x}"] }\ndescription = "T"',
    SHELL + 'with = { argv = ["T", "${A.stdout} ${B.v + 1}"] }\ndescription = "$${T"',
    SHELL + 'with = { argv = ["T"] }\ndescription = ["T"]',
    SHELL + 'with = { argv = ["T"] }\ntimeout = "0s"',
    SHELL + 'with = { argv = ["T"] }\nneeds = ""',
    SHELL + 'with = { argv = [1979-05-27] }\nneeds = ["A", "A"]',
    'task = "collect"\nwith = { v = "${A.stdout}", w = "T", x = { y = [true, 1.5] } }',
    'task = "collect"\nwith = { v = "${A.v.y}" }',
    'task = "sleep"\nwith = { seconds = "${A.status}" }\nneeds = ["B"]',
    'task = "http"\nwith = { url = "http://T/" }\nretry = { attempts = 3 }',
    'task = "http"\nwith = { url = "${A.stdout}" }\nroutes = { failure = "done" }',
    'task = "nothing"\nwith = { a = "T" }',
    'with = { a = "T" }',
    'pipeline = "inner"\nwith = { x = "${A.stdout}" }',
    'start = "s"\nsteps.s = { task = "shell", with = { argv = ["T", "${A.stdout}"] } }',
    """\
start = "s"
steps.s = { task = "shell", with = { argv = ["T"] }, routes = { success = "t" } }
steps.t = { task = "shell", with = { argv = ["${steps.s.stdout}", "${A.x}"] } }""",
    """\
start = "s"
steps.s = { task = "shell", with = { argv = ["T"] }, routes = { 1 = "s" } }
steps.t = { task = "shell", with = { argv = ["${B.stdout}"] } }""",
)
HEAD = """\
engine = 1
[inputs]
topic = { type = "string" }
spare = { type = "string" }
[pools]
p = 1
[pipelines.inner]
inputs = { x = { type = "integer" } }
nodes.only = { task = "shell", with = { argv = ["${inputs.x}"] } }
"""
NAMES = ("a", "b", "c", "d", "e", "f", "g", "h")
LAST = (*[("z", "[pools]")] * 7, ("item", "[pools]"), ("x-y", "[pools]"), ("z", "[pool]"))
"""The name of the last node, and what stands for `[pools]`: most specs can be read as a whole."""
TEXTS = ("one", "two", "json", "lines", "", "$", "in[valid")


@st.composite
def texts(draw: st.DrawFn) -> str:
    """A spec of a few bodies, each taken several times, with other fillings."""
    bodies = draw(st.lists(st.sampled_from(BODIES), min_size=1, max_size=4))
    count = draw(st.integers(2, len(NAMES)))
    last, pools = draw(st.sampled_from(LAST))
    names = (*NAMES[: count - 1], last)
    before = draw(st.booleans())
    parts = [
        HEAD.replace("[pools]", pools)
        + draw(st.sampled_from(("", '[pipeline]\non_failure = "cancel"\n')))
    ]
    for at, name in enumerate(names):
        known = st.sampled_from(names[: max(at, 1)] if before else (*names, "zz"))
        body = draw(st.sampled_from(bodies))
        for mark, filling in (("A", known), ("B", known), ("T", st.sampled_from(TEXTS))):
            body = body.replace(mark, draw(filling))
        parts.append(f"[nodes.{name}]\n{body.replace('U', draw(st.sampled_from(TEXTS)))}\n")
    if draw(st.booleans()):
        parts.append(f'[outputs]\nx = "${{{draw(st.sampled_from(names))}.stdout}}"\n')
    return "".join(parts)


def examined(text: str) -> tuple[Plan | None, Diagnostics]:
    spec, found = load(Source("x.toml", text))
    if spec is None:
        return None, found
    plan, more = outline(spec, REGISTRY)
    return plan, Diagnostics.of([*found, *more, *check(plan)])


def plainly(text: str) -> tuple[Plan | None, Diagnostics]:
    with patch.object(structuring, "poured", lambda *_: None):
        return examined(text)


ROW = "".join(
    f'[nodes.n{at}]\ntask = "shell"\nwith = {{ argv = ["x{at}", "${{n{max(at - 1, 0)}.stdout}}"] }}\n'
    for at in range(1, 6)
)
MANY = f'engine = 1\n[nodes.n0]\ntask = "shell"\nwith = {{ argv = ["x"] }}\n{ROW}'

ECHOES = """\
engine = 1
nodes.s = { task = "shell", with = { argv = ["x"] } }
nodes.k = { task = "collect", with = { status = "x" } }
nodes.b = { task = "collect", with = { v = "${k.status}" } }
nodes.c = { task = "collect", with = { v = "${s.status}" } }
nodes.p = { task = "shell", with = { argv = ["${b.v}"] } }
nodes.q = { task = "shell", with = { argv = ["${c.v}"] } }
"""


def alike_or_not(text: str) -> None:
    """Nodes made of the first of their mould are told of, and are, what they are by themselves."""
    (plan, found), (plain, expected) = examined(text), plainly(text)
    assert [told(each) for each in found] == [told(each) for each in expected]
    assert (plan is None) == (plain is None)
    if plan is not None and plain is not None:
        assert plan.spec == plain.spec
        assert plan.hash == plain.hash
        assert [*map(shown, plan.nodes)] == [*map(shown, plain.nodes)]
        assert (plan.env, plan.loops, plan.flawed) == (plain.env, plain.loops, plain.flawed)


@RELAXED
@given(texts())
@example(MANY)
@example(ECHOES)
def test_alike_or_not_a_spec_is_the_same(text: str) -> None:
    alike_or_not(text)


def told(found: Any) -> Any:
    return attrs.asdict(found, filter=lambda field, _: field.name != "source")


def shown(node: Node) -> dict[str, Any]:
    """All of a node, its templates as what they read."""
    hidden = {"mould", "fillings", "bodies", "when", "outputs"}
    plain = {
        field.name: getattr(node, field.name)
        for field in attrs.fields(Node)
        if field.name not in hidden
    }
    bodies = [
        (body.task, body.timeout, body.schema, body.plain, body.with_.constant, body.with_.reads)
        for body in node.bodies
    ]
    return plain | {"bodies": bodies, "when": node.when and node.when.reads}


def test_nodes_that_differ_in_names_and_texts_are_kin() -> None:
    plan, found = examined(MANY)
    assert plan is not None
    assert not found
    groups = [[node.name for node in nodes] for nodes in moulded(plan)]
    assert groups == [["n0"], ["n1", "n2", "n3", "n4", "n5"]]
    scope = {"n3": {"stdout": "out"}}
    assert plan.nodes[4].bodies[0].with_.evaluate(scope) == {"argv": ["x4", "out"]}


ABC = dict.fromkeys("abc")
FIRST = {"task": "t", "needs": ["b"], "with": {"a": ["x", "${c.y}"]}}


@pytest.mark.parametrize(
    ("table", "alike"),
    [
        ({"task": "t", "needs": ["c"], "with": {"a": ["z", "${b.y}"]}}, True),
        ({"task": "t", "needs": {"c": "success"}, "with": {"a": ["z", "${b.y}"]}}, False),
        ({"task": "u", "needs": ["b"], "with": {"a": ["x", "${c.y}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"a": ["x", "${c.z}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"a": ["x", "${b.y}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"a": ["x", "${zz.y}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"a": ["x", "x", "${c.y}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"b": ["x", "${c.y}"]}}, False),
        ({"task": "t", "needs": ["b"], "with": {"a": ["x", "${c.y}"]}, "priority": 1}, False),
    ],
)
def test_a_mould_is_all_but_names_and_texts(table: dict[str, Any], alike: bool) -> None:
    first, other = poured("a", FIRST, ABC), poured("a", table, ABC)
    assert first is not None
    assert (other is not None and first[0] == other[0]) == alike


@pytest.mark.parametrize(
    "table",
    [
        {"with": {"a": "$${b.x}"}},
        {"with": {"a": "${a.x}"}},
        {"needs": ["a"]},
        {"needs": ["zz"]},
        {"needs": 3},
        {"needs": ""},
        {"description": ["x"]},
        {"description": "${x}"},
        {"task": "t", "for_each": "${inputs.x}"},
        {"steps": {"s": {"set": {}}}},
        {"steps": 3},
        {"with": {"a": {1, 2}}},
        "no table",
    ],
)
def test_what_is_odd_has_no_mould(table: Any) -> None:
    assert poured("a", table, ABC) is None


def test_true_and_one_are_not_the_same() -> None:
    values = [True, 1, 1.0, "", [], {}, {"a": 1}]
    keys = {poured("a", {"with": {"x": value}}, ABC)[0] for value in values}  # type: ignore[index]
    assert len(keys) == len(values)


def test_others_are_asked_only_where_the_first_gives_anything() -> None:
    asked: list[int] = []

    def finds(number: int) -> list[int]:
        asked.append(number)
        return [number] if number % 10 else []

    items = [("even", 10), ("odd", 21), ("even", 20), ("odd", 23), (None, 30), (None, 31)]
    assert [*wherever(items, finds)] == [21, 23, 31]
    assert asked == [10, 21, 23, 30, 31]


def test_a_spec_made_of_another_has_every_field() -> None:
    assert [f.name for f in attrs.fields(NodeSpec)][-3:] == ["description", "mould", "names"]
