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

from engine.analysis.step_reachability import Ending, can_machine_succeed, reachable_endings
from engine.base.classes import frozen
from engine.base.memo import memoize
from engine.plan.fan_out import FanOut
from engine.plan.machine import End, Machine, OutcomeCode, Route, Verdict
from engine.plan.plan import Condition, Edge, Node, Plan, may_fail_to_evaluate

__all__ = [
    "ActiveConditions",
    "Choices",
    "Effects",
    "IncomingEdge",
    "build_choices",
    "build_choices_of_successful_runs",
    "build_choices_with_outputs",
    "build_effects",
    "can_fail_unhandled",
    "can_node_succeed",
    "classify_when",
    "find_ending",
    "has_output",
    "intersect_masks",
    "is_live",
    "is_satisfiable",
    "join_holds",
    "list_endings",
    "list_success_routes",
    "possible_item_results",
    "union_masks",
]

IncomingEdge = tuple[int, int, bool]
"""An incoming edge: source, bit of its condition there (0: `always`), whether `needs` lists it."""

ActiveConditions = Mapping[int, int]
"""For each node that runs, the conditions that hold there, or that are required of it, as bits."""

WhenOutcome = Literal["none", "free", "never"]
"""The possible values of a node's `when`: no `when`, true or false, or always false."""

_EVALUATION_ERROR = Ending("failed", "error", None, 0)
_DEADLINE_EXPIRED = Ending("failed", "timeout", None, 0)
_SUCCEEDED_ITEMS = Ending("succeeded", "success", None, 0, 0)
_FAILED_ITEMS = Ending("failed", "failure", None, 0, 0)
"""The endings of a fan-out whose items have all run: with the list of their outputs."""


@frozen(eq=False)
class Choices:
    """The choices of all nodes of a plan, indexed by node.

    `links` runs parallel to `Node.edges`. `endings` are masks, those of successes first.
    """

    order: Sequence[int]
    """The nodes in topological order: each after those it waits for."""
    links: Sequence[tuple[IncomingEdge, ...]]
    any: Sequence[bool]
    when: Sequence[WhenOutcome]
    endings: Sequence[tuple[int, ...]]
    blocking: frozenset[int]
    """The nodes without an ending after which the run goes on."""
    no_output_bit: Mapping[int, int]
    """For the nodes in question, the bit that says the node ended without an output."""


@memoize
def build_choices(plan: Plan) -> Choices:
    """Build the choices of all nodes of a plan; sub-pipelines are not inspected."""
    return _build_choices(plan, plan.on_failure, frozenset())


def build_choices_with_outputs(plan: Plan, nodes: frozenset[int]) -> Choices:
    """Build the choices of a plan where `nodes` also record whether they ended with an output."""
    return _build_choices(plan, plan.on_failure, nodes)


def build_choices_of_successful_runs(plan: Plan, nodes: frozenset[int]) -> Choices:
    """Build the choices of successful runs: no node fails unhandled in them."""
    return _build_choices(plan, "cancel", nodes)


def _build_choices(plan: Plan, on_failure: str, nodes_with_outputs: frozenset[int]) -> Choices:
    bits = [_number_conditions(edges) for edges in plan.targets]
    memo: dict[object, tuple[int, ...]] = {}
    endings = [
        _compute_masks(node, _Query(bits[at], on_failure, at in nodes_with_outputs), memo)
        for at, node in enumerate(plan.nodes)
    ]
    return Choices(
        order=plan.order,
        links=tuple(
            tuple(
                (e.source, _get_condition_bit(bits[e.source], e.condition), e.is_explicit)
                for e in node.edges
            )
            for node in plan.nodes
        ),
        any=tuple(node.join == "any" for node in plan.nodes),
        when=tuple(map(classify_when, plan.nodes)),
        endings=tuple(endings),
        blocking=frozenset(index for index, found in enumerate(endings) if not found),
        no_output_bit={index: 1 << len(bits[index]) for index in nodes_with_outputs},
    )


@frozen
class _Query:
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

    `distinguished_codes` are the exit codes that its conditions distinguish.
    """

    node: Node
    conditions: tuple[Condition, ...]
    distinguished_codes: frozenset[int]

    def evaluate(self, ending: Ending) -> tuple[int, bool]:
        """Return the mask of an ending, and whether it is a failure that nothing handles."""
        return _evaluate_ending(self.node, self.conditions, ending)

    @property
    def timeout_ending(self) -> Ending | None:
        """Return the ending that the node's deadline causes; None if it has no deadline."""
        return None if self.node.deadline is None else _DEADLINE_EXPIRED

    @property
    def unevaluated_ending(self) -> Ending | None:
        """Return the ending of a `when` or `for_each` that cannot be evaluated; None if it always can."""
        return _EVALUATION_ERROR if self.node.start_may_fail else None

    @property
    def unmapped_ending(self) -> Ending | None:
        """Return the ending of `outputs` that cannot be evaluated; None if they always can be.

        None for a fan-out too: there only the item fails.
        """
        return _EVALUATION_ERROR if self.node.end_may_fail else None


