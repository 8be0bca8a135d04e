"""Machines that are equal are one object, and what depends on a node's own name is not."""

from __future__ import annotations

import pytest

from engine import api
from engine.plan.plan import Node
from engine.toml.source import Source

LOOP = 'exits = { again = 9 }, routes = { again = { to = "%s", max = 2 } }'


def nodes_of(*bodies: str) -> tuple[Node, ...]:
    text = "\n".join(f"{'ab'[at]} = {{ {body} }}" for at, body in enumerate(bodies))
    plan, found = api.analyse(Source("x.toml", f"engine = 1\n[nodes]\n{text}\n"))
    assert plan is not None, found
    return plan.nodes


def shell(more: str, text: str = "x") -> str:
    return f'task = "shell", with = {{ argv = ["{text}"] }}, {more}'


@pytest.mark.parametrize(
    "more",
    [
        "timeout = '1m'",
        "retry = { attempts = 3, delay = '1s' }",
        "exits = { odd = 3 }, routes = { odd = 'done', '*' = 'fail:odd' }",
    ],
)
def test_nodes_that_differ_in_name_and_text_have_one_machine(more: str) -> None:
    one, other = nodes_of(shell(more), shell(more, "y"))
    assert one.machine is other.machine
    assert (one.name_of(0), other.name_of(0)) == ("a", "b")
    assert one.step_names == ("a",)


@pytest.mark.parametrize(
    ("more", "less"),
    [
        ("timeout = '1m'", "on_interrupt = 'route'"),
        ("retry = { attempts = 3 }", "retry = { attempts = 4 }"),
        ("routes = { 1 = 'done', 2 = 'fail' }", "routes = { 2 = 'fail', 1 = 'done' }"),
        (LOOP % "a", LOOP % "b"),
    ],
)
def test_nodes_that_may_do_different_things_have_not(more: str, less: str) -> None:
    one, other = nodes_of(shell(more), shell(less))
    assert one.machine is not other.machine


def test_a_route_to_the_name_of_another_node_is_reported_beside_one_to_its_own() -> None:
    text = f"engine = 1\n[nodes]\nb = {{ {shell(LOOP % 'b')} }}\na = {{ {shell(LOOP % 'b')} }}\n"
    _, found = api.analyse(Source("x.toml", text))
    assert [(each.rule.code, each.node) for each in found.errors] == [("E201", "a")]


def test_a_mistake_is_reported_of_each_node_that_makes_it() -> None:
    wrong = shell("routes = { odd = 'done' }")
    _, found = api.analyse(
        Source("x.toml", f"engine = 1\n[nodes]\na = {{ {wrong} }}\nb = {{ {wrong} }}\n")
    )
    assert [each.node for each in found.errors] == ["a", "b"]
