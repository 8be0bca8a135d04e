"""Compute, as bits, which edges each ending of a node can make live; reachability builds on it.

The conditions on a node's outgoing edges are numbered, and each ending of the node becomes the mask of the conditions
it satisfies: hundreds of exits collapse into a few choices. `always` has no bit, since every ending satisfies it.

Under `on_failure = "cancel"` an unhandled failure ends everything that has not started when its instant is over.
The ancestors of a node (over all edges) have ended before it starts, and all other nodes can be late. So the node runs
if and only if it does while no ancestor fails unhandled, and endings that fail unhandled are left out here.
Whether a failure is handled depends on the ending alone: a live edge names it, whatever the target does then.
A node left without an ending is blocking: where it runs, nothing behind it does. So is a node whose machine never
ends. Slots, delays and the deadlines of other nodes are not considered.

Besides exits, `timeout` counts where the node has a deadline, and `error` where its `when`, `for_each` or `outputs`
reads a value that may be missing or of another type. A `when` that reads anything can be true or false. A list that is
read may have any number of items, including none, and each item ends in any way that a run of the machine can end.

For questions about outputs, one more bit of a node says that it ended without an output.
A run succeeds if and only if no node fails unhandled, whatever `on_failure` says.

Source: docs/language.md, "Edges and joins", "Results", "Expressions", "Fan-out", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from engine.analysis.step_reachability import Ending, can_be_done, ends_of
from engine.base.classes import frozen
from engine.base.memo import once
from engine.plan.fan_out import Fan
from engine.plan.machine import End, Machine, Outcome, Route, Verdict
from engine.plan.plan import Condition, Edge, Node, Plan, misreads

__all__ = [
    "Choices",
    "Effects",
    "Link",
    "Lit",
    "can_succeed",
    "choices_of",
    "common",
    "effects_of",
    "ending_of",
    "endings_of",
    "excused",
    "fits",
    "gives_output",
    "items_end",
    "joined",
    "live",
    "silences_of",
    "spoils",
    "successes_of",
    "union",
    "when_of",
]

Link = tuple[int, int, bool]
"""An incoming edge: source, bit of its condition there (0: `always`), whether `needs` lists it."""

Lit = Mapping[int, int]
"""For each node that runs, the conditions that hold there, or that are required of it, as bits."""

When = Literal["none", "free", "never"]
"""The possible values of a node's `when`: no `when`, true or false, or always false."""

_EVALUATION = Ending("failed", "error", None, 0)
_DEADLINE = Ending("failed", "timeout", None, 0)
_WON = Ending("succeeded", "success", None, 0, 0)
_LOST = Ending("failed", "failure", None, 0, 0)
"""The endings of a fan-out whose items have all run: with the list of their outputs."""


@frozen(eq=False)
class Choices:
    """The choices of all nodes of a plan, indexed by node.

    `links` runs parallel to `Node.edges`. `endings` are masks, those of successes first.
    """

    order: Sequence[int]
    """The nodes in topological order: each after those it waits for."""
    links: Sequence[tuple[Link, ...]]
    any: Sequence[bool]
    when: Sequence[When]
    endings: Sequence[tuple[int, ...]]
    stuck: frozenset[int]
    """The nodes that never end well, whichever way they end."""
    silent: Mapping[int, int]
    """For the nodes in question, the bit that says the node ended without an output."""


@once
def choices_of(plan: Plan) -> Choices:
    """Build the choices of all nodes of a plan; sub-pipelines are not inspected."""
    return _choices(plan, plan.on_failure, frozenset())


def silences_of(plan: Plan, nodes: frozenset[int]) -> Choices:
    """Build the choices of a plan where `nodes` also record whether they ended with an output."""
    return _choices(plan, plan.on_failure, nodes)


def successes_of(plan: Plan, nodes: frozenset[int]) -> Choices:
    """Build the choices of successful runs: no node fails unhandled in them."""
    return _choices(plan, "cancel", nodes)


def _choices(plan: Plan, on_failure: str, asked: frozenset[int]) -> Choices:
    bits = [_bits(edges) for edges in plan.targets]
    memo: dict[object, tuple[int, ...]] = {}
    endings = [
        _masks(node, _Asked(bits[at], on_failure, at in asked), memo)
        for at, node in enumerate(plan.nodes)
    ]
    return Choices(
        order=plan.order,
        links=tuple(
            tuple((e.source, _bit(bits[e.source], e.condition), e.written) for e in node.edges)
            for node in plan.nodes
        ),
        any=tuple(node.join == "any" for node in plan.nodes),
        when=tuple(map(when_of, plan.nodes)),
        endings=tuple(endings),
        stuck=frozenset(index for index, found in enumerate(endings) if not found),
        silent={index: 1 << len(bits[index]) for index in asked},
    )


