"""How many attempts can hold a place at once, and which limits can therefore make others wait.

Nodes on one path of edges never run at once, so a cover of the graph by chains tells: at most one
node of each runs. A limit with as many places as that is never full while somebody waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.plan.plan import Plan

__all__ = ["at_once", "chains_of"]


def chains_of(plan: Plan, order: Sequence[int]) -> list[list[int]]:
    """All nodes in chains, each after one that it waits for."""
    chain: dict[int, list[int]] = {}
    found: list[list[int]] = []
    for node in order:
        before = next((e.source for e in plan.nodes[node].edges if e.source in chain), None)
        own = [] if before is None else chain.pop(before)
        if not own:
            found.append(own)
        own.append(node)
        chain[node] = own
    return found


def at_once(chains: Sequence[Sequence[int]], width: Sequence[int]) -> int:
    """How many places are held at most, if each node holds so many."""
    return sum(max(width[node] for node in chain) for chain in chains)
