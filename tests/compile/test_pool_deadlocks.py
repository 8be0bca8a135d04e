"""E205 against a naive graph of who holds and who wants which pool, over trees of sub-pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.compile.compiler import compile as compile_spec
from engine.diagnostics import Diagnostic
from engine.language.loader import load_spec
from engine.toml.source import Source
from tests.support.plans import registry

RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
FIXTURES = Path(__file__).parents[1] / "fixtures"
POOLS = ("f", "g", "h")
Doc = dict[str, Any]


def node(pool: str | None, child: str | None) -> Doc:
    found: Doc = {"pipeline": child} if child else {"task": "shell"}
    return found | ({"pool": pool} if pool else {})


@st.composite
def documents(draw: st.DrawFn) -> Doc:
    """Up to four pipelines in one file, each of which may use those after it."""
    names = ["p0", "p1", "p2", "p3"][: draw(st.integers(1, 4))]
    pool = st.sampled_from([None, *POOLS])
    parts = {}
    for at, name in enumerate(names):
        child = st.sampled_from([None, *names[at + 1 :]])
        made = draw(st.lists(st.builds(node, pool, child), min_size=1, max_size=3))
        parts[name] = {"nodes": {f"n{index}": each for index, each in enumerate(made)}}
    return {"engine": 1, "pools": dict.fromkeys(POOLS, 1), **parts.pop("p0"), "pipelines": parts}


def wanted(doc: Doc, part: Doc) -> set[str]:
    found = {each["pool"] for each in part["nodes"].values() if "pool" in each}
    for each in part["nodes"].values():
        if "pipeline" in each:
            found |= wanted(doc, doc["pipelines"][each["pipeline"]])
    return found


def stuck(doc: Doc) -> set[str]:
    """The pools that are held while, over others or not, they are waited for."""
    waits: dict[str, set[str]] = {pool: set() for pool in POOLS}
    for part in (doc, *doc["pipelines"].values()):
        for each in part["nodes"].values():
            if "pool" in each and "pipeline" in each:
                waits[each["pool"]] |= wanted(doc, doc["pipelines"][each["pipeline"]])
    for _ in POOLS:
        for pool in POOLS:
            waits[pool] |= {far for near in waits[pool] for far in waits[near]}
    return {pool for pool in POOLS if pool in waits[pool]}


@RELAXED
@given(documents())
def test_a_circle_is_found_wherever_there_is_one(doc: Doc) -> None:
    used = {
        each.get("pipeline")
        for part in doc["pipelines"].values()
        for each in part["nodes"].values()
    }
    used |= {each.get("pipeline") for each in doc["nodes"].values()}
    spare = [name for name in doc["pipelines"] if name not in used]
    doc["nodes"] |= {f"use_{name}": {"pipeline": name} for name in spare}
    spec, _ = load_spec(Source("case.toml", tomli_w.dumps(doc)))
    assert spec is not None
    _, found = compile_spec(spec, registry())
    assert {each.rule.code for each in found} == ({"E205"} if stuck(doc) else set())


def the_one(found: Any) -> Diagnostic:
    [one] = found
    assert isinstance(one, Diagnostic)
    return one


def test_a_circle_of_pools_is_shown_with_those_who_hold_them() -> None:
    found = the_one(check(FIXTURES / "err" / "pools_held_in_a_circle.toml"))
    assert found.message == "nodes that hold a pool wait for each other's pools: g → h → g"
    assert [(note.message, note.span.line) for note in found.notes] == [
        ("`a` holds a place in pool `g` while its sub-pipeline waits for one in `h`", 10),
        ("`b` holds a place in pool `h` while its sub-pipeline waits for one in `g`", 14),
    ]


HOLDS_H = """
[pools]
g = 1
h = 1
[nodes.inner]
pool = "h"
pipeline = "wants_g"
[pipelines.wants_g.nodes.x]
pool = "g"
task = "shell"
"""
HOLDS_G = """
[pools]
g = 1
POOL
[nodes.a]
pool = "g"
pipeline = "part"
[nodes.b]
pipeline = "./holds_h.toml"
[pipelines.part.nodes.y]
pool = "h"
task = "shell"
"""


def compiled(text: str) -> Any:
    source = Source("case.toml", f"engine = 1\n{text}")
    spec, wrong = load_spec(source, lambda path: Source(path, f"engine = 1\n{HOLDS_H}"))
    assert spec is not None
    assert not wrong
    return compile_spec(spec, registry())[1]


def test_a_pool_held_in_another_file_is_told_at_the_step_that_names_it() -> None:
    found = the_one(compiled(HOLDS_G.replace("POOL", "h = 1")))
    assert [note.span.line for note in found.notes] == [8, 10]
    assert found.notes[1].message.startswith("`inner` holds a place in pool `h`")


def test_pools_of_one_name_that_no_common_run_has_are_not_one() -> None:
    own = "[pipelines.part.pools]\nh = 1\n"
    assert not compiled(HOLDS_G.replace("POOL", "") + own)


def test_a_tree_that_meets_itself_again_and_again_is_looked_at_once() -> None:
    levels = 40
    parts: Doc = {
        f"p{at}": {"nodes": {n: {"pipeline": f"p{at + 1}"} for n in ("x", "y")}}
        for at in range(levels)
    }
    parts[f"p{levels}"] = {"nodes": {"x": {"task": "shell", "pool": "g"}}}
    nodes = {"a": {"pipeline": "p0", "pool": "g"}}
    doc = {"engine": 1, "pools": {"g": 1}, "nodes": nodes, "pipelines": parts}
    spec, _ = load_spec(Source("case.toml", tomli_w.dumps(doc)))
    assert spec is not None
    assert the_one(compile_spec(spec, registry())[1]).rule.code == "E205"
