"""Where a plan reads a name of `env` or `secrets`, for whoever is told that it is not set."""

from __future__ import annotations

from collections.abc import Iterator

from engine.expressions import Template
from engine.plan import Plan
from engine.source import KeyPath

__all__ = ["place"]


def place(plan: Plan, root: str, name: str) -> str | None:
    """`file:line` of the first place that reads `root.name`, here or in sub-pipelines."""
    source = plan.spec.source
    for path, template in _templates(plan):
        for read in template.reads:
            if read.path[:2] == (root, name):
                span = source.within((*path, *read.at), read.start, read.end)
                return f"{source.path}:{span.line}"
    inner = (place(child, root, name) for child in _children(plan))
    return next(filter(None, inner), None)


def _templates(plan: Plan) -> Iterator[tuple[KeyPath, Template]]:
    """Every template, and the key path of what it was made of."""
    for node in plan.nodes:
        items = node.fan.items if node.fan else None
        for key, made in (("when", node.when), ("for_each", items), ("outputs", node.outputs)):
            if made is not None:
                yield (*plan.place(node), key), made
        for step, body in zip(node.machine.steps, node.bodies, strict=True):
            yield (*plan.place(node, step.name), "with"), body.with_
    if plan.outputs is not None:
        yield (*plan.spec.at, "outputs"), plan.outputs


def _children(plan: Plan) -> Iterator[Plan]:
    for node in plan.nodes:
        for body in node.bodies:
            if body.plan is not None:
                yield body.plan
