"""Find pairs of nodes that race over a state.

Two nodes race if one writes what the other reads or writes, no path of edges leads from one to the other, and some run
has both. An edge orders its nodes whatever its condition, for a node decides only when all its sources have their
results. So two unordered nodes race if and only if some run starts both. A `when` that reads values can be true, so
a node whose edges let it run starts in some run. Sets of writers are propagated along the edges as bits, a limited number per
pass. The run in which all nodes succeed settles the common case; the rest goes to the search of
`engine.analysis.node_reachability`, exact up to `RACE_BUDGET`. Accesses of a step that no run was found to visit are
left to N001. `[outputs]` are evaluated after all nodes.

Source: docs/language.md, "State", "Edges and joins", "Diagnostics", "Details".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import attrs

from engine.analysis.choices import build_choices
from engine.analysis.missing_outputs import may_be_evaluated
from engine.analysis.node_reachability import find_nodes_of_successful_run, find_reachable_nodes
from engine.analysis.reads import ReadSite, iter_read_sites
from engine.analysis.scenarios import Scenario, ScenarioSearch
from engine.analysis.search import BudgetExceeded
from engine.analysis.step_reachability import analyse_steps
from engine.base.memo import memoize
from engine.plan.plan import Node, Plan

__all__ = ["RACE_BUDGET", "Access", "Race", "Races", "find_races", "races_with_itself"]

RACE_BUDGET = 100_000
"""The maximum number of node inspections when searching one plan for races."""
_WRITERS_PER_PASS = 1024


@attrs.frozen
class Access:
    """An access of a node to a state: a read at `site` or, if it is None, a write in `step`."""

    node: int
    step: int | None
    name: str
    site: ReadSite | None


@attrs.frozen
class Race:
    """Two accesses to one state, that of the earlier node in the file first.

    Both are of the same node if it races with itself. `run` is a run that has both accesses; None if that is the run in
    which all nodes succeed.
    """

    one: Access
    other: Access
    run: Scenario | None


@attrs.frozen
class Races:
    """The races of a plan, and the pairs left undecided.

    For each state and node there is at most one race with an earlier node.
    """

    found: tuple[Race, ...]
    undecided: tuple[tuple[Access, Access], ...]


@memoize
def find_races(plan: Plan) -> Races:
    """Find the races of a plan; sub-pipelines have states of their own."""
    found: list[Race] = []
    undecided: list[tuple[Access, Access]] = []
    meetings: _ConcurrencySearch | None = None
    for uses in _collect_accesses(plan).values() if plan.state else ():
        for node, use in uses.items():
            if use.write is not None and races_with_itself(plan.nodes[node]):
                found.append(Race(use.write, use.write, None))
        for node, rivals in _find_unordered_pairs(plan, uses).items():
            meetings = meetings or _ConcurrencySearch(plan)
            met = meetings.find_first(node, uses, rivals)
            if met is not None:
                pair = _choose_accesses(uses[met.node], uses[node])
                if isinstance(met.run, BudgetExceeded):
                    undecided.append(pair)
                else:
                    found.append(Race(*pair, met.run))
    return Races(tuple(found), tuple(undecided))


def races_with_itself(node: Node) -> bool:
    """Return whether several runs of a node's body may be active at once; limits do not separate them."""
    return node.fan is not None and (node.fan.count is None or node.fan.count > 1)


# -- accesses --------------------------------------------------------------------------------------


@attrs.define
class _StateUse:
    """The first place in a node that writes a state, and the first that reads it."""

    write: Access | None = None
    read: Access | None = None


UsesByNode = Mapping[int, _StateUse]
"""The uses of one state by node, in file order."""


def _collect_accesses(plan: Plan) -> dict[str, dict[int, _StateUse]]:
    """Collect the uses of each state that is written anywhere, by node."""
    unclear = plan.descendants(plan.invalid_nodes) | find_reachable_nodes(plan).never.keys()
    found: dict[str, dict[int, _StateUse]] = defaultdict(lambda: defaultdict(_StateUse))
    for access in (*_iter_writes(plan), *_iter_reads(plan)):
        if access.node not in unclear:
            use = found[access.name][access.node]
            if access.site is None:
                use.write = use.write or access
            else:
                use.read = use.read or access
    return {
        name: dict(sorted(uses.items()))
        for name, uses in found.items()
        if any(use.write for use in uses.values())
    }


def _iter_writes(plan: Plan) -> Iterator[Access]:
    for node in plan.nodes:
        for at, body in enumerate(node.bodies):
            step = node.machine.steps[at]
            if (
                body.set is not None
                and _can_run_body(node)
                and _can_visit(node, at)
                and step.codes != frozenset()
            ):
                for name in plan.spec.nodes[node.name].steps[node.name_of(at)].set:
                    if name in plan.state:
                        yield Access(node.index, at, name, None)


