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

from engine.analysis.choices import choices_of
from engine.analysis.missing_outputs import evaluated
from engine.analysis.node_reachability import decide, usual
from engine.analysis.reads import Site, sites
from engine.analysis.scenarios import Fates, Questions
from engine.analysis.search import TooMuch
from engine.analysis.step_reachability import survey
from engine.base.memo import once
from engine.plan.plan import Node, Plan

__all__ = ["EFFORT", "Access", "Race", "Races", "meets_itself", "races"]

EFFORT = 100_000
"""The maximum number of node inspections when searching one plan for races."""
_AT_ONCE = 1024


@attrs.frozen
class Access:
    """An access of a node to a state: a read at `site` or, if it is None, a write in `step`."""

    node: int
    step: int | None
    name: str
    site: Site | None


@attrs.frozen
class Race:
    """Two accesses to one state, that of the earlier node in the file first.

    Both are of the same node if it races with itself. `run` is a run that has both accesses; None if that is the run in
    which all nodes succeed.
    """

    one: Access
    other: Access
    run: Fates | None


@attrs.frozen
class Races:
    """The races of a plan, and the pairs left undecided.

    For each state and node there is at most one race with an earlier node.
    """

    found: tuple[Race, ...]
    undecided: tuple[tuple[Access, Access], ...]


@once
def races(plan: Plan) -> Races:
    """Find the races of a plan; sub-pipelines have states of their own."""
    found: list[Race] = []
    undecided: list[tuple[Access, Access]] = []
    meetings: _Meetings | None = None
    for uses in _accesses(plan).values() if plan.state else ():
        for node, use in uses.items():
            if use.write is not None and meets_itself(plan.nodes[node]):
                found.append(Race(use.write, use.write, None))
        for node, rivals in _rivals(plan, uses).items():
            meetings = meetings or _Meetings(plan)
            met = meetings.first(node, uses, rivals)
            if met is not None:
                pair = _shown(uses[met.node], uses[node])
                if isinstance(met.run, TooMuch):
                    undecided.append(pair)
                else:
                    found.append(Race(*pair, met.run))
    return Races(tuple(found), tuple(undecided))


def meets_itself(node: Node) -> bool:
    """Return whether several runs of a node's body may be active at once; limits do not separate them."""
    return node.fan is not None and (node.fan.count is None or node.fan.count > 1)


# -- who does what ---------------------------------------------------------------------------------


@attrs.define
class _Use:
    """The first place in a node that writes a state, and the first that reads it."""

    write: Access | None = None
    read: Access | None = None


Uses = Mapping[int, _Use]
"""The uses of one state by node, in file order."""


def _accesses(plan: Plan) -> dict[str, dict[int, _Use]]:
    """Collect the uses of each state that is written anywhere, by node."""
    unclear = plan.behind(plan.flawed) | decide(plan).never.keys()
    found: dict[str, dict[int, _Use]] = defaultdict(lambda: defaultdict(_Use))
    for access in (*_writes(plan), *_reads(plan)):
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


def _writes(plan: Plan) -> Iterator[Access]:
    for node in plan.nodes:
        for at, body in enumerate(node.bodies):
            step = node.machine.steps[at]
            if (
                body.set is not None
                and _runs(node)
                and _visits(node, at)
                and step.codes != frozenset()
            ):
                for name in plan.spec.nodes[node.name].steps[node.name_of(at)].set:
                    if name in plan.state:
                        yield Access(node.index, at, name, None)


def _reads(plan: Plan) -> Iterator[Access]:
    for site in sites(plan):
        root, *rest = site.read.path
        if root == "state" and site.node is not None:
            node = plan.nodes[site.node]
            outside = site.key in ("when", "for_each") or _runs(node)
            if outside and evaluated(node, site) and _visits(node, site.step):
                for name in (str(rest[0]),) if rest else plan.state:
                    yield Access(site.node, site.step, name, site)


