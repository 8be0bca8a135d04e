"""Find the heaviest runs of a pipeline, among the runs that exist, from the options of its nodes.

Nodes are processed in topological order. The relevant facts of a run so far are the conditions that hold at nodes
which others still wait for; of all runs that agree in these, only the maximum of each sum is stored. Where no
conditions interact there is one such state throughout. No condition asks for a skip, so an option that satisfies more
and weighs no less than another is always as good: it replaces the other. Beyond the budget states are merged: the union
of the conditions they satisfy, the maximum of each sum. That is never less than a run has.

Under `on_failure = "cancel"` an unhandled failure may be the last thing to end; nothing behind it has started then (see
`engine.analysis.choices`). Where a node always fails the run, it may be better to skip it: states are neither
left out nor merged then.

Source: docs/language.md, "Edges and joins", "Worst case".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import attrs

from engine.analysis.bounds.node_costs import NodeOption
from engine.analysis.bounds.weights import NOTHING, TIME, Weight, add_weights, take_maximum
from engine.analysis.choices import Choices, join_holds

__all__ = [
    "HEAVIEST_RUN_BUDGET",
    "MAX_STATES",
    "ChainCost",
    "HeaviestRun",
    "NodeChain",
    "RunSelection",
    "find_heaviest",
]

HEAVIEST_RUN_BUDGET = 300_000
"""The maximum number of copied state facts in one plan."""
MAX_STATES = 64
"""The maximum number of states that are stored separately."""

RunSelection = Literal["any", "succeeded", "failed"]
"""The runs to consider, by status."""

NodeChain = tuple[int, "NodeChain"] | None
"""A chain of nodes, the last first."""
ChainCost = tuple[Weight, NodeChain]
"""The maximum weight of a chain of nodes up to one, and the longest such chain."""
Fact = tuple[int, ChainCost]
"""The conditions that hold at a node, and the cost of its longest chain."""

BLOCKED = -1
"""In place of a mask: the node never gets a result, or waits for one that never does."""
_START: ChainCost = (NOTHING, None)


@attrs.frozen
class HeaviestRun:
    """The maximum over all runs and over all their chains, and the nodes that run in some run."""

    total: Weight
    trail: ChainCost
    ran: frozenset[int]
    exact: bool


@attrs.define(eq=False)
class _State:
    """Runs that agree in the masks of `own`, the nodes in which states differ."""

    own: dict[int, Fact]
    total: Weight
    best: ChainCost
    lost: bool = False


class _MergeUnsound(Exception):
    """States would have to be merged where that is not sound."""


def find_heaviest(
    choices: Choices, options: Sequence[Sequence[NodeOption]], cancels: bool, status: RunSelection
) -> HeaviestRun | None:
    """Find the heaviest of the existing runs with a status; None if there are none."""
    perils = (cancels or status == "succeeded") and _has_certain_failure(options)
    try:
        return _Sweep(choices, options, cancels, status, perils).heaviest_run()
    except _MergeUnsound:
        # every run is one that goes on after its failures, or the beginning of one
        found = find_heaviest(choices, options, False, "any")
        return found and attrs.evolve(found, exact=False)


def _has_certain_failure(options: Sequence[Sequence[NodeOption]]) -> bool:
    """Return whether a node always fails the run; then satisfying more is not always better."""
    return any(all(way.is_unhandled for way in ways) for ways in options)


class _Sweep:
    """One pass over the nodes of a plan."""

    def __init__(
        self,
        choices: Choices,
        options: Sequence[Sequence[NodeOption]],
        cancels: bool,
        status: RunSelection,
        perils: bool,
    ) -> None:
        self.choices, self.cancels, self.status, self.perils = choices, cancels, status, perils
        self.options = options
        self.order = _order_depth_first(choices)
        self.base: dict[int, Fact] = {}
        self.states = [_State({}, NOTHING, _START)]
        self.left, self.width, self.exact = HEAVIEST_RUN_BUDGET, MAX_STATES, True
        self.ran: set[int] = set()
        self.useful = [0] * len(options)
        for links in choices.links:
            for source, bit, _ in links:
                self.useful[source] |= bit

    def heaviest_run(self) -> HeaviestRun | None:
        """Return the maximum over all runs with the requested status."""
        last = _find_last_uses(self.choices, self.order)
        for place, node in enumerate(self.order):
            self._process_node(node)
            if not self.states:
                return None
            if len(self.states) > 1:
                self._forget(last[place])
            if len(self.states) == 1:
                [state] = self.states
                self.base.update(state.own)
                state.own.clear()
        ended = [s for s in self.states if s.lost or self.status != "failed"]
        if not ended:
            return None
        total, best = ended[0].total, ended[0].best
        for state in ended[1:]:
            total, best = take_maximum(total, state.total), _choose_longer_chain(best, state.best)
        return HeaviestRun(total, best, frozenset(self.ran), self.exact)

    # -- one node ------------------------------------------------------------------------------

    def _process_node(self, node: int) -> None:
        ways = self._list_useful_options(node)
        many = len(self.states) > 1
        after = [new for state in self.states for new in self._list_end_states(state, node, ways)]
        self.states = after
        if many or len(after) > 1:
            self._merge_states()

    def _list_end_states(
        self, state: _State, node: int, ways: Sequence[NodeOption]
    ) -> list[_State]:
        """Return the states in which a node may leave a state; the state itself is consumed."""
        trail, active, held = self._find_start(state, node)
        if held:
            return [self._with_fact(state, node, BLOCKED, trail)]
        links, when = self.choices.links[node], self.choices.when[node]
        if when == "never" or not join_holds(links, self.choices.any[node], active):
            return [self._with_fact(state, node, 0, trail)]
        if ways:
            self.ran.add(node)
        skips = self.perils and when == "free"
        found = []
        for way in ways:
            new = state if len(ways) == 1 and not skips else self._copy(state)
            new.total = add_weights(state.total, way.weight)
            new.lost = state.lost or way.is_unhandled
            longer = (add_weights(trail[0], way.weight), (node, trail[1]))
            new.best = _choose_longer_chain(state.best, longer)
            mask = BLOCKED if way.mask == BLOCKED else way.mask & self.useful[node]
            found.append(self._with_fact(new, node, mask, longer))
        return [*found, self._with_fact(self._copy(state), node, 0, trail)] if skips else found

    def _find_start(self, state: _State, node: int) -> tuple[ChainCost, dict[int, int], bool]:
        """Return what a node starts from: its longest chain, the conditions at its sources, whether it is blocked."""
        trail, held, active = _START, False, {}
        own, base = state.own, self.base
        for source, _, _ in self.choices.links[node]:
            mask, before = own[source] if source in own else base[source]
            trail = before if trail is _START else _choose_longer_chain(trail, before)
            held = held or mask == BLOCKED
            active[source] = mask
        return trail, active, held

    def _with_fact(self, state: _State, node: int, mask: int, trail: ChainCost) -> _State:
        state.own[node] = (mask, trail)
        return state

    def _copy(self, state: _State) -> _State:
        self.left -= 1 + len(state.own)
        return _State(dict(state.own), state.total, state.best, state.lost)

    def _list_useful_options(self, node: int) -> Sequence[NodeOption]:
        """Return the options worth trying: those that no other option dominates."""
        ways = [
            way
            for way in self.options[node]
            if not (way.is_unhandled and self.status == "succeeded")
        ]
        if self.cancels:
            ways = [attrs.evolve(way, mask=BLOCKED) if way.is_unhandled else way for way in ways]
        if len(ways) > 1 and not self.perils:
            ways = self._drop_dominated(ways, self.useful[node])
        if len(ways) > 1 and self.width == 1:
            if self.perils:
                raise _MergeUnsound
            self.exact = False
            return [_unite_options(ways)]
        return ways

    def _drop_dominated(self, ways: Sequence[NodeOption], useful: int) -> list[NodeOption]:
        kept: list[NodeOption] = []
        for way in ways:
            if not any(self._dominates(other, way, useful) for other in kept):
                kept = [other for other in kept if not self._dominates(way, other, useful)]
                kept.append(way)
        return kept

    def _dominates(self, one: NodeOption, other: NodeOption, useful: int) -> bool:
        if take_maximum(one.weight, other.weight) != one.weight:
            return False
        if self.status == "failed" and other.is_unhandled and not one.is_unhandled:
            return False
        if BLOCKED in (one.mask, other.mask):
            return other.mask == BLOCKED
        return not other.mask & useful & ~one.mask

    # -- many states ---------------------------------------------------------------------------

    def _merge_states(self) -> None:
        """Store one state for all that agree; beyond the budget, merge more of them."""
        known: dict[object, _State] = {}
        for state in self.states:
            key = self._build_state_key(state)
            if key in known:
                known[key] = _merge_pair(known[key], state)
            else:
                known[key] = state
        self.left -= sum(len(state.own) for state in known.values())
        self.states = list(known.values())
        if self.left < 0:
            self.width = 1
        if len(self.states) > self.width:
            self._shrink()

    def _build_state_key(self, state: _State) -> object:
        lost = state.lost and self.status == "failed"
        return lost, tuple(mask for mask, _ in state.own.values())

    def _shrink(self) -> None:
        if self.perils:
            raise _MergeUnsound
        kept: list[_State] = []
        for state in sorted(self.states, key=lambda state: state.total, reverse=True):
            if not any(_is_covering(other, state) for other in kept):
                kept.append(state)
        if len(kept) > self.width:
            self.exact = False
            rest = kept[self.width - 1 :]
            united = rest[0]
            for state in rest[1:]:
                united = _merge_pair(united, state)
            kept[self.width - 1 :] = [united]
        self.states = kept

    def _forget(self, nodes: Iterable[int]) -> None:
        """Drop the nodes whose conditions no later node reads."""
        for node in nodes:
            if node in self.states[0].own:
                for state in self.states:
                    del state.own[node]
        self._merge_states()


def _unite_options(ways: Sequence[NodeOption]) -> NodeOption:
    """Return one option with the effects of all the given options."""
    mask, weight = ways[0].mask, ways[0].weight
    for way in ways[1:]:
        mask, weight = _merge_masks(mask, way.mask), take_maximum(weight, way.weight)
    return NodeOption(mask, any(way.is_unhandled for way in ways), weight)


def _merge_pair(one: _State, other: _State) -> _State:
    """Return the union of two states' conditions, with the maximum of each sum."""
    own = {
        node: (
            _merge_masks(mask, other.own[node][0]),
            _choose_longer_chain(trail, other.own[node][1]),
        )
        for node, (mask, trail) in one.own.items()
    }
    best = _choose_longer_chain(one.best, other.best)
    return _State(own, take_maximum(one.total, other.total), best, one.lost or other.lost)


