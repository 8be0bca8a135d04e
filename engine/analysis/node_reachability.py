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

from engine.analysis.choices import Choices, can_succeed, choices_of, joined, when_of
from engine.analysis.search import Cause, Search, TooMuch
from engine.base.classes import frozen
from engine.base.memo import once
from engine.plan.plan import Plan

__all__ = [
    "EFFORT",
    "Feasibility",
    "decide",
    "skips_all",
    "usual",
]

EFFORT = 100_000
"""The maximum number of node inspections in the search of one plan."""
_TRIALS = 8
_LIVE_AFTER_SUCCESS = frozenset({"success", "finished", "always"})


@frozen
class Feasibility:
    """The reachability of every node of a plan; each node, by index, is in exactly one of three sets."""

    runs: frozenset[int]
    never: Mapping[int, Cause]
    undecided: tuple[int, ...]


@once
def decide(plan: Plan) -> Feasibility:
    """Find the nodes that some assignment of exits and timing starts.

    Sub-pipelines are not judged.
    """
    if _goes_well(plan):
        return Feasibility(frozenset(range(len(plan.nodes))), {}, ())
    choices = choices_of(plan)
    runs = _tried(choices)
    if len(runs) == len(plan.nodes):
        return Feasibility(frozenset(runs), {}, ())
    return _searched(plan, choices, runs)


@once
def usual(plan: Plan) -> frozenset[int]:
    """Find the nodes of the run in which each node succeeds if it can."""
    return frozenset(_trial(choices_of(plan), (), _most))


def skips_all(plan: Plan) -> bool | None:
    """Return whether some run skips every blocking node.

    None means that the search budget did not suffice to decide.
    """
    choices, end = choices_of(plan), len(plan.nodes)
    if not choices.stuck & _trial(choices, (), _most):
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
        search = Search(plan, whole, EFFORT, skipped=never)
        return search._finds(whole.order, sorted(choices.stuck - never)) is not None
    except TooMuch:
        return None


def _searched(plan: Plan, choices: Choices, runs: set[int]) -> Feasibility:
    search = Search(plan, choices, EFFORT)
    never: dict[int, Cause] = {}
    undecided = []
    for node in choices.order:
        try:
            cause = None if node in runs else search.cause(node)
        except TooMuch:
            undecided.append(node)
        else:
            if cause is None:
                runs.add(node)
            else:
                never[node] = cause
        search.learn(node, node not in never)
    return Feasibility(frozenset(runs), never, tuple(sorted(undecided)))


def _goes_well(plan: Plan) -> bool:
    """Return whether each node certainly runs where all succeed, judged without regard to the others."""
    return len(plan.order) == len(plan.nodes) and all(
        can_succeed(node)
        and when_of(node) != "never"
        and all(edge.condition.kind in _LIVE_AFTER_SUCCESS for edge in node.edges)
        for node in plan.nodes
    )


# -- trial runs ------------------------------------------------------------------------------------


Prefer = Callable[[int, Sequence[int]], Any]
"""Rates an ending, given the bits of its edges to wanted nodes, in the order of these."""


def _tried(choices: Choices) -> set[int]:
    """Find nodes that run in a few whole runs.

    The first run is the one in which all nodes succeed; each further run aims at a node that has not run yet.
    """
    runs: set[int] = set()
    wanted: Collection[int] = ()
    idle = 0
    for prefer in (_most, _first) * _TRIALS:
        more = _trial(choices, wanted, prefer) - runs
        runs |= more
        wanted = [node for node in choices.order if node not in runs]
        idle = 0 if more else idle + 1
        if not wanted or idle == 2:
            break
    return runs


def _pick(masks: Sequence[int], bits: Sequence[int], prefer: Prefer) -> int:
    if len(masks) == 1 or not bits:
        return masks[0]
    return max(masks, key=lambda mask: prefer(mask, bits))


def _most(mask: int, bits: Sequence[int]) -> int:
    return sum(1 for bit in bits if bit & mask)


def _first(mask: int, bits: Sequence[int]) -> list[bool]:
    return [bool(bit & mask) for bit in bits]


def _trial(choices: Choices, wanted: Collection[int], prefer: Prefer) -> set[int]:
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
        elif when != "never" and joined(links, choices.any[node], lit):
            runs.add(node)
            if node in choices.stuck:
                held.add(node)
            else:
                lit[node] = _pick(choices.endings[node], gains.get(node, ()), prefer)
    return runs
