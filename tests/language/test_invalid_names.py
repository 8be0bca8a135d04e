"""A wrong name is one mistake: all that stands under it is looked at, and all who say it mean it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.language.value_hooks import RESERVED_NAMES
from engine.toml.source import Source
from tests.language.test_json_schema import near_misses
from tests.support.plans import registry
from tests.support.strategies import cases

SHELL = 'task = "shell"\nwith = { argv = ["true"] }\n'

MISSHAPEN = ("2x", "my-node", "a b", "x.y", "ü", "-", "no:de", "done-ish", "x\ty", "a's", "2")
AT_ONCE = {
    "a node": (
        '[nodes.2x]\ntask = "shel"\ntimeout = "x"\nfoo = 1',
        ["2:8 E104", "3:8 E201", "4:11 E103", "5:1 E102"],
    ),
    "a reserved node": (
        '[nodes.done]\ntask = "shell"\nwith.argv = "ls"',
        ["2:8 E104", "4:13 E502"],
    ),
    "a node without a body": ('[nodes.2x]\njoin = "al"', ["2:8 E104", "2:8 E105", "3:8 E103"]),
    "a node that is no table": ("[nodes]\n2x = 3", ["3:1 E104", "3:6 E103"]),
    "a step": (
        (
            'nodes.a.start = "done"\n[nodes.a.steps.done]\ntask = "shell"\n'
            'with = { argv = ["${nobody}"], x = 1 }\nroutes = { 3 = "nowhere", 999 = "done" }'
        ),
        ["3:16 E104", "5:21 E201", "5:32 E201", "6:16 E201", "6:27 E203"],
    ),
    "a step beside another": (
        (
            'nodes.a.start = "2s"\n[nodes.a.steps.2s]\ntask = "shel"\n'
            '[nodes.a.steps.s]\ntask = "sleep"\nretry = { attempts = 2, on = ["odd"] }'
        ),
        ["3:16 E104", "4:8 E201", "5:16 E504", "7:31 E203"],
    ),
    "a step of a node with a task": (
        '[nodes.a]\nstart = "2s"\ntask = "shell"\nsteps.2s = { task = 3, x = 1 }',
        ["4:1 E103", "5:7 E104", "5:21 E103", "5:24 E102"],
    ),
    "an input": (
        "[inputs]\n2i = { type = 'strin' }\n[nodes.a]\n" + SHELL.replace("true", "${inputs.2i}"),
        ["3:1 E104", "3:15 E103"],
    ),
    "a state": (
        "[state]\n2s = { type = 'strin', initial = 1 }\n[nodes.a]\nset = { 2s = '${state.2s}' }\n"
        + SHELL,
        ["3:1 E104", "3:15 E103"],
    ),
    "a default": (
        "[inputs]\nsize = { type = 'string', default = 3 }\n[nodes.a]\n"
        + SHELL.replace("true", "${inputs.size}"),
        ["3:1 E104", "3:37 E103"],
    ),
    "a pipeline": (
        '[nodes.a]\npipeline = "9z"\n[pipelines.9z.nodes.x]\ntask = "shel"',
        ["4:12 E104", "5:8 E201"],
    ),
    "a pipeline like a file": (
        '[nodes.a]\npipeline = "a/b"\n[pipelines."a/b".nodes.2x]\ntask = "shel"',
        ["4:12 E104", "4:24 E104", "5:8 E201"],
    ),
    "a pool": ('[nodes.a]\npool = "2p"\n' + SHELL + "[pools]\n2p = 0", ["7:1 E104", "7:6 E103"]),
    "an exit": (
        '[nodes.a]\ntask = "collect"\nexits = { 2x = 256 }\nroutes = { 2x = "nowhere" }',
        ["4:11 E104", "4:16 E103", "5:17 E201"],
    ),
    "a stray expression": (
        '[nodes.2x]\ndescription = "${run.id}"\n' + SHELL,
        ["2:8 E104", "3:16 E505"],
    ),
    "a loop": ("[nodes.2x]\n" + SHELL + "routes = { 3 = '2x' }", ["2:8 E104", "5:16 E301"]),
    "a cycle": (
        "[nodes.2x]\nneeds = ['3x']\n" + SHELL + "[nodes.3x]\nneeds = ['2x']\n" + SHELL,
        ["2:8 E104", "2:8 E202", "6:8 E104"],
    ),
    "what it reads": (
        "[nodes.2x]\nwhen = '3'\ntask = 'shell'\nwith = { argv = ['${nobody}', '${2x}'] }",
        ["2:8 E104", "2:8 E202", "3:8 E505", "5:21 E201"],
    ),
    "a field of it": (
        "[nodes.my-node]\n" + SHELL + "[nodes.a]\n" + SHELL.replace("true", "${my-node.stdot}"),
        ["2:8 E104", "7:21 E503"],
    ),
    "an output that it lacks": (
        "[nodes.2x]\nallow_failure = true\ntimeout = '1s'\n"
        + SHELL
        + "[nodes.a]\nneeds = { 2x = 'finished' }\n"
        + SHELL.replace("true", "${2x.stdout}"),
        ["2:8 E104", "10:21 E501"],
    ),
    "a label of it": (
        '[nodes.2x]\ntask = "sleep"\nwith = { seconds = 1 }\n[nodes.a]\nneeds = { 2x = ["odd"] }\n'
        + SHELL,
        ["2:8 E104", "6:17 E203"],
    ),
}


def found(text: str) -> list[str]:
    """Place and code of each finding, in order."""
    diagnostics = check(Source("x.toml", f"engine = 1\n{text}\n"))
    return [f"{d.span.line}:{d.span.column} {d.rule.code}" for d in diagnostics]


@pytest.mark.parametrize(("text", "expected"), AT_ONCE.values(), ids=AT_ONCE)
def test_all_that_stands_under_a_wrong_name_is_told(text: str, expected: list[str]) -> None:
    assert found(text) == expected


# -- no echo -------------------------------------------------------------------------------------

READS: dict[str, dict[str, Any]] = {
    "needs": {"needs": ["NAME"]},
    "needs with a condition": {"needs": {"NAME": "success"}},
    "needs with a label": {"needs": {"NAME": ["success", 3]}},
    "a path": {"when": "${NAME.stdout == 'x'}"},
    "a bare path": {"when": "NAME.stdout == 'x'"},
    "a default": {"with": {"argv": ["${NAME.stdout ?? 'none'}"]}},
    "all of it": {"with": {"argv": ["x ${NAME}", "${ string( NAME.stdout ) }"]}},
    "a guard": {"when": "has(NAME.stdout) && NAME.stdout in ['a']"},
    "a text": {"with": {"argv": ["a ${NAME.stdout} b ${NAME.stderr} c NAME"]}},
    "outputs": {"outputs": {"x": "${NAME.stdout}"}},
}
"""How a node says the name of another."""


def codes(doc: dict[str, Any]) -> list[str]:
    return [d.rule.code for d in check(Source("x.toml", tomli_w.dumps({"engine": 1, **doc})))]


def named(value: Any, name: str, old: str = "NAME") -> Any:
    """The value with another name in all its keys and strings."""
    if isinstance(value, dict):
        return {named(k, name, old): named(v, name, old) for k, v in value.items()}
    if isinstance(value, list):
        return [named(item, name, old) for item in value]
    return re.sub(rf"\b{old}\b", lambda _: name, value) if isinstance(value, str) else value


def shell(**keys: Any) -> dict[str, Any]:
    return {"task": "shell", "with": {"argv": ["true"]}, **keys}


@pytest.mark.parametrize("name", [*MISSHAPEN, *sorted(RESERVED_NAMES)])
@pytest.mark.parametrize("keys", READS.values(), ids=READS)
def test_who_reads_a_node_of_a_wrong_name_is_not_wrong(keys: dict[str, Any], name: str) -> None:
    doc = {"nodes": {"NAME": shell(), "a": shell(**keys)}}
    assert codes(named(doc, name)) == ["E104"]


@pytest.mark.parametrize("name", [*MISSHAPEN, *sorted(RESERVED_NAMES)])
def test_who_reads_a_step_of_a_wrong_name_is_not_wrong(name: str) -> None:
    steps = {"NAME": shell(routes={"3": "b", "*": "NAME:x"}), "b": shell(routes={"3": "NAME"})}
    steps["b"]["with"] = {"argv": ["${steps.NAME.stdout}", "${steps.NAME.stderr ?? 'x'}"]}
    node = {"start": "NAME", "steps": steps, "outputs": {"x": "${steps.NAME.stdout ?? 'x'}"}}
    steps["NAME"]["routes"]["*"] = "done"
    steps["b"]["routes"]["3"] = {"to": "NAME", "max": 2}
    if name in ("done", "fail"):
        del steps["b"]["routes"]["3"]["max"]
    assert codes(named({"nodes": {"a": node}}, name)) == ["E104"]


@pytest.mark.parametrize("name", [*MISSHAPEN, *sorted(RESERVED_NAMES)])
def test_who_reads_an_input_of_a_wrong_name_is_not_wrong(name: str) -> None:
    reading = shell(when="inputs.NAME == 'x'", outputs={"x": "a ${inputs.NAME} b"})
    child = {"inputs": {"NAME": {"type": "string"}}, "nodes": {"a": reading}}
    given = {"pipeline": "p", "with": {"NAME": "x"}}
    assert codes(named({"nodes": {"b": given}, "pipelines": {"p": child}}, name)) == ["E104"]


@pytest.mark.parametrize("name", MISSHAPEN)
def test_who_uses_a_pipeline_a_pool_or_an_exit_of_a_wrong_name_is_not_wrong(name: str) -> None:
    child = {"nodes": {"a": shell()}}
    assert codes(
        named({"nodes": {"a": {"pipeline": "NAME"}}, "pipelines": {"NAME": child}}, name)
    ) == ["E104"]
    assert codes(named({"nodes": {"a": shell(pool="NAME")}, "pools": {"NAME": 1}}, name)) == [
        "E104"
    ]
    exits = {"task": "collect", "exits": {"NAME": 3}, "routes": {"NAME": "done"}}
    assert codes(named({"nodes": {"a": exits}}, name)) == ["E104"]


@pytest.mark.parametrize("name", ["", "${x}", "\n"])
def test_a_name_that_no_expression_can_say_is_one_mistake(name: str) -> None:
    steps = {name: shell(), "s": shell(routes={"success": name})}
    loose = {"start": "s", "steps": steps} if "$" not in name else shell()
    child = {"nodes": {name: shell()}}
    doc = {"nodes": {"a": loose, name: {"pipeline": "p"}}, "pipelines": {"p": child}}
    assert set(codes(doc)) == {"E104"}


def test_a_word_that_may_mean_either_is_neither_missed_nor_followed() -> None:
    nodes = {
        "run": shell(**{"with": {"argv": ["${run.id}", "${run.stdout}"]}}),
        "env": shell(when="env.stdout == 'x'", needs=["run"]),
    }
    assert codes({"nodes": nodes}) == ["E104", "E104"]


def test_a_wrong_name_that_is_said_otherwise_is_told() -> None:
    nodes = {"my-node": shell(), "a": shell(needs=["my-nod"]), "b": shell(when="myy-node.x == 1")}
    assert codes({"nodes": nodes}) == ["E104", "E201", "E201", "E201"]


# -- whatever the document -----------------------------------------------------------------------

RENAMED = ("n1", "n2", "s1", "num", "one", "two", "first", "text", "p1", "child")


def told(doc: dict[str, Any]) -> Counter[tuple[int, str]]:
    """The lines and codes of all findings but E104."""
    diagnostics = check(Source("x.toml", tomli_w.dumps(doc)), registry())
    return Counter((d.span.line, d.rule.code) for d in diagnostics if d.rule.code != "E104")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.one_of(near_misses(), cases().map(lambda case: case[0])),
    st.sampled_from(RENAMED),
    st.sampled_from(MISSHAPEN),
)
def test_a_wrong_name_hides_nothing_and_adds_nothing(doc: Any, old: str, name: str) -> None:
    assert told(named(doc, name, old)) == told(doc)
