"""Shapes of pipelines, each both as plain work for the floors and as a spec for the engine.

A shape of size N has about N nodes (`route`: N steps), whose bodies do nothing but bump a counter.
What counts for "per node" is `Work.units`, the exact number.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from math import isqrt
from typing import Any

import attrs

from engine.sdk.context import Context, Exit
from engine.sdk.registry import Registry
from engine.sdk.task import Task

__all__ = ["SHAPES", "Counter", "Work", "document", "registry"]

TRIES = 3
"""Attempts of each node of `retry`; all but the last fail."""
ROUNDS = 1000
"""How often a route may be taken at most: docs/language.md, "Routes"."""
RING = ("draft", "review", "polish")
"""The steps of `route`, in a ring."""
_SEED = 20


@attrs.frozen(eq=False)
class Work:
    """What is to be done: node i waits for `needs[i]`, then its body is called `calls[i]` times.

    `units` is what costs are divided by: nodes, or in `route` steps.
    """

    needs: tuple[tuple[int, ...], ...]
    calls: tuple[int, ...]
    units: int
    node: Callable[[int], dict[str, Any]]
    """The body of a node's table, by its number of calls."""
    items: bool = False
    """Whether the nodes are the items of one in the spec."""

    @property
    def total(self) -> int:
        """Calls of bodies in a whole run."""
        return sum(self.calls)


@attrs.define
class Counter:
    """How often bodies were called."""

    calls: int = 0


def chain(size: int) -> Work:
    """N nodes in a row."""
    return _plain(_row(size))


def fan(size: int) -> Work:
    """One node, N that wait for it, one that waits for these."""
    between = ((0,) for _ in range(size))
    return _plain(((), *between, tuple(range(1, size + 1))))


def layers(size: int) -> Work:
    """isqrt(N) rows of isqrt(N) nodes; each waits for 2 or 3 of the row before."""
    width, draw = isqrt(size), random.Random(_SEED)
    needs: list[tuple[int, ...]] = [()] * width
    for row in range(1, width):
        before = range((row - 1) * width, row * width)
        needs += [_some(draw, before) for _ in range(width)]
    return _plain(tuple(needs))


def retry(size: int) -> Work:
    """N nodes in a row, each of which fails twice."""
    return Work(_row(size), (TRIES,) * size, size, _tried)


def route(size: int) -> Work:
    """N steps around a ring of three, in as few nodes in a row as `max` allows."""
    most = len(RING) * (ROUNDS + 1)
    rest = size % most
    calls = (most,) * (size // most) + ((rest,) if rest else ())
    return Work(_row(len(calls)), calls, size, _ring)


def items(size: int) -> Work:
    """One node for each of N items."""
    return attrs.evolve(_plain(((),) * size), items=True)


SHAPES: Mapping[str, Callable[[int], Work]] = {
    "chain": chain,
    "fan": fan,
    "layers": layers,
    "retry": retry,
    "route": route,
    "items": items,
}


def document(work: Work) -> dict[str, Any]:
    """The work as a spec."""
    if work.items:
        node = work.node(1) | {"for_each": [0] * len(work.calls)}
        return {"engine": 1, "nodes": {"n0": node}}
    nodes = {}
    for index, (needs, calls) in enumerate(zip(work.needs, work.calls, strict=True)):
        table = work.node(calls)
        nodes[f"n{index}"] = table | {"needs": [f"n{need}" for need in needs]} if needs else table
    return {"engine": 1, "nodes": nodes}


def registry(counter: Counter) -> Registry:
    """The two tasks of all shapes, `count` and `third`, which fails but for its third attempt."""

    async def count(inputs: dict[str, Any], context: Context) -> None:
        counter.calls += 1

    async def third(inputs: dict[str, Any], context: Context) -> Exit:
        counter.calls += 1
        return Exit(0 if context.attempt == TRIES else 1)

    tasks = (
        Task("count", count),
        Task("third", third, exits={"success": 0, "failure": 1}),
    )
    found = Registry(entry_points=False)
    for task in tasks:
        found.register(task)
    return found


# -- parts -----------------------------------------------------------------------------------------


def _plain(needs: tuple[tuple[int, ...], ...]) -> Work:
    return Work(needs, (1,) * len(needs), len(needs), lambda calls: {"task": "count"})


def _row(size: int) -> tuple[tuple[int, ...], ...]:
    return tuple((index - 1,) if index else () for index in range(size))


def _some(draw: random.Random, before: range) -> tuple[int, ...]:
    count = min(draw.choice((2, 3)), len(before))
    return tuple(sorted(draw.sample(before, count)))


def _tried(calls: int) -> dict[str, Any]:
    return {"task": "third", "retry": {"attempts": calls}}


def _ring(calls: int) -> dict[str, Any]:
    """A ring, entered so that its bounded route is used up after `calls` steps."""
    first, second, last = RING
    rounds, partial = divmod(calls - 1, len(RING))
    back = {"to": first, "max": rounds, "then": "done"} if rounds else "done"
    targets: dict[str, Any] = {first: second, second: last, last: back}
    steps = {name: {"task": "count", "routes": {"success": to}} for name, to in targets.items()}
    return {"start": RING[-1 - partial], "steps": steps}