@frozen
class _Asked:
    """A query about the endings of a node.

    It names the conditions on the node's edges, whether a failure that none of them names ends the run, and whether the
    presence of an output matters.
    """

    bits: Mapping[object, Condition]
    on_failure: str
    output: bool


@frozen(eq=False)
class Effects:
    """The effects of the endings of one node on its edges.

    `distinguished_codes` are the exit codes that its conditions tell apart.
    """

    node: Node
    conditions: tuple[Condition, ...]
    apart: frozenset[int]

    def of(self, ending: Ending) -> tuple[int, bool]:
        """Return the mask of an ending, and whether it is a failure that nothing handles."""
        return _effect(self.node, self.conditions, ending)

    @property
    def timeout(self) -> Ending | None:
        """Return the ending that the node's deadline causes; None if it has no deadline."""
        return None if self.node.deadline is None else _DEADLINE

    @property
    def unread(self) -> Ending | None:
        """Return the ending of a `when` or `for_each` that cannot be evaluated; None if it always can."""
        return _EVALUATION if self.node.start_may_fail else None

    @property
    def unmapped(self) -> Ending | None:
        """Return the ending of `outputs` that cannot be evaluated.

        None if they always can be, or if no ending has an output to map.
        """
        return _EVALUATION if self.node.end_may_fail else None


def effects_of(plan: Plan, node: Node) -> Effects:
    """Build the effects of a node: which edge conditions each ending satisfies, as bits like those in `links`."""
    conditions = tuple(_bits(plan.targets[node.index]).values())
    labels = [c for c in conditions if c.kind == "labels"]
    return Effects(node, conditions, frozenset(_codes(labels)))


def _bits(edges: Iterable[Edge]) -> dict[object, Condition]:
    """Collect the distinct conditions on edges by key; the position of a condition is its bit."""
    return {e.condition.key: e.condition for e in edges if e.condition.kind != "always"}


def _bit(bits: Mapping[object, Condition], condition: Condition) -> int:
    if condition.kind == "always":
        return 0
    return 1 << list(bits).index(condition.key) if len(bits) > 1 else 1


def when_of(node: Node) -> When:
    """Return which values a node's `when` can have."""
    when = node.when
    if when is None:
        return "none"
    if when.reads:
        return "free"  # the compiler has seen to it that the rest is true or false
    return "none" if when.constant or when.evaluate({}) is True else "never"


def _masks(node: Node, asked: _Asked, memo: dict[object, tuple[int, ...]]) -> tuple[int, ...]:
    """Return the distinct masks of a node's endings after which the run goes on, successes first."""
    if asked.output or any(c.kind == "labels" for c in asked.bits.values()):
        return tuple(dict(_kept(node, asked, endings_of(node, asked.bits.values()))))
    results = _results(node)
    key = (results, node.allow_failure, tuple(asked.bits))
    if key not in memo:
        endings = [Ending(result, "", None, 0) for result in results]
        memo[key] = tuple(dict(_kept(node, asked, endings)))
    return memo[key]


def spoils(plan: Plan, node: Node) -> bool:
    """Return whether some ending of the node is a failure that nothing handles."""
    asked = _Asked(_bits(plan.targets[node.index]), "finish", output=False)
    endings = endings_of(node, asked.bits.values())
    return any(lost for _, _, lost in _judged(node, asked, endings))


def _kept(node: Node, asked: _Asked, endings: Iterable[Ending]) -> Iterator[tuple[int, Ending]]:
    """Yield the endings after which the run goes on, each with its mask."""
    ends_all = asked.on_failure == "cancel"
    for mask, ending, lost in _judged(node, asked, endings):
        if not (lost and ends_all):
            yield mask, ending


def _judged(
    node: Node, asked: _Asked, endings: Iterable[Ending]
) -> Iterator[tuple[int, Ending, bool]]:
    """Yield each ending with its mask, and whether it is a failure that nothing handles."""
    conditions = tuple(asked.bits.values())
    for ending in endings:
        mask, lost = _effect(node, conditions, ending)
        silent = asked.output and not gives_output(node, ending)
        yield mask | silent << len(conditions), ending, lost


def _effect(node: Node, conditions: Sequence[Condition], ending: Ending) -> tuple[int, bool]:
    """Return the mask of an ending, and whether it is a failure that nothing handles."""
    step = node.machine.steps[ending.step]
    holds = [c.holds(ending.result, ending.label, ending.code, step) for c in conditions]
    handled = any(c.names_failure and held for c, held in zip(conditions, holds, strict=True))
    lost = ending.result == "failed" and not (handled or node.allow_failure)
    return sum(held << at for at, held in enumerate(holds)), lost


