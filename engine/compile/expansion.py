"""Expand nodes whose task is a class of several steps into nodes with those steps.

This happens before a document is compiled, so that all checks of machines apply to these too.
Source: docs/language.md, "Details".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import attrs

from engine.language.spec import NodeSpec, RouteSpec, Spec
from engine.sdk.imports import TaskError
from engine.sdk.registry import Registry
from engine.sdk.task import StateMachineTask

__all__ = ["expand_task_classes"]


def expand_task_classes(spec: Spec, registry: Registry) -> Spec:
    """Return the document with such nodes expanded; the document itself if it has none."""
    folder = Path(spec.source.path).parent
    known: dict[str, StateMachineTask | None] = {}
    tables = {"nodes": spec.nodes, "finally_": spec.finally_}
    changed = {
        table: {
            name: _expand_node(node, found)
            for name, node in nodes.items()
            if (found := _find_state_machine(node, registry, folder, known)) is not None
        }
        for table, nodes in tables.items()
    }
    new = {table: {**tables[table], **nodes} for table, nodes in changed.items() if nodes}
    return attrs.evolve(spec, **new) if new else spec  # type: ignore[arg-type]


def _find_state_machine(
    node: NodeSpec, registry: Registry, folder: Path, known: dict[str, StateMachineTask | None]
) -> StateMachineTask | None:
    task = next(iter(node.steps.values())).task if node.single else None
    if task is None:
        return None
    if task not in known:
        try:
            found = registry.find(task, folder)
        except TaskError:
            found = None  # reported where the task is resolved
        known[task] = found.machine if found else None
    return known[task]


def _expand_node(node: NodeSpec, state_machine: StateMachineTask) -> NodeSpec:
    [own] = node.steps.values()
    table = (
        state_machine.find_routes(own.with_) if state_machine.find_routes else state_machine.routes
    )
    steps = {
        name: attrs.evolve(
            own,
            task=f"{own.task}/{name}",
            routes={**routes, **_select_step_routes(own.routes, name, state_machine)},
            retry=(*own.retry, *retry),
        )
        for name, (routes, retry) in table.items()
    }
    return attrs.evolve(
        node, steps=steps, start=state_machine.start, single=False, from_task_class=True
    )


def _select_step_routes(
    routes: Mapping[str, RouteSpec], step: str, found: StateMachineTask
) -> dict[str, RouteSpec]:
    """Return the node's routes that apply to a step, without those for exits that only other steps have."""
    others = {exit for task in found.steps.values() for exit in task.exits}
    elsewhere = others - found.steps[step].exits.keys()
    return {exit: route for exit, route in routes.items() if exit not in elsewhere}
