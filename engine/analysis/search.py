"""Search exactly for a run that starts a node, or for the reason why no run does.

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

from engine.analysis.choices import (
    ActiveConditions,
    Choices,
    IncomingEdge,
    intersect_masks,
    is_live,
    is_satisfiable,
    join_holds,
    union_masks,
)
from engine.base.classes import define, frozen
from engine.plan.plan import Edge, Plan

__all__ = [
    "SKIPPED",
    "BlockedBy",
    "BudgetExceeded",
    "Conflict",
    "DeadEdges",
    "RunAssignment",
    "Search",
    "UnreachableReason",
    "WhenFalse",
]

SKIPPED = -1
"""The choice that skips a node: its own `when` is false."""


# -- results ---------------------------------------------------------------------------------------


@frozen
class WhenFalse:
    """The node's own `when` is never true."""


@frozen
class DeadEdges:
    """None of `edges` is ever live: one edge that the node requires, or all edges of a join `any`."""

    edges: tuple[Edge, ...]


@frozen
class BlockedBy:
    """The target waits for `node`, which also runs and never ends, or fails and so cancels the rest."""

    node: int


@frozen
class Conflict:
    """No ending of `node` makes all of `paths` live.

    A path leads from the target back to an edge out of the node. With `is_only_way` the target needs all paths.
    Otherwise they are one way to run it, and the other ways conflict too.
    """

    node: int
    paths: tuple[tuple[Edge, ...], ...]
    is_only_way: bool


UnreachableReason = WhenFalse | DeadEdges | BlockedBy | Conflict


# -- the search ------------------------------------------------------------------------------------


class BudgetExceeded(Exception):
    """The search budget is exceeded."""


@frozen(eq=False)
class RunAssignment:
    """A run that starts the last of `ancestors`: endings chosen for some nodes, conditions required of others."""

    ancestors: Sequence[int]
    chosen_endings: ActiveConditions
    required: ActiveConditions


