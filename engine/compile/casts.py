"""The first node of a mould, compiled -> the others of it, without looking at each anew.

A node can be made so if nothing was found in the first one, and nothing that differs can matter:
its references are all fillings, its conditions ask for no labels, its output is what its task says.
Where texts are not free by the task's schema, each node's are looked at. Source: `moulds`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from operator import attrgetter
from typing import Any

import attrs

from engine.compile.literal_inputs import fits
from engine.compile.reporter import Draft
from engine.expressions.templates import Late
from engine.language.spec import NodeSpec
from engine.plan.machine import Machine
from engine.plan.plan import (
    PLAIN,
    Body,
    Condition,
    Edge,
    Node,
)
from engine.schemas.fast_validation import texts_alike
from engine.toml.key_paths import KeyPath

__all__ = ["Cast", "cast_of"]

_ANEW = ("name", "index", "machine", "bodies", "edges")
_FILLED = ("description", "mould", "fillings")
_more = attrgetter(*[field.name for field in attrs.fields(Node)][len(_ANEW) : -len(_FILLED)])


@attrs.frozen(eq=False)
class Cast:
    """What makes the nodes of a mould: the first of them, the rest of its fields, its edges by the
    filling that is their source, and the steps whose texts are to be looked at."""

    node: Node
    more: tuple[Any, ...]
    edges: tuple[tuple[int, Condition, bool], ...]
    strict: tuple[int, ...]

    def again(
        self, draft: Draft, index: int, name: str, spec: NodeSpec, places: Mapping[str, int]
    ) -> Node:
        """Another node of the mould; `places` are the indexes of all nodes."""
        like, fillings = self.node, tuple([places[each] for each in spec.names])
        edges = [Edge(fillings[at], index, asks, written) for at, asks, written in self.edges]
        if len(edges) > 1:
            edges.sort(key=_by_source)
        machine = like.machine
        if spec.single:
            [step] = machine.steps
            machine = Machine((step.renamed(name),), 0, machine.counters, machine.shape)
        bodies = [
            _again(body, step.with_)
            for body, step in zip(like.bodies, spec.steps.values(), strict=True)
        ]
        for at in self.strict:
            _look(draft, name, spec, at, bodies[at])
        shared: Any = (*self.more, spec.description, like.mould, fillings)
        return Node(name, index, machine, tuple(bodies), tuple(edges), *shared)


def cast_of(draft: Draft, spec: NodeSpec, node: Node) -> Cast | None:
    """The cast of the first node of a mould, in which nothing was found; None if there is none."""
    tasks = [body.task for body in node.bodies]
    asks = [need for need in spec.needs.values() if not isinstance(need, str)]
    read = sum(
        read.path[0] in draft.spec.nodes
        for *_, template in node.templates()
        for read in template.reads
    )
    if asks or read != len(spec.names) - len(spec.needs):
        return None
    if not all(
        task is not None
        and task.output != "inputs"
        and not (task.asks or task.exits_of or task.names)
        for task in tasks
    ):
        return None
    given = [step.with_ for step in spec.steps.values()]
    strict = [
        at
        for at, task in enumerate(tasks)
        if task and task.input_schema and not texts_alike(task.input_schema, given[at])
    ]
    return Cast(node, _more(node), tuple(_edges(spec)), tuple(strict))


def _edges(spec: NodeSpec) -> Iterator[tuple[int, Condition, bool]]:
    for at, need in enumerate(spec.needs.values()):
        assert isinstance(need, str)  # nodes that ask for labels have no cast
        yield at, PLAIN[need], True
    for at in range(len(spec.needs), len(spec.names)):
        if spec.names.index(spec.names[at]) == at:
            yield at, PLAIN["success"], False


def _by_source(edge: Edge) -> tuple[bool, int]:
    return not edge.written, edge.source


def _again(like: Body, with_: Mapping[str, Any]) -> Body:
    template = Late(with_, like.with_.constant) if with_ else like.with_
    return Body(like.task, None, template, like.timeout, like.on_interrupt, like.schema)


def _look(draft: Draft, name: str, spec: NodeSpec, at: int, body: Body) -> None:
    step = [*spec.steps][at]
    place: KeyPath = draft.step(name, step)
    assert body.task is not None
    assert body.task.input_schema is not None
    fits(draft, place, spec.steps[step], body.task.input_schema, f"task `{body.task.id}`")
