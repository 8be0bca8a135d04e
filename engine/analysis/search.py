"""Search exactly for a run that starts a node, or for the cause why no run does.

A search follows one support of the node, in which an ending not yet chosen counts for all conditions it could satisfy.
If a support requires of one node more than any single ending gives, the endings of that node are tried in turn. Where
an ancestor is blocking, it must be skipped; then the nodes before it are tried, too. The search is exact up to
its budget and does not recurse.

Source: docs/language.md, "Edges and joins", "Results", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import combinations

import attrs

from engine.analysis.choices import Choices, Link, Lit, common, fits, joined, live, union
from engine.base.classes import define, frozen
from engine.plan.plan import Edge, Plan

__all__ = ["SKIPPED", "Cause", "Clash", "Dead", "Found", "Search", "Shut", "Stuck", "TooMuch"]

SKIPPED = -1
"""The choice that skips a node: its own `when` is false."""


# -- what is found ---------------------------------------------------------------------------------


@frozen
class Shut:
    """The node's own `when` is never true."""


@frozen
class Dead:
    """None of `edges` is ever live: one edge that the node requires, or all edges of a join `any`."""

    edges: tuple[Edge, ...]


@frozen
class Stuck:
    """The target waits for `node`, which also runs and never ends, or fails and so cancels the rest."""

    node: int


@frozen
class Clash:
    """No ending of `node` keeps all of `paths` live; a path leads from the target back to an edge out of the node.

    With `is_only_way` the target needs all paths. Otherwise they are one way to run it, and the other ways conflict too.
    """

    node: int
    paths: tuple[tuple[Edge, ...], ...]
    only: bool


Cause = Shut | Dead | Stuck | Clash


# -- the search ------------------------------------------------------------------------------------


class TooMuch(Exception):
    """The search budget is exceeded."""


@frozen(eq=False)
class Found:
    """A run that starts the last of `ancestors`: endings chosen for some nodes, conditions required of others."""

    cone: Sequence[int]
    picks: Lit
    asked: Lit


@define(eq=False)
class Search:
    """The search over one plan: the facts about the nodes decided so far, and the remaining budget."""

    plan: Plan
    choices: Choices
    left: int
    lit: dict[int, int] = attrs.Factory(dict)
    """The conditions that each node that runs can satisfy by one ending or another."""
    skipped: set[int] = attrs.Factory(set)
    place: dict[int, int] = attrs.Factory(dict)

    def learn(self, node: int, runs: bool) -> None:
        """Record whether a node runs, so that the nodes after it need not search again."""
        if runs:
            self.lit[node] = union(self.choices.endings[node])
        else:
            self.skipped.add(node)

    def cause(self, target: int) -> Cause | None:
        """Return why no run starts the target; None if some run does.

        All nodes before the target must have been recorded.
        """
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
        """Find a run that starts the target and skips the nodes in `skipped`.

        `skipped` are nodes that the target waits for. Return None if there is no such run.
        """
        cone = self._cone(target, bool(self.choices.stuck or shunned))
        return self._finds(cone, self._perils(cone, shunned))

    def sure(self) -> dict[int, int]:
        """Return the nodes that start in every run, with the conditions that they satisfy however they end."""
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
        """Return the nodes that the target's run depends on, in order, the target last.

        With `always`, return all nodes that it waits for.
        """
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
        """Choose endings that make the last node run and skip all blocking nodes."""
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
        """Return the nodes that run under some completion of the choices, with all conditions they might satisfy."""
        may: dict[int, int] = {}
        for node in cone:
            if self._skips(node, picks):
                continue
            if joined(self.choices.links[node], self.choices.any[node], may):
                may[node] = union(self._masks(node, picks))
        return may

    def _must(self, cone: Sequence[int], picks: Lit) -> dict[int, int]:
        """Return the nodes that run under every completion of the choices, with the conditions they certainly satisfy."""
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
        """Return one support of the last node: the nodes that must run, and the conditions required of each."""
        asked = {cone[-1]: 0}
        for node in reversed(cone):
            if node in asked:
                for at in self._support(node, may, asked, picks):
                    source, bit, _ = self.choices.links[node][at]
                    asked[source] = asked.get(source, 0) | bit
        return asked

    def _support(self, node: int, may: Lit, asked: Lit, picks: Lit) -> Iterator[int]:
        """Yield the edges, by position, that let a node run; of a join `any` one that is compatible with the requirements."""
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
        """Return a node of which more is required than one ending gives, or None."""
        for node, want in asked.items():
            if want and not fits(want, self._masks(node, picks)):
                return node
        return None

    def _varies(self, node: int) -> bool:
        return len(self.choices.endings[node]) > 1 or self.choices.when[node] == "free"

    def _options(self, node: int, asked: Lit, perils: Sequence[int]) -> Iterator[int]:
        """Yield the choices to try for a node, the most promising last.

        To skip a node helps only against blocking nodes.
        """
        want = asked.get(node, 0)
        if perils and self.choices.when[node] == "free":
            yield SKIPPED
        masks = reversed(self.choices.endings[node])
        yield from sorted(masks, key=lambda mask: (want & mask).bit_count())

    # -- why not -----------------------------------------------------------------------------------

    def _needed(self, node: int) -> Iterator[int]:
        """Yield the edges, by position, that a node requires and whose condition is not `always`."""
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
        """Return the nearest node of which the edges followed from the target require too much."""
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
    """Return two edges that no ending satisfies at once, else all edges; () if one ending satisfies all."""
    if fits(union(asks), masks):
        return ()
    for one, other in combinations(asks, 2):
        if not fits(one | other, masks):
            return (asks[one], asks[other])
    return tuple(asks.values())
