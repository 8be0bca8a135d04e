"""Results of simulations -> which nodes, conditions and routes of a plan they have taken, and which none has.

What can be taken: that a node starts; that its `when` is false; each route that is written, and its `then`; where a
step has no route for exit 0 or for other outcomes, what follows then. What happened is read off the attempts of a
result: the last one of a visit is routed. A sub-pipeline counts once, whoever runs it. Source: docs/language.md,
"Routes", "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import attrs

from engine.plan.machine import Step
from engine.plan.plan import Node, Plan
from engine.record.result import Attempt, NodeResult, Result
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

__all__ = ["Coverage", "CoveragePoint", "coverage"]

CoverageKey = tuple[int, str, str, str]
"""The identity of the plan, the node, the step (empty: the node itself), and the description of the point."""


@attrs.frozen
class CoveragePoint:
    """One thing that a run can do, its location, and whether some run did it."""

    path: str
    """The node, or `node/step`, after the name of the sub-pipeline if there is one."""
    description: str
    file: str
    span: Span
    is_taken: bool


@attrs.frozen
class Coverage:
    """All coverage points of a plan, in the order of the file."""

    points: tuple[CoveragePoint, ...]

    @property
    def missed_points(self) -> tuple[CoveragePoint, ...]:
        """The points that no run has taken."""
        return tuple(spot for spot in self.points if not spot.is_taken)

    @property
    def fraction(self) -> float:
        """The fraction of the points that were taken, from 0 to 1; 1 if there are none."""
        return 1.0 - len(self.missed_points) / len(self.points) if self.points else 1.0


def coverage(plan: Plan, results: Iterable[Result]) -> Coverage:
    """Return the coverage of a plan by all these results together."""
    taken = {key for result in results for key in _iter_taken_in_run(plan, result)}
    return Coverage(tuple(_iter_points(plan, taken)))


def _iter_points(plan: Plan, taken: set[CoverageKey]) -> Iterator[CoveragePoint]:
    for part in plan.walk_plans(calls=False):
        if part.spec.table not in ("nodes", "finally"):
            continue
        for node in part.nodes:
            for step, what, key in _iter_points_of_node(node):
                name, file = _build_point_name(part, plan, node, step), str(part.spec.source.path)
                done = (id(part), node.name, step, what) in taken
                yield CoveragePoint(name, what, file, _find_point_span(part, node, step, key), done)


# -- points of a plan --------------------------------------------------------------------------


def _iter_points_of_node(node: Node) -> Iterator[tuple[str, str, KeyPath]]:
    """Yield the step, the description, and the key path in the node, for each point of a node."""
    yield "", "it starts", ()
    if node.when is not None:
        yield "", "its `when` is false", ("when",)
    for name, step in zip(node.step_names, node.machine.steps, strict=True):
        for route in step.iter_routes():
            yield name, f"`{route.key}`", ("routes", route.key)
            if route.max is not None:
                yield name, f"`{route.key}`, then", ("routes", route.key)
        if 0 not in step.routes:
            yield name, f"`{step.describe_outcome(0)}`", ()


def _find_point_span(plan: Plan, node: Node, step: str, key: KeyPath) -> Span:
    place = (*plan.key_path_of(node, step or None), *key)
    return plan.spec.source.key_span(place)


def _build_point_name(part: Plan, plan: Plan, node: Node, step: str) -> str:
    own = node.name if step in ("", node.name) else f"{node.name}/{step}"
    return own if part is plan or part is plan.finally_plan else f"{part.name}: {own}"


# -- points that a run takes ---------------------------------------------------------------------


def _iter_taken_in_run(plan: Plan, result: Result) -> Iterator[CoverageKey]:
    for name, found in result.nodes.items():
        node = plan.nodes_by_name[name]
        part = plan if name in plan.index else plan.finally_plan
        assert part is not None
        yield from _iter_taken_in_node(part, node, found)


def _iter_taken_in_node(plan: Plan, node: Node, node_result: NodeResult) -> Iterator[CoverageKey]:
    if node_result.reason.kind == "when":
        yield id(plan), node.name, "", "its `when` is false"
    if node_result.attempts or node_result.items is not None:
        yield id(plan), node.name, "", "it starts"
    for attempts, reason in [
        (node_result.attempts, node_result.reason.kind),
        *((item.attempts, item.reason.kind) for item in node_result.items or ()),
    ]:
        yield from _iter_taken_in_machine(plan, node, attempts, reason)
    for attempt in node_result.all_attempts():
        if attempt.run is not None:
            at = node.step_names.index(attempt.step)
            child = node.bodies[at].plan
            assert child is not None
            yield from _iter_taken_in_run(child, attempt.run)


def _iter_taken_in_machine(
    plan: Plan, node: Node, attempts: Sequence[Attempt], reason: str
) -> Iterator[CoverageKey]:
    """Yield the keys of the routes that one machine's visits have taken."""
    steps = {node.name_of(at): (at, step) for at, step in enumerate(node.machine.steps)}
    visits = [[*group] for _, group in groupby(attempts, lambda each: (each.step, each.visit))]
    for number, visit in enumerate(visits):
        name = visit[-1].step
        _, step = steps[name]
        after = visits[number + 1][0].step if number + 1 < len(visits) else None
        target = None if after is None else steps[after][0]
        what = _describe_taken(step, visit[-1], target, reason)
        if what is not None:
            yield id(plan), node.name, name, what


def _describe_taken(step: Step, last: Attempt, target: int | None, reason: str) -> str | None:
    """Describe the route that the last attempt of a visit took.

    `target` is the index of the next step, if any.
    """
    outcome = last.outcome
    if outcome is None or outcome == "cancelled":
        return None
    route = step.find_route(outcome)
    if route is None:
        return f"`{step.describe_outcome(0)}`" if outcome == 0 else None
    then = target is not None and route.to != target
    ended = target is None and route.max is not None
    return f"`{route.key}`, then" if then or (ended and reason == "exhausted") else f"`{route.key}`"
