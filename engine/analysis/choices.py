"""Plan -> Choices: what each node can do to its edges, as bits; the ground of reachability.

The conditions on a node's outgoing edges are numbered, and each of its endings becomes the mask of
those it satisfies: hundreds of exits collapse into a few choices. `always` asks nothing: no bit.

Under `on_failure = "cancel"` an unhandled failure ends all that has not started when its instant is
over. Ancestors of a node (over all edges) have ended before it starts, all others can be late: so
it runs if and only if it does while no ancestor fails unhandled, and such endings are left out
here. Handled is a matter of the ending alone: a live edge names it, whatever the target then does.
A node left without an ending is `stuck`: where it runs, nothing behind it does. So is one whose
machine never ends. Places, delays and the deadlines of others are not weighed.

Besides exits count `timeout` where the node has a deadline, and `error` where its `when`, `for_each`
or `outputs` reads what may turn out absent or different; a `when` that reads anything goes either
way. A list that is read may have any number of items, none at all too, and each item ends in any way
that a run of the machine can.

Where it is asked whether outputs are there, a further bit of a node says that it ended without one.
A run that succeeds is one in which no node fails unhandled, whatever `on_failure`.
Source: LANGUAGE.md sections 6 to 9 and 15 (T3).
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
"""An incoming edge: source, bit of its condition there (0: `always`), whether `needs` has it."""

Lit = Mapping[int, int]
"""By node, the conditions that hold there, or are asked of it; only nodes that run are in it."""

When = Literal["none", "free", "never"]
"""A node's `when`: there is none, goes either way, always false."""

_EVALUATION = Ending("failed", "error", None, 0)
_DEADLINE = Ending("failed", "timeout", None, 0)
_WON = Ending("succeeded", "success", None, 0, 0)
_LOST = Ending("failed", "failure", None, 0, 0)
"""How a fan-out ends when all its items have run: with the list of their outputs."""


@frozen(eq=False)
class Choices:
    """All by node: `links` stand beside `Node.edges`, `endings` are masks, successes first."""

    order: Sequence[int]
    """Every node after those it waits for."""
    links: Sequence[tuple[Link, ...]]
    any: Sequence[bool]
    when: Sequence[When]
    endings: Sequence[tuple[int, ...]]
    stuck: frozenset[int]
    """Nodes that do not end well, however they end."""
    silent: Mapping[int, int]
    """Of nodes that this is asked of, the bit that says: ended without an output."""


@once
def choices_of(plan: Plan) -> Choices:
    """The choices of all nodes of a plan; its sub-pipelines are not looked into."""
    return _choices(plan, plan.on_failure, frozenset())


def silences_of(plan: Plan, nodes: frozenset[int]) -> Choices:
    """The same, where `nodes` tell whether they ended with an output."""
    return _choices(plan, plan.on_failure, nodes)


def successes_of(plan: Plan, nodes: frozenset[int]) -> Choices:
    """The same over runs that succeed: no node fails unhandled there."""
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
    """What is asked of a node's endings: the conditions on its edges, whether a failure that none
    of them names ends the run, whether there is an output."""

    bits: Mapping[object, Condition]
    on_failure: str
    output: bool


@frozen(eq=False)
class Effects:
    """What the endings of one node do; `apart` are the codes that its conditions tell apart."""

    node: Node
    conditions: tuple[Condition, ...]
    apart: frozenset[int]

    def of(self, ending: Ending) -> tuple[int, bool]:
        """The mask of an ending, and whether it is a failure that nothing handles."""
        return _effect(self.node, self.conditions, ending)

    @property
    def timeout(self) -> Ending | None:
        """The ending that its deadline makes."""
        return None if self.node.deadline is None else _DEADLINE

    @property
    def unread(self) -> Ending | None:
        """The ending of a `when` or `for_each` that cannot be evaluated."""
        return _EVALUATION if self.node.start_may_fail else None

    @property
    def unmapped(self) -> Ending | None:
        """The ending of `outputs` that cannot be evaluated, where there is something to map."""
        return _EVALUATION if self.node.end_may_fail else None


def effects_of(plan: Plan, node: Node) -> Effects:
    """What each ending of a node satisfies of the conditions on its edges, bits as in `links`."""
    conditions = tuple(_bits(plan.targets[node.index]).values())
    labels = [c for c in conditions if c.kind == "labels"]
    return Effects(node, conditions, frozenset(_codes(labels)))


def _bits(edges: Iterable[Edge]) -> dict[object, Condition]:
    """The distinct conditions on edges, by what tells them apart; their places are their bits."""
    return {e.condition.key: e.condition for e in edges if e.condition.kind != "always"}


def _bit(bits: Mapping[object, Condition], condition: Condition) -> int:
    if condition.kind == "always":
        return 0
    return 1 << list(bits).index(condition.key) if len(bits) > 1 else 1


def when_of(node: Node) -> When:
    """What can come of a node's `when`."""
    when = node.when
    if when is None:
        return "none"
    if when.reads:
        return "free"  # the compiler has seen to it that the rest is true or false
    return "none" if when.constant or when.evaluate({}) is True else "never"


def _masks(node: Node, asked: _Asked, memo: dict[object, tuple[int, ...]]) -> tuple[int, ...]:
    """The masks of a node's endings that leave the run going, each once, those of success first."""
    if asked.output or any(c.kind == "labels" for c in asked.bits.values()):
        return tuple(dict(_kept(node, asked, endings_of(node, asked.bits.values()))))
    results = _results(node)
    key = (results, node.allow_failure, tuple(asked.bits))
    if key not in memo:
        endings = [Ending(result, "", None, 0) for result in results]
        memo[key] = tuple(dict(_kept(node, asked, endings)))
    return memo[key]