@define(eq=False)
class Search:
    """The search over one plan: the facts about the nodes decided so far, and the remaining budget."""

    plan: Plan
    choices: Choices
    remaining_budget: int
    active: dict[int, int] = attrs.Factory(dict)
    """The conditions that each node that runs can satisfy by one ending or another."""
    skipped: set[int] = attrs.Factory(set)
    place: dict[int, int] = attrs.Factory(dict)

    def record(self, node: int, runs: bool) -> None:
        """Record whether a node runs, so that the nodes after it need not search again."""
        if runs:
            self.active[node] = union_masks(self.choices.endings[node])
        else:
            self.skipped.add(node)

    def find_cause(self, target: int) -> UnreachableReason | None:
        """Return why no run starts the target; None if some run does.

        All nodes before the target must have been recorded.
        """
        if self.choices.when[target] == "never":
            return WhenFalse()
        if not self._join_holds(target):
            return DeadEdges(tuple(self._iter_dead_edges(target)))
        cone = self._find_ancestors(target, bool(self.choices.blocking))
        perils = self._find_blocking_ancestors(cone, ())
        if self._find_assignment(cone, perils):
            return None
        clash = self._find_conflict(target, self._iter_required_edges, only=True)
        if clash is None and perils and self._find_assignment(cone, ()):
            return BlockedBy(perils[-1])
        return clash or self._find_conflict(target, self._make_follower(cone), only=False)

    def find_run(self, target: int, skipped: Collection[int] = ()) -> RunAssignment | None:
        """Find a run that starts the target and skips the nodes in `skipped`.

        `skipped` are nodes that the target waits for. Return None if there is no such run.
        """
        cone = self._find_ancestors(target, bool(self.choices.blocking or skipped))
        return self._find_assignment(cone, self._find_blocking_ancestors(cone, skipped))

    def find_guaranteed(self) -> dict[int, int]:
        """Return the nodes that start in every run, with the conditions that they satisfy however they end."""
        return self._find_certain(self.choices.order, {})

    def _find_blocking_ancestors(
        self, cone: Sequence[int], required_skips: Collection[int]
    ) -> list[int]:
        bad = [
            node for node in cone[:-1] if node in self.choices.blocking or node in required_skips
        ]
        return [node for node in bad if node not in self.skipped]

    def _join_holds(self, node: int) -> bool:
        return join_holds(self.choices.links[node], self.choices.any[node], self.active)

    def _iter_dead_edges(self, target: int) -> Iterator[Edge]:
        links, edges = self.choices.links[target], self.plan.nodes[target].edges
        dead = [e for link, e in zip(links, edges, strict=True) if not is_live(link, self.active)]
        needed = [edge for edge in dead if not (edge.is_explicit and self.choices.any[target])]
        return iter(needed[:1] or dead)

    def _spend(self, effort: int) -> None:
        self.remaining_budget -= effort
        if self.remaining_budget < 0:
            raise BudgetExceeded

    def _find_ancestors(self, target: int, always: bool) -> list[int]:
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

    def _find_assignment(self, cone: Sequence[int], perils: Sequence[int]) -> RunAssignment | None:
        """Choose endings that make the last node run and skip all blocking nodes."""
        target = cone[-1]
        stack: list[dict[int, int]] = [{}]
        while stack:
            picks = stack.pop()
            self._spend(len(cone))
            may = self._find_possible(cone, picks)
            must = self._find_certain(cone, picks) if perils else may
            if target not in may or any(node in must for node in perils):
                continue
            asked = self._find_support(cone, may, picks)
            node = self._find_conflicting_node(asked, picks)
            if node is None and any(peril in may for peril in perils):
                node = next(n for n in cone if n not in picks and self._has_choice(n))
            if node is None:
                return RunAssignment(cone, picks, asked)
            stack += [{**picks, node: pick} for pick in self._iter_options(node, asked, perils)]
        return None

    def _find_possible(self, cone: Sequence[int], picks: ActiveConditions) -> dict[int, int]:
        """Return the nodes that run under some completion of the choices, with all conditions they might satisfy."""
        may: dict[int, int] = {}
        for node in cone:
            if self._is_skipped(node, picks):
                continue
            if join_holds(self.choices.links[node], self.choices.any[node], may):
                may[node] = union_masks(self._get_masks(node, picks))
        return may

    def _find_certain(self, cone: Sequence[int], picks: ActiveConditions) -> dict[int, int]:
        """Return the nodes that run under every completion of the choices, with the conditions they certainly satisfy."""
        must: dict[int, int] = {}
        for node in cone:
            if self._is_skipped(node, picks) or (
                self.choices.when[node] == "free" and node not in picks
            ):
                continue
            if join_holds(self.choices.links[node], self.choices.any[node], must):
                must[node] = intersect_masks(self._get_masks(node, picks))
        return must

    def _is_skipped(self, node: int, picks: ActiveConditions) -> bool:
        return node in self.skipped or picks.get(node) == SKIPPED

    def _get_masks(self, node: int, picks: ActiveConditions) -> tuple[int, ...]:
        return (picks[node],) if node in picks else self.choices.endings[node]

    def _find_support(
        self, cone: Sequence[int], may: ActiveConditions, picks: ActiveConditions
    ) -> dict[int, int]:
        """Return one support of the last node: the nodes that must run, and the conditions required of each."""
        asked = {cone[-1]: 0}
        for node in reversed(cone):
            if node in asked:
                for at in self._iter_supporting_edges(node, may, asked, picks):
                    source, bit, _ = self.choices.links[node][at]
                    asked[source] = asked.get(source, 0) | bit
        return asked

    def _iter_supporting_edges(
        self, node: int, may: ActiveConditions, asked: ActiveConditions, picks: ActiveConditions
    ) -> Iterator[int]:
        """Yield the edges, by position, that let a node run.

        Of a join `any` that is one edge that is compatible with the requirements.
        """
        links = self.choices.links[node]
        if not self.choices.any[node]:
            yield from (at for at, (_, bit, _) in enumerate(links) if bit)
            return
        yield from (at for at, (_, bit, written) in enumerate(links) if bit and not written)
        usable = [at for at, link in enumerate(links) if link[2] and is_live(link, may)]
        if usable and all(links[at][1] for at in usable):
            yield next(
                (at for at in usable if self._is_compatible(links[at], asked, picks)), usable[0]
            )

    def _is_compatible(
        self, link: IncomingEdge, asked: ActiveConditions, picks: ActiveConditions
    ) -> bool:
        return is_satisfiable(asked.get(link[0], 0) | link[1], self._get_masks(link[0], picks))

    def _find_conflicting_node(
        self, asked: ActiveConditions, picks: ActiveConditions
    ) -> int | None:
        """Return a node of which more is required than one ending gives, or None."""
        for node, want in asked.items():
            if want and not is_satisfiable(want, self._get_masks(node, picks)):
                return node
        return None

    def _has_choice(self, node: int) -> bool:
        return len(self.choices.endings[node]) > 1 or self.choices.when[node] == "free"

    def _iter_options(
        self, node: int, asked: ActiveConditions, perils: Sequence[int]
    ) -> Iterator[int]:
        """Yield the choices to try for a node, the most promising last.

        To skip a node helps only against blocking nodes.
        """
        want = asked.get(node, 0)
        if perils and self.choices.when[node] == "free":
            yield SKIPPED
        masks = reversed(self.choices.endings[node])
        yield from sorted(masks, key=lambda mask: (want & mask).bit_count())

    # -- reasons -----------------------------------------------------------------------------------

    def _iter_required_edges(self, node: int) -> Iterator[int]:
        """Yield the edges, by position, that a node requires and whose condition is not `always`."""
        links = self.choices.links[node]
        usable = [at for at, link in enumerate(links) if link[2] and is_live(link, self.active)]
        for at, (_, bit, written) in enumerate(links):
            if bit and (not written or not self.choices.any[node] or usable == [at]):
                yield at

    def _make_follower(self, cone: Sequence[int]) -> Callable[[int], Iterator[int]]:
        may = self._find_possible(cone, {})
        asked = self._find_support(cone, may, {})
        return lambda node: self._iter_supporting_edges(node, may, asked, {})

    def _find_conflict(
        self, target: int, follow: Callable[[int], Iterable[int]], only: bool
    ) -> Conflict | None:
        """Return the conflict at the nearest node of which the edges followed from the target require too much."""
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
            least = _find_conflicting_edges(asks[node], self.choices.endings[node])
            if least:
                paths = tuple(tuple(_iter_path(edge, target, via))[::-1] for edge in least)
                return Conflict(node, paths, only)
        return None


def _iter_path(edge: Edge, target: int, via: Mapping[int, Edge]) -> Iterator[Edge]:
    yield edge
    while edge.target != target:
        edge = via[edge.target]
        yield edge


def _find_conflicting_edges(asks: Mapping[int, Edge], masks: Sequence[int]) -> tuple[Edge, ...]:
    """Return two edges that no ending satisfies at once, else all edges; () if one ending satisfies all."""
    if is_satisfiable(union_masks(asks), masks):
        return ()
    for one, other in combinations(asks, 2):
        if not is_satisfiable(one | other, masks):
            return (asks[one], asks[other])
    return tuple(asks.values())
