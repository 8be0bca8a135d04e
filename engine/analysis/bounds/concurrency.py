"""Compute how many attempts can hold a slot at once, and which limits can therefore make others wait.

Nodes on one path of edges never run at once. So, with the graph covered by chains, at most one node of each chain
runs. A limit with that many slots is never full while an attempt waits for it.

Source: docs/language.md, "Limits", "Worst case".
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.plan.plan import Plan

__all__ = ["cover_with_chains", "max_concurrent"]


def cover_with_chains(plan: Plan, order: Sequence[int]) -> list[list[int]]:
    """Cover all nodes with chains, in which each node comes after one that it waits for."""
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


def max_concurrent(chains: Sequence[Sequence[int]], width: Sequence[int]) -> int:
    """Return the maximum number of slots held at once, given the number that each node holds."""
    return sum(max(width[node] for node in chain) for chain in chains)
