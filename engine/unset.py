"""Where a plan reads a name of `env` or `secrets`, for whoever is told that it is not set."""

from __future__ import annotations

from collections.abc import Iterator

from engine.expressions import Template
from engine.plan import Plan
from engine.source import KeyPath

__all__ = ["place"]


def place(plan: Plan, root: str, name: str) -> str | None:
    """`file:line` of the first place that reads `root.name`, here or inside."""
    for part in plan.within():
        source = part.spec.source
        for path, template in _templates(part):
            for read in template.reads:
                if read.path[:2] == (root, name):
                    span = source.within((*path, *read.at), read.start, read.end)
                    return f"{source.path}:{span.line}"
    return None


def _templates(plan: Plan) -> Iterator[tuple[KeyPath, Template]]:
    """Every template, and the key path of what it was made of."""
    for node in plan.nodes:
        for at, key, made in node.templates():
            step = None if at is None else node.machine.steps[at].name
            yield (*plan.place(node, step), key), made
    if plan.outputs is not None:
        yield (*plan.spec.at, "outputs"), plan.outputs
