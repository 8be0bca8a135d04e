"""Real state machines and task graphs, written as specs: the checker is silent but for real loops."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import networkx
import pytest
import tomli_w

from engine.api import check
from engine.toml.source import Source
from tests.support.state_language import document, graphs_in

BY_ERROR = ("either-or-parallel-pattern", "quorum-with-parallel-pattern")
"""Here branches answer by failing with errors of different names, which are one exit of ours: as
they stand, the rest is as unreachable as the checker says."""

CORPORA = Path(__file__).parents[3] / "shared" / "corpora"


def cases(name: str) -> list[Any]:
    file = CORPORA / name
    if not file.exists():
        missing = pytest.mark.skip(reason=f"{name} is not beside this checkout")
        return [pytest.param(None, marks=missing, id=name)]
    lines = file.read_text(encoding="utf-8").splitlines()
    return [pytest.param(case := json.loads(line), id=case["id"]) for line in lines]


def has_loop(graph: dict[str, Any]) -> bool:
    """Whether states that can be reached can follow each other for ever: nothing bounds a route."""
    flow: networkx.DiGraph[str] = networkx.DiGraph()
    flow.add_node(graph["start"])
    for name, state in graph["nodes"].items():
        ways = [*(state.get("routes") or ()), *(state.get("catch") or ())]
        targets = [way["to"] for way in ways] + [state.get("next"), state.get("default")]
        flow.add_edges_from((name, target) for target in targets if target)
    reached = {graph["start"]} | networkx.descendants(flow, graph["start"])
    return not networkx.is_directed_acyclic_graph(flow.subgraph(reached))


@pytest.mark.parametrize("case", cases("asl_samples.jsonl"))
def test_real_state_machines_are_sound_but_for_their_loops(case: dict[str, Any]) -> None:
    found = check(Source("case.toml", tomli_w.dumps(document(case["graph"]))))
    loops = [graph for graph in graphs_in(case["graph"]) if has_loop(graph)]
    codes = {each.rule.code for each in found}
    if any(pattern in case["id"] for pattern in BY_ERROR):
        codes -= {"E302", "E402", "W305"}
    assert codes == ({"E301"} if loops else set()), "\n".join(map(str, found))