def _iter_reads(plan: Plan) -> Iterator[Access]:
    for site in iter_read_sites(plan):
        root, *rest = site.read.path
        if root == "state" and site.node is not None:
            node = plan.nodes[site.node]
            outside = site.key in ("when", "for_each") or _can_run_body(node)
            if outside and may_be_evaluated(node, site) and _can_visit(node, site.step):
                for name in (str(rest[0]),) if rest else plan.state:
                    yield Access(site.node, site.step, name, site)


def _can_run_body(node: Node) -> bool:
    """Return whether a node's body ever runs; it does not for a list that is written out empty."""
    return node.fan is None or node.fan.count != 0


def _can_visit(node: Node, at: int | None) -> bool:
    """Return whether some run of a node is known to visit a step; None stands for no step."""
    if at is None or len(node.bodies) == 1:
        return True
    found = analyse_steps(node.machine)
    return at in found.steps and at not in found.undecided


# -- order -----------------------------------------------------------------------------------------


def _find_unordered_pairs(plan: Plan, uses: UsesByNode) -> dict[int, int]:
    """Find for each node the earlier unordered nodes, where one of the two writes.

    Return them as bits of their positions in `uses`. Unordered means that neither node waits for the other.
    """
    nodes, found = [*uses], dict.fromkeys(uses, 0)
    for start in range(0, len(nodes), _WRITERS_PER_PASS):
        some = nodes[start : start + _WRITERS_PER_PASS]
        tied = _find_ordered_nodes(plan, {node: 1 << at for at, node in enumerate(some)})
        for node in nodes[start:]:
            found[node] |= (~tied[node] & ((1 << len(some)) - 1)) << start
    writers = _build_mask(at for at, use in enumerate(uses.values()) if use.write)
    for at, (node, use) in enumerate(uses.items()):
        found[node] &= (1 << at) - 1 if use.write else writers & ((1 << at) - 1)
    return {node: rivals for node, rivals in found.items() if rivals}


def _find_ordered_nodes(plan: Plan, bits: Mapping[int, int]) -> list[int]:
    """Return for each node the bits of all nodes that edges order it with, its own included."""
    order = build_choices(plan).order
    above = [bits.get(index, 0) for index in range(len(plan.nodes))]
    below = list(above)
    for index in order:
        for edge in plan.nodes[index].edges:
            above[index] |= above[edge.source]
    for index in reversed(order):
        for edge in plan.targets[index]:
            below[index] |= below[edge.target]
    return [one | other for one, other in zip(above, below, strict=True)]


def _build_mask(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


def _iter_bits(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


# -- runs of two nodes -----------------------------------------------------------------------------


def _choose_accesses(one: _StateUse, other: _StateUse) -> tuple[Access, Access]:
    """Choose two accesses of which at least one writes; writes are preferred."""
    first, last = one.write or one.read, other.write or other.read
    assert first is not None
    assert last is not None
    return first, last


@attrs.frozen
class _Encounter:
    """A node, and a run that has it together with another; None for the run in which all nodes succeed."""

    node: int
    run: Scenario | BudgetExceeded | None


class _ConcurrencySearch:
    """The search for nodes that some run has together."""

    def __init__(self, plan: Plan) -> None:
        self._usual = find_nodes_of_successful_run(plan)
        self._questions = ScenarioSearch(
            plan, build_choices(plan), find_reachable_nodes(plan).never.keys(), RACE_BUDGET
        )
        self._known: dict[tuple[int, int], Scenario | BudgetExceeded | None] = {}
        self._masks: dict[int, int] = {}

    def find_first(self, node: int, uses: UsesByNode, which: int) -> _Encounter | None:
        """Return the first node of `uses`, by bits of their positions, that some run has together with a node.

        Once the budget is used up, return the first node that is not decided.
        """
        if node in self._usual and (common := which & self._find_usual_nodes(uses)):
            return _Encounter([*uses][next(_iter_bits(common))], None)
        others = [*uses]
        for at in _iter_bits(which):
            run = self._find_concurrent(others[at], node)
            if run is not None:
                return _Encounter(others[at], run)
        return None

    def _find_usual_nodes(self, uses: UsesByNode) -> int:
        """Return the nodes of `uses`, as bits, that the run in which all nodes succeed has."""
        if id(uses) not in self._masks:
            self._masks[id(uses)] = _build_mask(at for at, n in enumerate(uses) if n in self._usual)
        return self._masks[id(uses)]

    def _find_concurrent(self, one: int, other: int) -> Scenario | BudgetExceeded | None:
        if (one, other) not in self._known:
            self._known[one, other] = self._questions.find_concurrent(one, other)
        return self._known[one, other]
