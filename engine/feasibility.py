"""Plan -> Feasibility: which nodes some run starts, which none does and why, which stay undecided.

A run is an ending picked for each node (see `choices`). No condition asks for a skip, so more runs
never close an edge: a node runs if and only if its needs can be met with one ending an ancestor.
A few whole runs settle the common case. For the rest a search takes one support of the node, where
an ending not yet picked counts for all conditions it could satisfy; if a support asks of one
node what no ending gives at once, its endings are tried in turn. Where an ancestor is `stuck`, one
must be skipped; then the nodes before it are tried, too. Exact up to `EFFORT`, no recursion.
Source: LANGUAGE.md sections 7, 8 and 15 (T3).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

import attrs

from engine.choices import (
    Choices,
    Link,
    Lit,
    can_succeed,
    choices_of,
    common,
    fits,
    joined,
    live,
    union,
    when_of,
)
from engine.kin import first_ones
from engine.once import per_plan
from engine.plan import Edge, Plan

__all__ = [
    "EFFORT",
    "SKIPPED",
    "Cause",
    "Clash",
    "Dead",
    "Feasibility",
    "Found",
    "Search",
    "Shut",
    "Stuck",
    "TooMuch",
    "decide",
    "skips_all",
    "usual",
]

EFFORT = 100_000
"""How often searching one plan may look at a node."""
_TRIALS = 8
_LIVE_AFTER_SUCCESS = frozenset({"success", "finished", "always"})
SKIPPED = -1
"""A pick: the node's own `when` is false."""


# -- what is found ---------------------------------------------------------------------------------


@attrs.frozen
class Shut:
    """The node's own `when` is never true."""


@attrs.frozen
class Dead:
    """None of `edges` is ever live: one that the node cannot do without, or all of a join `any`."""

    edges: tuple[Edge, ...]


@attrs.frozen
class Stuck:
    """It waits for `node`, which runs too and never ends, or fails and so cancels the rest."""

    node: int


@attrs.frozen
class Clash:
    """No ending of `node` keeps all of `paths` live: edges from the target back to one out of it.

    `only`: the target needs all of them; else they are one way to run it, and the others clash too.
    """

    node: int
    paths: tuple[tuple[Edge, ...], ...]
    only: bool


Cause = Shut | Dead | Stuck | Clash


@attrs.frozen
class Feasibility:
    """Every node of a plan, by index, is in one of the three."""

    runs: frozenset[int]
    never: Mapping[int, Cause]
    undecided: tuple[int, ...]


@per_plan
def decide(plan: Plan) -> Feasibility:
    """Which nodes some assignment of exits (and timing) makes run; sub-pipelines are not judged."""
    if _goes_well(plan):
        return Feasibility(frozenset(range(len(plan.nodes))), {}, ())
    choices = choices_of(plan)
    runs = _tried(choices)
    if len(runs) == len(plan.nodes):
        return Feasibility(frozenset(runs), {}, ())
    return _searched(plan, choices, runs)


@per_plan
def usual(plan: Plan) -> frozenset[int]:
    """The nodes of the run in which each ends well if it can."""
    return frozenset(_trial(choices_of(plan), (), _most))


def skips_all(plan: Plan) -> bool | None:
    """Whether some run skips every node that does not end well; None where the effort did not
    suffice to tell."""
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
    """Whether each node surely runs where all succeed, as can be seen without looking at the rest."""
    return len(plan.order) == len(plan.nodes) and all(
        can_succeed(node)
        and when_of(node) != "never"
        and all(edge.condition.kind in _LIVE_AFTER_SUCCESS for edge in node.edges)
        for node in first_ones(plan)
    )


# -- trial runs ------------------------------------------------------------------------------------


Prefer = Callable[[int, Sequence[int]], Any]
"""How good an ending is, given the bits of its edges to wanted nodes, in the order of these."""


def _tried(choices: Choices) -> set[int]:
    """Nodes that run in a few whole runs: all well, then each after what has not run yet."""
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
    """The nodes of one run, in which each ends as is preferred."""
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


# -- the search ------------------------------------------------------------------------------------


class TooMuch(Exception):
    """The effort is used up."""


@attrs.frozen(eq=False)
class Found:
    """A run: endings picked for nodes, what is asked of others; it starts the last of `cone`."""

    cone: Sequence[int]
    picks: Lit
    asked: Lit


