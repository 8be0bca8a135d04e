"""The same work by hand on trio: what no engine on trio can be expected to beat.

`trio-tasks` starts a task for every node at once, and joins by events. `trio-ready` counts what a
node still waits for and starts its task when that is nothing. `trio-ready+scope` adds
`trio.fail_after` and one checkpoint for each attempt: what time limits and prompt cancellation cost
at least. None keeps a record of anything.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from benchmarks.shapes import Counter, Work

__all__ = ["FLOORS"]

Once = Callable[[], Awaitable[None]]

_LIMIT = 3600.0


async def _tasks(work: Work, once: Once) -> None:
    done = [trio.Event() for _ in work.needs]

    async def node(index: int) -> None:
        for need in work.needs[index]:
            await done[need].wait()
        for _ in range(work.calls[index]):
            await once()
        done[index].set()

    async with trio.open_nursery() as nursery:
        for index in range(len(done)):
            nursery.start_soon(node, index)


async def _ready(work: Work, once: Once) -> None:
    left = [len(needs) for needs in work.needs]
    targets: list[list[int]] = [[] for _ in left]
    for index, needs in enumerate(work.needs):
        for need in needs:
            targets[need].append(index)

    async def node(index: int) -> None:
        for _ in range(work.calls[index]):
            await once()
        for target in targets[index]:
            left[target] -= 1
            if not left[target]:
                nursery.start_soon(node, target)

    async with trio.open_nursery() as nursery:
        for index, needs in enumerate(work.needs):
            if not needs:
                nursery.start_soon(node, index)


def _body(counter: Counter) -> Once:
    async def body() -> None:
        counter.calls += 1

    return body


async def trio_tasks(work: Work, counter: Counter) -> None:
    """A task for each node from the start."""
    await _tasks(work, _body(counter))


async def trio_ready(work: Work, counter: Counter) -> None:
    """A task for a node when it is ready."""
    await _ready(work, _body(counter))


async def trio_ready_scope(work: Work, counter: Counter) -> None:
    """A task for a node when it is ready, a time limit and a checkpoint for each of its calls."""
    body = _body(counter)

    async def once() -> None:
        with trio.fail_after(_LIMIT):
            await trio.lowlevel.checkpoint()
            await body()

    await _ready(work, once)


FLOORS: Mapping[str, Callable[[Work, Counter], Awaitable[None]]] = {
    "trio-tasks": trio_tasks,
    "trio-ready": trio_ready,
    "trio-ready+scope": trio_ready_scope,
}