def build_effects(plan: Plan, node: Node) -> Effects:
    """Build the effects of a node: which edge conditions each ending satisfies, as bits like those in `links`."""
    conditions = tuple(_number_conditions(plan.targets[node.index]).values())
    labels = [c for c in conditions if c.kind == "labels"]
    return Effects(node, conditions, frozenset(_collect_codes(labels)))


def _number_conditions(edges: Iterable[Edge]) -> dict[object, Condition]:
    """Collect the distinct conditions on edges by key; the position of a condition is its bit."""
    return {e.condition.key: e.condition for e in edges if e.condition.kind != "always"}


def _get_condition_bit(bits: Mapping[object, Condition], condition: Condition) -> int:
    if condition.kind == "always":
        return 0
    return 1 << list(bits).index(condition.key) if len(bits) > 1 else 1


def classify_when(node: Node) -> WhenOutcome:
    """Return which values a node's `when` can have."""
    when = node.when
    if when is None:
        return "none"
    if when.reads:
        return "free"  # the compiler has checked that the rest is true or false
    return "none" if when.is_constant or when.evaluate({}) is True else "never"


def _compute_masks(
    node: Node, query: _Query, memo: dict[object, tuple[int, ...]]
) -> tuple[int, ...]:
    """Return the distinct masks of a node's endings after which the run goes on, successes first."""
    if query.output or any(c.kind == "labels" for c in query.bits.values()):
        return tuple(
            dict(_iter_continuing_endings(node, query, list_endings(node, query.bits.values())))
        )
    results = _find_possible_results(node)
    key = (results, node.allow_failure, tuple(query.bits))
    if key not in memo:
        endings = [Ending(result, "", None, 0) for result in results]
        memo[key] = tuple(dict(_iter_continuing_endings(node, query, endings)))
    return memo[key]


def can_fail_unhandled(plan: Plan, node: Node) -> bool:
    """Return whether some ending of the node is a failure that nothing handles."""
    asked = _Query(_number_conditions(plan.targets[node.index]), "finish", output=False)
    endings = list_endings(node, asked.bits.values())
    return any(lost for _, _, lost in _iter_effects(node, asked, endings))


def _iter_continuing_endings(
    node: Node, query: _Query, endings: Iterable[Ending]
) -> Iterator[tuple[int, Ending]]:
    """Yield the endings after which the run goes on, each with its mask."""
    ends_all = query.on_failure == "cancel"
    for mask, ending, lost in _iter_effects(node, query, endings):
        if not (lost and ends_all):
            yield mask, ending


def _iter_effects(
    node: Node, query: _Query, endings: Iterable[Ending]
) -> Iterator[tuple[int, Ending, bool]]:
    """Yield each ending with its mask, and whether it is a failure that nothing handles."""
    conditions = tuple(query.bits.values())
    for ending in endings:
        mask, lost = _evaluate_ending(node, conditions, ending)
        silent = query.output and not has_output(node, ending)
        yield mask | silent << len(conditions), ending, lost


def _evaluate_ending(
    node: Node, conditions: Sequence[Condition], ending: Ending
) -> tuple[int, bool]:
    """Return the mask of an ending, and whether it is a failure that nothing handles."""
    step = node.machine.steps[ending.step]
    holds = [c.holds(ending.result, ending.label, ending.code, step) for c in conditions]
    handled = any(c.handles_failure and held for c, held in zip(conditions, holds, strict=True))
    lost = ending.result == "failed" and not (handled or node.allow_failure)
    return sum(held << at for at, held in enumerate(holds)), lost


def find_ending(plan: Plan, choices: Choices, index: int, mask: int) -> Ending:
    """Return an ending of a node with this mask, a success if there is one."""
    node = plan.nodes[index]
    asked = _Query(
        _number_conditions(plan.targets[index]), "finish", index in choices.no_output_bit
    )
    for found, ending in _iter_continuing_endings(
        node, asked, list_endings(node, asked.bits.values())
    ):
        if found == mask:
            return ending
    raise AssertionError("a mask that no ending has")


@memoize
def list_success_routes(machine: Machine) -> tuple[tuple[int, OutcomeCode | Literal["*"]], ...]:
    """Return the outcomes, by step, that are not exit 0 and that a route may lead to a success."""
    return tuple(_find_success_routes(machine))