def spoils(plan: Plan, node: Node) -> bool:
    """Whether some ending of the node is a failure that nothing handles."""
    asked = _Asked(_bits(plan.targets[node.index]), "finish", output=False)
    endings = endings_of(node, asked.bits.values())
    return any(lost for _, _, lost in _judged(node, asked, endings))


def _kept(node: Node, asked: _Asked, endings: Iterable[Ending]) -> Iterator[tuple[int, Ending]]:
    """The endings that leave the run going, each with its mask."""
    ends_all = asked.on_failure == "cancel"
    for mask, ending, lost in _judged(node, asked, endings):
        if not (lost and ends_all):
            yield mask, ending


def _judged(
    node: Node, asked: _Asked, endings: Iterable[Ending]
) -> Iterator[tuple[int, Ending, bool]]:
    """Each ending with its mask, and whether it is a failure that nothing handles."""
    conditions = tuple(asked.bits.values())
    for ending in endings:
        mask, lost = _effect(node, conditions, ending)
        silent = asked.output and not gives_output(node, ending)
        yield mask | silent << len(conditions), ending, lost


def _effect(node: Node, conditions: Sequence[Condition], ending: Ending) -> tuple[int, bool]:
    """What an ending satisfies, and whether it is a failure that nothing handles."""
    step = node.machine.steps[ending.step]
    holds = [c.holds(ending.result, ending.label, ending.code, step) for c in conditions]
    handled = any(c.names_failure and held for c, held in zip(conditions, holds, strict=True))
    lost = ending.result == "failed" and not (handled or node.allow_failure)
    return sum(held << at for at, held in enumerate(holds)), lost


def ending_of(plan: Plan, choices: Choices, index: int, mask: int) -> Ending:
    """An ending of a node whose mask this is, a success if there is one."""
    node = plan.nodes[index]
    asked = _Asked(_bits(plan.targets[index]), "finish", index in choices.silent)
    for found, ending in _kept(node, asked, endings_of(node, asked.bits.values())):
        if found == mask:
            return ending
    raise AssertionError("a mask that no ending has")


@once
def excused(machine: Machine) -> tuple[tuple[int, Outcome | Literal["*"]], ...]:
    """The outcomes, by step, that are not exit 0 and that a route may lead to a success."""
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
    """Whether a node that ends so has an output: it does unless its last attempt ended without an
    exit code, or was a sub-pipeline that failed."""
    return ending.exit is not None and not (
        ending.exit == 1 and node.bodies[ending.step].plan is not None
    )


def _results(node: Node) -> tuple[Verdict, ...]:
    """The results a node can have, which is all that conditions other than labels look at."""
    step = node.machine.steps[0]
    if node.fan is None and len(node.machine.steps) == 1 and not step.routes and not step.default:
        good = step.codes is None or 0 in step.codes
        return ("succeeded", "failed") if good else ("failed",)
    found = {ending.result for ending in endings_of(node, ())}
    return tuple(sorted(found, reverse=True))


def endings_of(node: Node, conditions: Iterable[Condition]) -> list[Ending]:
    """One ending for each sort that the conditions can tell apart, successes first."""
    fan = node.fan
    found = list(_fanned(node, fan) if fan else ends_of(node.machine, _codes(conditions)))
    if node.deadline is not None:
        found.append(_DEADLINE)
    if node.may_misread:
        found.append(_EVALUATION)
    return sorted(found, key=_rank)


def can_succeed(node: Node) -> bool:
    """Whether a node can end well by itself."""
    if node.fan is not None:
        return any(ending.result == "succeeded" for ending in endings_of(node, ()))
    return can_be_done(node.machine)


def items_end(node: Node) -> tuple[bool, bool]:
    """Whether an item of a fan-out can succeed, and whether one can fail."""
    ends = ends_of(node.machine, ())
    results = {ending.result for ending in ends}
    unmapped = misreads(node.outputs) and any(gives_output(node, ending) for ending in ends)
    return "succeeded" in results, "failed" in results or unmapped


def _fanned(node: Node, fan: Fan) -> Iterator[Ending]:
    """How a fan-out can end when all its items have run."""
    succeed, fail = items_end(node)
    if fan.may_be_won(succeed, fail):
        yield _WON
    if fan.may_be_lost(fail):
        yield _LOST


def _codes(conditions: Iterable[Condition]) -> set[int]:
    """The codes that conditions name, as numbers or in the label of an exit without a name."""
    labels = [c for c in conditions if c.kind == "labels"]
    found = {code for c in labels for code in c.codes}
    return found | {int(n) for c in labels for n in c.names if n.isdecimal() and int(n) < 256}


def _rank(ending: Ending) -> tuple[bool, str, int, int, int]:
    code, exit = (-1 if each is None else each for each in (ending.code, ending.exit))
    return (ending.result == "failed", ending.label, code, ending.step, exit)


# -- masks -----------------------------------------------------------------------------------------


def joined(links: Sequence[Link], any: bool, lit: Lit) -> bool:
    """Whether a node's edges let it run."""
    taken = written = False
    for source, bit, is_written in links:
        if not bit or lit.get(source, 0) & bit:
            taken = taken or is_written
        elif not (any and is_written):
            return False
        written = written or is_written
    return taken or not (any and written)


def live(link: Link, lit: Lit) -> bool:
    """Whether an edge is live."""
    return not link[1] or bool(lit.get(link[0], 0) & link[1])


def fits(want: int, masks: Iterable[int]) -> bool:
    """Whether one of the masks has all that is wanted."""
    return any(not want & ~mask for mask in masks)


def union(masks: Iterable[int]) -> int:
    """What some of the masks have."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def common(masks: Collection[int]) -> int:
    """What all of the masks have; nothing if there are none."""
    found = -1 if masks else 0
    for mask in masks:
        found &= mask
    return found
