"""Plan -> which nodes race over a state: one writes what the other reads or writes, no path of edges
leads from one to the other, and some run has both.

An edge orders whatever its condition, for a node decides only when all its sources have their
results. So two nodes race if and only if some run starts both; their `when` reads or is true, so
who comes as far as that starts in some run. Bits of writers go along the edges, a number of them
at a time. The run in which all goes well settles the common case, the rest is asked of the search
of `feasibility`, exact up to `EFFORT`. What a step does that no run was found to visit is left to
N001. `[outputs]` are evaluated after all. Source: LANGUAGE.md sections 7, 11 and 15 (T2).
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
"""How often searching one plan for races may look at a node."""
_AT_ONCE = 1024


@attrs.frozen
class Access:
    """A node reads a state at `site`, or (None) writes it in `step`."""

    node: int
    step: int | None
    name: str
    site: Site | None


@attrs.frozen
class Race:
    """Two accesses to one state, that of the first node in the file first, or one and the same of a
    node that meets itself; `run` is one that has both, None if that in which all goes well has."""

    one: Access
    other: Access
    run: Fates | None


@attrs.frozen
class Races:
    """For each state and node at most one race with a node before it, and what is left open."""

    found: tuple[Race, ...]
    undecided: tuple[tuple[Access, Access], ...]


@once
def races(plan: Plan) -> Races:
    """The races of a plan; its sub-pipelines have states of their own."""
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
    """Whether several runs of a node's body may be under way at once; limits do not keep them apart."""
    return node.fan is not None and (node.fan.count is None or node.fan.count > 1)


# -- who does what ---------------------------------------------------------------------------------


@attrs.define
class _Use:
    """The first place in a node that writes a state, and the first that reads it."""

    write: Access | None = None
    read: Access | None = None


Uses = Mapping[int, _Use]
"""By node that has to do with a state, in the order of the file."""


def _accesses(plan: Plan) -> dict[str, dict[int, _Use]]:
    """By state that is written at all, what nodes do with it."""
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
    """Whether a node's body ever runs: it does not for each item of a list that is written empty."""
    return node.fan is None or node.fan.count != 0


def _visits(node: Node, at: int | None) -> bool:
    """Whether some run of a node is known to visit a step (None: it is no step's)."""
    if at is None or len(node.bodies) == 1:
        return True
    found = survey(node.machine)
    return at in found.steps and at not in found.undecided


# -- who waits for whom ----------------------------------------------------------------------------


def _rivals(plan: Plan, uses: Uses) -> dict[int, int]:
    """By node that has any, as bits of their places in `uses`: those before it in the file of which
    neither waits for the other, one of the two writing."""
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
    """By node, the bits of itself and of those that it waits for, or that wait for it."""
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
    """Two accesses, one of which writes: the writing ones where there is a choice."""
    first, last = one.write or one.read, other.write or other.read
    assert first is not None
    assert last is not None
    return first, last


@attrs.frozen
class _Met:
    """A node, and a run that has it together with another (None: the one in which all goes well)."""

    node: int
    run: Fates | TooMuch | None


class _Meetings:
    """Which nodes are in one run."""

    def __init__(self, plan: Plan) -> None:
        self._usual = usual(plan)
        self._questions = Questions(plan, choices_of(plan), decide(plan).never.keys(), EFFORT)
        self._known: dict[tuple[int, int], Fates | TooMuch | None] = {}
        self._masks: dict[int, int] = {}

    def first(self, node: int, uses: Uses, which: int) -> _Met | None:
        """The first node of `uses`, by bits of their places, that some run has together with a node;
        once the effort is used up, the first that is not decided."""
        if node in self._usual and (common := which & self._common(uses)):
            return _Met([*uses][next(_places(common))], None)
        others = [*uses]
        for at in _places(which):
            run = self._both(others[at], node)
            if run is not None:
                return _Met(others[at], run)
        return None

    def _common(self, uses: Uses) -> int:
        """Those of `uses` that are in the run in which all goes well."""
        if id(uses) not in self._masks:
            self._masks[id(uses)] = _mask(at for at, n in enumerate(uses) if n in self._usual)
        return self._masks[id(uses)]

    def _both(self, one: int, other: int) -> Fates | TooMuch | None:
        if (one, other) not in self._known:
            self._known[one, other] = self._questions.both(one, other)
        return self._known[one, other]