def _runs(node: Node) -> bool:
    """Return whether a node's body ever runs; it does not for a list that is written out empty."""
    return node.fan is None or node.fan.count != 0


def _visits(node: Node, at: int | None) -> bool:
    """Return whether some run of a node is known to visit a step; None stands for no step."""
    if at is None or len(node.bodies) == 1:
        return True
    found = survey(node.machine)
    return at in found.steps and at not in found.undecided


# -- who waits for whom ----------------------------------------------------------------------------


def _rivals(plan: Plan, uses: Uses) -> dict[int, int]:
    """Find for each node the earlier unordered nodes, where one of the two writes.

    Return them as bits of their positions in `uses`. Unordered means that neither node waits for the other.
    """
    nodes, found = [*uses], dict.fromkeys(uses, 0)
    for start in range(0, len(nodes), _AT_ONCE):
        some = nodes[start : start + _AT_ONCE]
        tied = _tied(plan, {node: 1 << at for at, node in enumerate(some)})
        for node in nodes[start:]:
            found[node] |= (~tied[node] & ((1 << len(some)) - 1)) << start
    writers = _mask(at for at, use in enumerate(uses.values()) if use.write)
    for at, (node, use) in enumerate(uses.items()):
        found[node] &= (1 << at) - 1 if use.write else writers & ((1 << at) - 1)
    return {node: rivals for node, rivals in found.items() if rivals}


def _tied(plan: Plan, bits: Mapping[int, int]) -> list[int]:
    """Return for each node the bits of all nodes that edges order it with, its own included."""
    order = choices_of(plan).order
    above = [bits.get(index, 0) for index in range(len(plan.nodes))]
    below = list(above)
    for index in order:
        for edge in plan.nodes[index].edges:
            above[index] |= above[edge.source]
    for index in reversed(order):
        for edge in plan.targets[index]:
            below[index] |= below[edge.target]
    return [one | other for one, other in zip(above, below, strict=True)]


def _mask(places: Iterable[int]) -> int:
    found = 0
    for place in places:
        found |= 1 << place
    return found


def _places(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


# -- who meets -------------------------------------------------------------------------------------


def _shown(one: _Use, other: _Use) -> tuple[Access, Access]:
    """Choose two accesses of which at least one writes; writes are preferred."""
    first, last = one.write or one.read, other.write or other.read
    assert first is not None
    assert last is not None
    return first, last


@attrs.frozen
class _Met:
    """A node, and a run that has it together with another; None for the run in which all nodes succeed."""

    node: int
    run: Fates | TooMuch | None


class _Meetings:
    """The search for nodes that some run has together."""

    def __init__(self, plan: Plan) -> None:
        self._usual = usual(plan)
        self._questions = Questions(plan, choices_of(plan), decide(plan).never.keys(), EFFORT)
        self._known: dict[tuple[int, int], Fates | TooMuch | None] = {}
        self._masks: dict[int, int] = {}

    def first(self, node: int, uses: Uses, which: int) -> _Met | None:
        """Return the first node of `uses`, by bits of their positions, that some run has together with a node.

        Once the budget is used up, return the first node that is not decided.
        """
        if node in self._usual and (common := which & self._common(uses)):
            return _Met([*uses][next(_places(common))], None)
        others = [*uses]
        for at in _places(which):
            run = self._both(others[at], node)
            if run is not None:
                return _Met(others[at], run)
        return None

    def _common(self, uses: Uses) -> int:
        """Return the nodes of `uses`, as bits, that the run in which all nodes succeed has."""
        if id(uses) not in self._masks:
            self._masks[id(uses)] = _mask(at for at, n in enumerate(uses) if n in self._usual)
        return self._masks[id(uses)]

    def _both(self, one: int, other: int) -> Fates | TooMuch | None:
        if (one, other) not in self._known:
            self._known[one, other] = self._questions.both(one, other)
        return self._known[one, other]