def _find_success_routes(machine: Machine) -> Iterator[tuple[int, OutcomeCode | Literal["*"]]]:
    for at, step in enumerate(machine.steps):
        if step.routes or step.default:
            written: list[tuple[OutcomeCode | Literal["*"], Route]] = [*step.routes.items()]
            written += [("*", step.default)] if step.default else []
            for key, route in written:
                ends = (route.to, route.then)
                if key != 0 and any(isinstance(t, End) and t.result == "succeeded" for t in ends):
                    yield at, key


def has_output(node: Node, ending: Ending) -> bool:
    """Return whether a node with this ending has an output.

    It has one unless its last attempt ended without an exit code, or was a sub-pipeline that failed.
    """
    return ending.exit is not None and not (
        ending.exit == 1 and node.bodies[ending.step].plan is not None
    )


def _find_possible_results(node: Node) -> tuple[Verdict, ...]:
    """Return the results that a node can have; conditions other than labels depend on nothing else."""
    step = node.machine.steps[0]
    if node.fan is None and len(node.machine.steps) == 1 and not step.routes and not step.default:
        good = step.codes is None or 0 in step.codes
        return ("succeeded", "failed") if good else ("failed",)
    found = {ending.result for ending in list_endings(node, ())}
    return tuple(sorted(found, reverse=True))


def list_endings(node: Node, conditions: Iterable[Condition]) -> list[Ending]:
    """Return one ending for each kind that the conditions can distinguish, successes first."""
    fan = node.fan
    found = list(
        _iter_fan_out_endings(node, fan)
        if fan
        else reachable_endings(node.machine, _collect_codes(conditions))
    )
    if node.deadline is not None:
        found.append(_DEADLINE_EXPIRED)
    if node.may_fail_to_evaluate:
        found.append(_EVALUATION_ERROR)
    return sorted(found, key=_sort_key)


def can_node_succeed(node: Node) -> bool:
    """Return whether the node can succeed by itself."""
    if node.fan is not None:
        return any(ending.result == "succeeded" for ending in list_endings(node, ()))
    return can_machine_succeed(node.machine)


def possible_item_results(node: Node) -> tuple[bool, bool]:
    """Return whether an item of a fan-out can succeed, and whether one can fail."""
    ends = reachable_endings(node.machine, ())
    results = {ending.result for ending in ends}
    unmapped = may_fail_to_evaluate(node.outputs) and any(
        has_output(node, ending) for ending in ends
    )
    return "succeeded" in results, "failed" in results or unmapped


def _iter_fan_out_endings(node: Node, fan: FanOut) -> Iterator[Ending]:
    """Yield the endings of a fan-out whose items have all run."""
    succeed, fail = possible_item_results(node)
    if fan.can_succeed(succeed, fail):
        yield _SUCCEEDED_ITEMS
    if fan.can_fail(fail):
        yield _FAILED_ITEMS


def _collect_codes(conditions: Iterable[Condition]) -> set[int]:
    """Collect the exit codes that conditions name, as numbers or as labels of unnamed exits."""
    labels = [c for c in conditions if c.kind == "labels"]
    found = {code for c in labels for code in c.codes}
    return found | {int(n) for c in labels for n in c.names if n.isdecimal() and int(n) < 256}


def _sort_key(ending: Ending) -> tuple[bool, str, int, int, int]:
    code, exit = (-1 if each is None else each for each in (ending.code, ending.exit))
    return (ending.result == "failed", ending.label, code, ending.step, exit)


# -- masks -----------------------------------------------------------------------------------------


def join_holds(links: Sequence[IncomingEdge], any: bool, active: ActiveConditions) -> bool:
    """Return whether the edges of a node let it run."""
    taken = written = False
    for source, bit, is_written in links:
        if not bit or active.get(source, 0) & bit:
            taken = taken or is_written
        elif not (any and is_written):
            return False
        written = written or is_written
    return taken or not (any and written)


def is_live(link: IncomingEdge, active: ActiveConditions) -> bool:
    """Return whether an edge is live."""
    return not link[1] or bool(active.get(link[0], 0) & link[1])


def is_satisfiable(required: int, masks: Iterable[int]) -> bool:
    """Return whether one of the masks has all required bits."""
    return any(not required & ~mask for mask in masks)


def union_masks(masks: Iterable[int]) -> int:
    """Return the bits that any of the masks has."""
    found = 0
    for mask in masks:
        found |= mask
    return found


def intersect_masks(masks: Collection[int]) -> int:
    """Return the bits that all masks have; 0 if there are no masks."""
    found = -1 if masks else 0
    for mask in masks:
        found &= mask
    return found
