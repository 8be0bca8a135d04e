"""Decide which nodes of a plan some run starts, which none does and why, and which stay undecided.

A run is an ending chosen for each node (see `engine.analysis.choices`). No condition asks for a skip, so more running
nodes never close an edge: a node runs if and only if its needs can be met with one ending of each ancestor.
A few whole runs settle the common case; the rest goes to `engine.analysis.search`. Exact up to `SEARCH_BUDGET`.

Source: docs/language.md, "Edges and joins", "Results", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs

from engine.analysis.choices import (
    Choices,
    build_choices,
    can_node_succeed,
    classify_when,
    join_holds,
)
from engine.analysis.search import BudgetExceeded, Search, UnreachableReason
from engine.base.classes import frozen
from engine.base.memo import memoize
from engine.plan.plan import Plan

__all__ = [
    "SEARCH_BUDGET",
    "Feasibility",
    "can_skip_all_blocking",
    "find_nodes_of_successful_run",
    "find_reachable_nodes",
]

SEARCH_BUDGET = 100_000
"""The maximum number of node inspections in the search of one plan."""
_MAX_TRIALS = 8
_LIVE_AFTER_SUCCESS = frozenset({"success", "finished", "always"})


@frozen
class Feasibility:
    """The reachability of every node of a plan; each node, by index, is in exactly one of three sets."""

    runs: frozenset[int]
    never: Mapping[int, UnreachableReason]
    undecided: tuple[int, ...]


@memoize
def find_reachable_nodes(plan: Plan) -> Feasibility:
    """Find the nodes that some assignment of exits and timing starts.

    Sub-pipelines are not judged.
    """
    if _is_trivially_reachable(plan):
        return Feasibility(frozenset(range(len(plan.nodes))), {}, ())
    choices = build_choices(plan)
    runs = _find_nodes_by_trials(choices)
    if len(runs) == len(plan.nodes):
        return Feasibility(frozenset(runs), {}, ())
    return _search_nodes(plan, choices, runs)


@memoize
def find_nodes_of_successful_run(plan: Plan) -> frozenset[int]:
    """Find the nodes of the run in which each node succeeds if it can."""
    return frozenset(_simulate_run(build_choices(plan), (), _count_bits))


def can_skip_all_blocking(plan: Plan) -> bool | None:
    """Return whether some run skips every blocking node.

    None means that the search budget did not suffice to decide.
    """
    choices, end = build_choices(plan), len(plan.nodes)
    if not choices.blocking & _simulate_run(choices, (), _count_bits):
        return True
    last = tuple((node, 0, True) for node in choices.order)
    whole = attrs.evolve(
        choices,
        order=(*choices.order, end),
        links=(*choices.links, last),
        any=(*choices.any, False),
        when=(*choices.when, "none"),
        endings=(*choices.endings, (0,)),
    )
    try:
        never = {node for node in choices.order if choices.when[node] == "never"}
        search = Search(plan, whole, SEARCH_BUDGET, skipped=never)
        return search._find_assignment(whole.order, sorted(choices.blocking - never)) is not None
    except BudgetExceeded:
        return None


def _search_nodes(plan: Plan, choices: Choices, runs: set[int]) -> Feasibility:
    search = Search(plan, choices, SEARCH_BUDGET)
    never: dict[int, UnreachableReason] = {}
    undecided = []
    for node in choices.order:
        try:
            cause = None if node in runs else search.find_cause(node)
        except BudgetExceeded:
            undecided.append(node)
        else:
            if cause is None:
                runs.add(node)
            else:
                never[node] = cause
        search.record(node, node not in never)
    return Feasibility(frozenset(runs), never, tuple(sorted(undecided)))


def _is_trivially_reachable(plan: Plan) -> bool:
    """Return whether each node certainly runs where all succeed, judged without regard to the others."""
    return len(plan.order) == len(plan.nodes) and all(
        can_node_succeed(node)
        and classify_when(node) != "never"
        and all(edge.condition.kind in _LIVE_AFTER_SUCCESS for edge in node.edges)
        for node in plan.nodes
    )


# -- trial runs ------------------------------------------------------------------------------------


PreferenceKey = Callable[[int, Sequence[int]], Any]
"""Rates an ending, given the bits of its edges to wanted nodes, in the order of these."""


def _find_nodes_by_trials(choices: Choices) -> set[int]:
    """Find nodes that run in a few whole runs.

    The first run is the one in which all nodes succeed; each further run aims at a node that has not run yet.
    """
    runs: set[int] = set()
    wanted: Collection[int] = ()
    idle = 0
    for prefer in (_count_bits, _bit_priority) * _MAX_TRIALS:
        more = _simulate_run(choices, wanted, prefer) - runs
        runs |= more
        wanted = [node for node in choices.order if node not in runs]
        idle = 0 if more else idle + 1
        if not wanted or idle == 2:
            break
    return runs


def _pick_mask(masks: Sequence[int], bits: Sequence[int], prefer: PreferenceKey) -> int:
    if len(masks) == 1 or not bits:
        return masks[0]
    return max(masks, key=lambda mask: prefer(mask, bits))


def _count_bits(mask: int, bits: Sequence[int]) -> int:
    return sum(1 for bit in bits if bit & mask)


def _bit_priority(mask: int, bits: Sequence[int]) -> list[bool]:
    return [bool(bit & mask) for bit in bits]


def _simulate_run(choices: Choices, wanted: Collection[int], prefer: PreferenceKey) -> set[int]:
    """Return the nodes of the run in which each node ends as preferred."""
    gains: dict[int, list[int]] = {}
    for node in wanted:
        for source, bit, _ in choices.links[node]:
            gains.setdefault(source, []).append(bit)
    lit: dict[int, int] = {}
    runs: set[int] = set()
    held: set[int] = set()
    for node in choices.order:
        links, when = choices.links[node], choices.when[node]
        if held and any(link[0] in held for link in links):
            held.add(node)
        elif when != "never" and join_holds(links, choices.any[node], lit):
            runs.add(node)
            if node in choices.blocking:
                held.add(node)
            else:
                lit[node] = _pick_mask(choices.endings[node], gains.get(node, ()), prefer)
    return runs