def _merge_masks(one: int, other: int) -> int:
    if BLOCKED in (one, other):
        return max(one, other)
    return one | other


def _is_covering(one: _State, other: _State) -> bool:
    """Return whether a state satisfies all that another does and weighs no less."""
    if take_maximum(one.total, other.total) != one.total or (other.lost and not one.lost):
        return False
    if take_maximum(one.best[0], other.best[0]) != one.best[0]:
        return False
    for node, (mask, trail) in other.own.items():
        own, (weight, _) = one.own[node]
        if _merge_masks(own, mask) != own or take_maximum(weight, trail[0]) != weight:
            return False
    return True


def _choose_longer_chain(one: ChainCost, other: ChainCost) -> ChainCost:
    weight = take_maximum(one[0], other[0])
    return weight, one[1] if _rank_chain(one) >= _rank_chain(other) else other[1]


def _rank_chain(trail: ChainCost) -> tuple[float, float]:
    """Return the sort key of a chain: its time or, where time is zero, its attempts."""
    return trail[0][TIME], trail[0][1]


# -- the order -------------------------------------------------------------------------------------


def _order_depth_first(choices: Choices) -> list[int]:
    """Return the nodes in topological order, each as early as possible: few nodes differ between states then."""
    targets: list[list[int]] = [[] for _ in choices.links]
    missing = [len({link[0] for link in links}) for links in choices.links]
    for node in reversed(choices.order):
        for source in {link[0] for link in choices.links[node]}:
            targets[source].append(node)
    stack = [node for node in reversed(choices.order) if not missing[node]]
    order = []
    while stack:
        node = stack.pop()
        order.append(node)
        for target in targets[node]:
            missing[target] -= 1
            if not missing[target]:
                stack.append(target)
    return order


def _find_last_uses(choices: Choices, order: Sequence[int]) -> list[list[int]]:
    """Return for each position in the order the nodes that no later node waits for."""
    last = {}
    for place, node in enumerate(order):
        last[node] = place
        for source, _, _ in choices.links[node]:
            last[source] = place
    found: list[list[int]] = [[] for _ in order]
    for node, place in last.items():
        found[place].append(node)
    return found
