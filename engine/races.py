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
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from engine.choices import choices_of
from engine.ends import survey
from engine.feasibility import TooMuch, decide, usual
from engine.once import per_plan
from engine.plan import Node, Plan
from engine.produced import evaluated
from engine.questions import Fates, Questions
from engine.reads import Site, sites

__all__ = ["EFFORT", "Access", "Race", "Races", "races"]

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
    """Two accesses to one state, that of the first node in the file first; `run` is one that has
    both, None if they are in the one in which all goes well."""

    one: Access
    other: Access
    run: Fates | None


@attrs.frozen
class Races:
    """For each state and node at most one race with a node before it, and what is left open."""

    found: tuple[Race, ...]
    undecided: tuple[tuple[Access, Access], ...]


@per_plan
def races(plan: Plan) -> Races:
    """The races of a plan; its sub-pipelines have states of their own."""
    if not plan.state:
        return Races((), ())
    accesses = _accesses(plan)
    rivals = {name: found for name, nodes in accesses.items() if (found := _rivals(plan, nodes))}
    return _judged(plan, accesses, rivals) if rivals else Races((), ())


# -- who does what ---------------------------------------------------------------------------------


@attrs.define
class _Use:
    """The first place in a node that writes a state, and the first that reads it."""

    write: Access | None = None
    read: Access | None = None


Uses = Mapping[int, _Use]
"""By node that has to do with a state."""


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
    return {name: uses for name, uses in found.items() if any(use.write for use in uses.values())}


def _writes(plan: Plan) -> Iterator[Access]:
    for node in plan.nodes:
        for at, body in enumerate(node.bodies):
            step = node.machine.steps[at]
            if body.set is not None and _visits(node, at) and step.codes != frozenset():
                for name in plan.spec.nodes[node.name].steps[step.name].set:
                    if name in plan.state:
                        yield Access(node.index, at, name, None)


def _reads(plan: Plan) -> Iterator[Access]:
    for site in sites(plan):
        root, *rest = site.read.path
        if root == "state" and site.node is not None:
            node = plan.nodes[site.node]
            if evaluated(node, site) and (site.step is None or _visits(node, site.step)):
                for name in (str(rest[0]),) if rest else plan.state:
                    yield Access(site.node, site.step, name, site)


def _visits(node: Node, at: int) -> bool:
    """Whether some run of a node is known to visit a step."""
    if len(node.bodies) == 1:
        return True
    found = survey(node.machine)
    return at in found.steps and at not in found.undecided


# -- who waits for whom ----------------------------------------------------------------------------


def _rivals(plan: Plan, uses: Uses) -> dict[int, list[int]]:
    """By node, in order, those before it in the file of which neither waits for the other, one of
    the two writing."""
    found: dict[int, list[int]] = defaultdict(list)
    writers = sorted(node for node, use in uses.items() if use.write)
    for start in range(0, len(writers), _AT_ONCE):
        some = writers[start : start + _AT_ONCE]
        tied = _tied(plan, {node: 1 << at for at, node in enumerate(some)})
        for user in uses:
            free = ~tied[user] & ((1 << len(some)) - 1)
            for at in _places(free):
                first, last = sorted((some[at], user))
                if first not in found[last]:
                    found[last].append(first)
    return {node: sorted(found[node]) for node in sorted(found)}


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


def _places(mask: int) -> Iterator[int]:
    while mask:
        yield (mask & -mask).bit_length() - 1
        mask &= mask - 1


# -- who meets -------------------------------------------------------------------------------------


def _judged(
    plan: Plan, accesses: Mapping[str, Uses], rivals: Mapping[str, Mapping[int, Sequence[int]]]
) -> Races:
    meetings = _Meetings(plan)
    found: list[Race] = []
    undecided: list[tuple[Access, Access]] = []
    for name, pairs in rivals.items():
        for node, others in pairs.items():
            meets = meetings.first(node, others)
            if meets is not None:
                other, run = meets
                one = accesses[name]
                pair = _shown(one[other], one[node])
                if isinstance(run, TooMuch):
                    undecided.append(pair)
                else:
                    found.append(Race(*pair, run))
    return Races(tuple(found), tuple(undecided))


def _shown(one: _Use, other: _Use) -> tuple[Access, Access]:
    """Two accesses, one of which writes: the writing ones where there is a choice."""
    first, last = one.write or one.read, other.write or other.read
    assert first is not None
    assert last is not None
    return first, last


class _Meetings:
    """Which nodes are in one run."""

    def __init__(self, plan: Plan) -> None:
        self._usual = usual(plan)
        self._questions = Questions(plan, choices_of(plan), decide(plan).never.keys(), EFFORT)
        self._known: dict[tuple[int, int], Fates | TooMuch | None] = {}

    def first(self, node: int, others: Iterable[int]) -> tuple[int, Fates | TooMuch | None] | None:
        """The first of other nodes that some run has together with a node, and the run; the first
        that is not decided if no run is found."""
        open: tuple[int, TooMuch] | None = None
        for other in others:
            if node in self._usual and other in self._usual:
                return other, None
        for other in others:
            found = self._both(other, node)
            if isinstance(found, TooMuch):
                open = open or (other, found)
            elif found is not None:
                return other, found
        return open

    def _both(self, one: int, other: int) -> Fates | TooMuch | None:
        if (one, other) not in self._known:
            self._known[one, other] = self._questions.both(one, other)
        return self._known[one, other]
