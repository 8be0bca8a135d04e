"""Order and cycles against networkx."""

from __future__ import annotations

from itertools import pairwise

import networkx
from hypothesis import given
from hypothesis import strategies as st

from engine.base.graphs import find_cycles, reachable_sets, topological_order

GRAPHS = st.integers(1, 8).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=4), min_size=n, max_size=n)
)


def graph_of(waits: list[list[int]]) -> networkx.DiGraph[int]:
    graph: networkx.DiGraph[int] = networkx.DiGraph()
    graph.add_nodes_from(range(len(waits)))
    graph.add_edges_from((node, source) for node, sources in enumerate(waits) for source in sources)
    return graph


@given(GRAPHS)
def test_every_knot_has_one_cycle_told(waits: list[list[int]]) -> None:
    graph = graph_of(waits)
    knots = [
        part
        for part in networkx.strongly_connected_components(graph)
        if len(part) > 1 or graph.has_edge(*(2 * tuple(part)))
    ]
    loops = list(find_cycles(waits))
    assert len(loops) == len(knots)
    for loop in loops:
        assert all(graph.has_edge(*step) for step in pairwise([*loop, loop[0]]))
        assert loop[0] == min(loop)
        assert len(set(loop)) == len(loop)


@given(GRAPHS)
def test_each_comes_after_what_it_waits_for(waits: list[list[int]]) -> None:
    order = topological_order(waits)
    place = {node: at for at, node in enumerate(order)}
    for node in order:
        assert all(place[source] < place[node] for source in waits[node])
    if networkx.is_directed_acyclic_graph(graph_of(waits)):
        assert sorted(order) == list(range(len(waits)))


@given(GRAPHS)
def test_a_node_leads_to_what_can_be_reached_from_it(waits: list[list[int]]) -> None:
    graph = graph_of(waits)
    for node, bits in enumerate(reachable_sets(waits)):
        reached = {other for other in range(len(waits)) if bits >> other & 1}
        assert reached == networkx.descendants(graph, node) | {node}