@attrs.define(eq=False)
class Search:
    """The search over one plan: what is known of the nodes decided so far, and the effort left."""

    plan: Plan
    choices: Choices
    left: int
    lit: dict[int, int] = attrs.Factory(dict)
    """What each node that runs can satisfy by one ending or another."""
    skipped: set[int] = attrs.Factory(set)
    place: dict[int, int] = attrs.Factory(dict)

    def learn(self, node: int, runs: bool) -> None:
        """Take note of a node that is decided, so that those after it need not ask again."""
        if runs:
            self.lit[node] = union(self.choices.endings[node])
        else:
            self.skipped.add(node)

    def cause(self, target: int) -> Cause | None:
        """Why no run starts the target; None if one does. All nodes before it have been learnt."""
        if self.choices.when[target] == "never":
            return Shut()
        if not self._joined(target):
            return Dead(tuple(self._dead(target)))
        cone = self._cone(target, bool(self.choices.stuck))
        perils = self._perils(cone, ())
        if self._finds(cone, perils):
            return None
        clash = self._clash(target, self._needed, only=True)
        if clash is None and perils and self._finds(cone, ()):
            return Stuck(perils[-1])
        return clash or self._clash(target, self._supported(cone), only=False)

    def run(self, target: int, shunned: Collection[int] = ()) -> Found | None:
        """A run that starts the target and skips what is shunned, of what the target waits for."""
        cone = self._cone(target, bool(self.choices.stuck or shunned))
        return self._finds(cone, self._perils(cone, shunned))

    def sure(self) -> dict[int, int]:
        """The nodes that start in every run, with what they satisfy however they end."""
        return self._must(self.choices.order, {})

    def _perils(self, cone: Sequence[int], shunned: Collection[int]) -> list[int]:
        bad = [node for node in cone[:-1] if node in self.choices.stuck or node in shunned]
        return [node for node in bad if node not in self.skipped]

    def _joined(self, node: int) -> bool:
        return joined(self.choices.links[node], self.choices.any[node], self.lit)

    def _dead(self, target: int) -> Iterator[Edge]:
        links, edges = self.choices.links[target], self.plan.nodes[target].edges
        dead = [e for link, e in zip(links, edges, strict=True) if not live(link, self.lit)]
        needed = [edge for edge in dead if not (edge.written and self.choices.any[target])]
        return iter(needed[:1] or dead)

    def _spend(self, effort: int) -> None:
        self.left -= effort
        if self.left < 0:
            raise TooMuch

    def _cone(self, target: int, always: bool) -> list[int]:
        """What the target's running depends on, in order, itself last; or all that it waits for."""
        seen, stack = {target}, [target]
        while stack:
            self._spend(1)
            for source, bit, _ in self.choices.links[stack.pop()]:
                if (bit or always) and source not in seen:
                    seen.add(source)
                    stack.append(source)
        self.place = self.place or {n: at for at, n in enumerate(self.choices.order)}
        return sorted(seen, key=self.place.__getitem__)

    def _finds(self, cone: Sequence[int], perils: Sequence[int]) -> Found | None:
        """Picks that make the last node of the cone run and skip all perils."""
        target = cone[-1]
        stack: list[dict[int, int]] = [{}]
        while stack:
            picks = stack.pop()
            self._spend(len(cone))
            may = self._may(cone, picks)
            must = self._must(cone, picks) if perils else may
            if target not in may or any(node in must for node in perils):
                continue
            asked = self._asked(cone, may, picks)
            node = self._clashing(asked, picks)
            if node is None and any(peril in may for peril in perils):
                node = next(n for n in cone if n not in picks and self._varies(n))
            if node is None:
                return Found(cone, picks, asked)
            stack += [{**picks, node: pick} for pick in self._options(node, asked, perils)]
        return None

    def _may(self, cone: Sequence[int], picks: Lit) -> dict[int, int]:
        """The nodes that run under some completion of the picks, with all they might satisfy."""
        may: dict[int, int] = {}
        for node in cone:
            if self._skips(node, picks):
                continue
            if joined(self.choices.links[node], self.choices.any[node], may):
                may[node] = union(self._masks(node, picks))
        return may

    def _must(self, cone: Sequence[int], picks: Lit) -> dict[int, int]:
        """The nodes that run under every completion of the picks, with what they surely satisfy."""
        must: dict[int, int] = {}
        for node in cone:
            if self._skips(node, picks) or (
                self.choices.when[node] == "free" and node not in picks
            ):
                continue
            if joined(self.choices.links[node], self.choices.any[node], must):
                must[node] = common(self._masks(node, picks))
        return must

    def _skips(self, node: int, picks: Lit) -> bool:
        return node in self.skipped or picks.get(node) == SKIPPED

    def _masks(self, node: int, picks: Lit) -> tuple[int, ...]:
        return (picks[node],) if node in picks else self.choices.endings[node]

    def _asked(self, cone: Sequence[int], may: Lit, picks: Lit) -> dict[int, int]:
        """One support of the last node: the nodes that must run, and what is asked of each."""
        asked = {cone[-1]: 0}
        for node in reversed(cone):
            if node in asked:
                for at in self._support(node, may, asked, picks):
                    source, bit, _ = self.choices.links[node][at]
                    asked[source] = asked.get(source, 0) | bit
        return asked

    def _support(self, node: int, may: Lit, asked: Lit, picks: Lit) -> Iterator[int]:
        """Edges by place that let a node run; of a join `any` one that fits what is asked."""
        links = self.choices.links[node]
        if not self.choices.any[node]:
            yield from (at for at, (_, bit, _) in enumerate(links) if bit)
            return
        yield from (at for at, (_, bit, written) in enumerate(links) if bit and not written)
        usable = [at for at, link in enumerate(links) if link[2] and live(link, may)]
        if usable and all(links[at][1] for at in usable):
            yield next((at for at in usable if self._agrees(links[at], asked, picks)), usable[0])

    def _agrees(self, link: Link, asked: Lit, picks: Lit) -> bool:
        return fits(asked.get(link[0], 0) | link[1], self._masks(link[0], picks))

    def _clashing(self, asked: Lit, picks: Lit) -> int | None:
        """A node of which more is asked than one ending gives."""
        for node, want in asked.items():
            if want and not fits(want, self._masks(node, picks)):
                return node
        return None

    def _varies(self, node: int) -> bool:
        return len(self.choices.endings[node]) > 1 or self.choices.when[node] == "free"

    def _options(self, node: int, asked: Lit, perils: Sequence[int]) -> Iterator[int]:
        """What to try, the most promising last; to skip a node helps against perils alone."""
        want = asked.get(node, 0)
        if perils and self.choices.when[node] == "free":
            yield SKIPPED
        masks = reversed(self.choices.endings[node])
        yield from sorted(masks, key=lambda mask: (want & mask).bit_count())

    # -- why not -----------------------------------------------------------------------------------

    def _needed(self, node: int) -> Iterator[int]:
        """Edges by place that a node cannot do without, of those that ask something."""
        links = self.choices.links[node]
        usable = [at for at, link in enumerate(links) if link[2] and live(link, self.lit)]
        for at, (_, bit, written) in enumerate(links):
            if bit and (not written or not self.choices.any[node] or usable == [at]):
                yield at

    def _supported(self, cone: Sequence[int]) -> Callable[[int], Iterator[int]]:
        may = self._may(cone, {})
        asked = self._asked(cone, may, {})
        return lambda node: self._support(node, may, asked, {})

    def _clash(
        self, target: int, follow: Callable[[int], Iterable[int]], only: bool
    ) -> Clash | None:
        """The nearest node of which the edges followed from the target ask too much."""
        via: dict[int, Edge] = {}
        asks: dict[int, dict[int, Edge]] = {}
        queue = [target]
        for node in queue:
            for at in follow(node):
                edge, bit = self.plan.nodes[node].edges[at], self.choices.links[node][at][1]
                asks.setdefault(edge.source, {}).setdefault(bit, edge)
                if edge.source not in via:
                    via[edge.source] = edge
                    queue.append(edge.source)
        for node in queue[1:]:
            least = _least(asks[node], self.choices.endings[node])
            if least:
                paths = tuple(tuple(_path(edge, target, via))[::-1] for edge in least)
                return Clash(node, paths, only)
        return None


def _path(edge: Edge, target: int, via: Mapping[int, Edge]) -> Iterator[Edge]:
    yield edge
    while edge.target != target:
        edge = via[edge.target]
        yield edge


def _least(asks: Mapping[int, Edge], masks: Sequence[int]) -> tuple[Edge, ...]:
    """Two edges that no ending serves at once, else all of them; () if one ending serves all."""
    if fits(union(asks), masks):
        return ()
    for one, other in combinations(asks, 2):
        if not fits(one | other, masks):
            return (asks[one], asks[other])
    return tuple(asks.values())
