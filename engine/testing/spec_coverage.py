"""Results of simulations -> which nodes, conditions and routes of a plan they have taken, and which none has.

What can be taken: that a node starts; that its `when` is false; each route that is written, and its `then`; where a step has
no route for exit 0 or for other outcomes, what follows then. What happened is read off the attempts of a result: the last one of a
visit is routed. A sub-pipeline counts once, whoever runs it. Source: LANGUAGE.md sections 5 to 7.
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

__all__ = ["Coverage", "Spot", "coverage"]

Key = tuple[int, str, str, str]
"""The identity of the plan, the node, the step (empty: the node itself), and the description of the point."""


@attrs.frozen
class Spot:
    """One thing that a run can do, its location, and whether some run did it."""

    path: str
    """The node, or `node/step`, after the name of the sub-pipeline if there is one."""
    what: str
    file: str
    span: Span
    taken: bool


@attrs.frozen
class Coverage:
    """All coverage points of a plan, in the order of the file."""

    spots: tuple[Spot, ...]

    @property
    def missed(self) -> tuple[Spot, ...]:
        """The points that no run has taken."""
        return tuple(spot for spot in self.spots if not spot.taken)

    @property
    def share(self) -> float:
        """The fraction of the points that were taken, from 0 to 1; 1 if there are none."""
        return 1.0 - len(self.missed) / len(self.spots) if self.spots else 1.0


def coverage(plan: Plan, results: Iterable[Result]) -> Coverage:
    """Return the coverage of a plan by all these results together."""
    taken = {key for result in results for key in _of_run(plan, result)}
    return Coverage(tuple(_all(plan, taken)))


def _all(plan: Plan, taken: set[Key]) -> Iterator[Spot]:
    for part in plan.within(calls=False):
        if part.spec.table not in ("nodes", "finally"):
            continue
        for node in part.nodes:
            for step, what, key in _spots(node):
                name, file = _name(part, plan, node, step), str(part.spec.source.path)
                done = (id(part), node.name, step, what) in taken
                yield Spot(name, what, file, _span(part, node, step, key), done)


# -- what there is -----------------------------------------------------------------------------


def _spots(node: Node) -> Iterator[tuple[str, str, KeyPath]]:
    """Yield the step, the description, and the key path in the node, for each point of a node."""
    yield "", "it starts", ()
    if node.when is not None:
        yield "", "its `when` is false", ("when",)
    for name, step in zip(node.step_names, node.machine.steps, strict=True):
        for route in step.written():
            yield name, f"`{route.key}`", ("routes", route.key)
            if route.max is not None:
                yield name, f"`{route.key}`, then", ("routes", route.key)
        if 0 not in step.routes:
            yield name, f"`{step.label(0)}`", ()


def _span(plan: Plan, node: Node, step: str, key: KeyPath) -> Span:
    place = (*plan.place(node, step or None), *key)
    return plan.spec.source.key(place)


def _name(part: Plan, plan: Plan, node: Node, step: str) -> str:
    own = node.name if step in ("", node.name) else f"{node.name}/{step}"
    return own if part is plan or part is plan.closing else f"{part.name}: {own}"


# -- what was taken ------------------------------------------------------------------------------


def _of_run(plan: Plan, result: Result) -> Iterator[Key]:
    for name, found in result.nodes.items():
        node = plan.known[name]
        part = plan if name in plan.index else plan.closing
        assert part is not None
        yield from _of_node(part, node, found)


def _of_node(plan: Plan, node: Node, found: NodeResult) -> Iterator[Key]:
    if found.reason.kind == "when":
        yield id(plan), node.name, "", "its `when` is false"
    if found.attempts or found.items is not None:
        yield id(plan), node.name, "", "it starts"
    for attempts, reason in [
        (found.attempts, found.reason.kind),
        *((item.attempts, item.reason.kind) for item in found.items or ()),
    ]:
        yield from _of_machine(plan, node, attempts, reason)
    for attempt in found.ran():
        if attempt.run is not None:
            at = node.step_names.index(attempt.step)
            child = node.bodies[at].plan
            assert child is not None
            yield from _of_run(child, attempt.run)


def _of_machine(plan: Plan, node: Node, attempts: Sequence[Attempt], reason: str) -> Iterator[Key]:
    """Yield the keys of the routes that one machine's visits have taken."""
    steps = {node.name_of(at): (at, step) for at, step in enumerate(node.machine.steps)}
    visits = [[*group] for _, group in groupby(attempts, lambda each: (each.step, each.visit))]
    for number, visit in enumerate(visits):
        name = visit[-1].step
        _, step = steps[name]
        after = visits[number + 1][0].step if number + 1 < len(visits) else None
        target = None if after is None else steps[after][0]
        what = _taken(step, visit[-1], target, reason)
        if what is not None:
            yield id(plan), node.name, name, what


def _taken(step: Step, last: Attempt, target: int | None, reason: str) -> str | None:
    """Describe the route that the last attempt of a visit took; `target` is the index of the next step, if any."""
    outcome = last.outcome
    if outcome is None or outcome == "cancelled":
        return None
    route = step.route(outcome)
    if route is None:
        return f"`{step.label(0)}`" if outcome == 0 else None
    then = target is not None and route.to != target
    ended = target is None and route.max is not None
    return f"`{route.key}`, then" if then or (ended and reason == "exhausted") else f"`{route.key}`"