def ending_of(plan: Plan, choices: Choices, index: int, mask: int) -> Ending:
    """Return an ending of a node with this mask, a success if there is one."""
    node = plan.nodes[index]
    asked = _Asked(_bits(plan.targets[index]), "finish", index in choices.silent)
    for found, ending in _kept(node, asked, endings_of(node, asked.bits.values())):
        if found == mask:
            return ending
    raise AssertionError("a mask that no ending has")


@once
def excused(machine: Machine) -> tuple[tuple[int, Outcome | Literal["*"]], ...]:
    """Yield the outcomes, by step, that are not exit 0 and that a route may lead to a success."""
    return tuple(_excused(machine))


def _excused(machine: Machine) -> Iterator[tuple[int, Outcome | Literal["*"]]]:
    for at, step in enumerate(machine.steps):
        if step.routes or step.default:
            written: list[tuple[Outcome | Literal["*"], Route]] = [*step.routes.items()]
            written += [("*", step.default)] if step.default else []
            for key, route in written:
                ends = (route.to, route.then)
                if key != 0 and any(isinstance(t, End) and t.result == "succeeded" for t in ends):
                    yield at, key


def gives_output(node: Node, ending: Ending) -> bool:
    """Return whether a node with this ending has an output.

    It has one unless its last attempt ended without an exit code, or was a sub-pipeline that failed.
    """
    return ending.exit is not None and not (
        ending.exit == 1 and node.bodies[ending.step].plan is not None
    )


def _results(node: Node) -> tuple[Verdict, ...]:
    """Return the results that a node can have; conditions other than labels depend on nothing else."""
    step = node.machine.steps[0]
    if node.fan is None and len(node.machine.steps) == 1 and not step.routes and not step.default:
        good = step.codes is None or 0 in step.codes
        return ("succeeded", "failed") if good else ("failed",)
    found = {ending.result for ending in endings_of(node, ())}
    return tuple(sorted(found, reverse=True))


def endings_of(node: Node, conditions: Iterable[Condition]) -> list[Ending]:
    """Return one ending for each kind that the conditions can tell apart, successes first."""
    fan = node.fan
    found = list(_fanned(node, fan) if fan else ends_of(node.machine, _codes(conditions)))
    if node.deadline is not None:
        found.append(_DEADLINE)
    if node.may_misread:
        found.append(_EVALUATION)
    return sorted(found, key=_rank)


def can_succeed(node: Node) -> bool:
    """Return whether the node can succeed by itself."""
    if node.fan is not None:
        return any(ending.result == "succeeded" for ending in endings_of(node, ()))
    return can_be_done(node.machine)


def items_end(node: Node) -> tuple[bool, bool]:
    """Return whether an item of a fan-out can succeed, and whether one can fail."""
    ends = ends_of(node.machine, ())
    results = {ending.result for ending in ends}
    unmapped = misreads(node.outputs) and any(gives_output(node, ending) for ending in ends)
    return "succeeded" in results, "failed" in results or unmapped


def _fanned(node: Node, fan: Fan) -> Iterator[Ending]:
    """Yield the endings of a fan-out whose items have all run."""
    succeed, fail = items_end(node)
    if fan.may_be_won(succeed, fail):
        yield _WON
    if fan.may_be_lost(fail):
        yield _LOST


def _codes(conditions: Iterable[Condition]) -> set[int]:
    """Collect the exit codes that conditions name, as numbers or as labels of unnamed exits."""
    labels = [c for c in conditions if c.kind == "labels"]
    found = {code for c in labels for code in c.codes}
    return found | {int(n) for c in labels for n in c.names if n.isdecimal() and int(n) < 256}


def _rank(ending: Ending) -> tuple[bool, str, int, int, int]:
    code, exit = (-1 if each is None else each for each in (ending.code, ending.exit))
    return (ending.result == "failed", ending.label, code, ending.step, exit)


# -- masks -----------------------------------------------------------------------------------------


def joined(links: Sequence[Link], any: bool, lit: Lit) -> bool:
    """Return whether the edges of a node let it run."""
    taken = written = False
    for source, bit, is_written in links:
        if not bit or lit.get(source, 0) & bit:
            taken = taken or is_written
        elif not (any and is_written):
            return False
        written = written or is_written
    return taken or not (any and written)


def live(link: Link, lit: Lit) -> bool:
    """Return whether an edge is live."""
    return not link[1] or bool(lit.get(link[0], 0) & link[1])


def fits(want: int, masks: Iterable[int]) -> bool:
    """Return whether one of the masks has all required bits."""
    return any(not want & ~mask for mask in masks)


def union(masks: Iterable[int]) -> int:
    """Return the bits that any of the masks has."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def common(masks: Collection[int]) -> int:
    """Return the bits that all masks have; 0 if there are no masks."""
    found = -1 if masks else 0
    for mask in masks:
        found &= mask
    return found
