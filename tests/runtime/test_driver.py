"""The runner as it is outside of simulations: bodies of one task follow each other, and are stopped at any moment."""

from __future__ import annotations

from random import Random
from typing import Any

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run
from engine.scheduling.scheduler import AttemptState
from tests.support.plans import plan_of

Doc = dict[str, Any]


def pipeline(random: Random) -> Doc:
    """A few nodes in any order, with timeouts, retries, fan-outs and a limit."""
    nodes: Doc = {}
    for at in range(random.randint(1, 10)):
        earlier = [name for name in nodes if random.random() < 0.2]
        node: Doc = {"task": "shell", "needs": {}}
        node["needs"] = {name: random.choice(["success", "finished", "always"]) for name in earlier}
        if random.random() < 0.3:
            node["timeout"] = "10ms"
        if random.random() < 0.3:
            node["retry"] = {"attempts": random.randint(2, 4), "on": ["*"]}
        if random.random() < 0.2:
            node |= {"for_each": [1, 2, 3], "max_parallel": random.randint(1, 3)}
        nodes[f"n{at}"] = node
    policy = random.choice(["finish", "cancel"])
    return {
        "engine": 1,
        "pipeline": {"max_parallel": random.randint(1, 4), "on_failure": policy},
        "nodes": nodes,
        "finally": {"z": {"task": "shell"}} if random.random() < 0.3 else {},
    }


async def ran(random: Random, doc: Doc) -> tuple[Result, list[Event], list[str]]:
    """A run of which nodes, or all of it, are cancelled at odd moments; its events, and the bodies that are left."""
    events: list[Event] = []
    inside: list[str] = []

    async def perform(attempt: AttemptState) -> Outcome:
        assert attempt.key not in inside
        inside.append(attempt.key)
        try:
            with trio.CancelScope(shield=random.random() < 0.2):  # it may end well all the same
                await trio.sleep(random.choice([0, 0, 0.001, 0.003, 0.02]))
            return Outcome(random.choice([0, 0, 0, 1]))
        finally:
            inside.remove(attempt.key)

    options = Options(perform=perform, on_event=events.append)
    async with open_run(plan_of(doc), {}, options) as run:
        for _ in range(random.randint(0, 5)):
            await trio.sleep(random.choice([0, 0.001, 0.002, 0.005]))
            if random.random() < 0.85:
                run.cancel("one", node=random.choice([*doc["nodes"]]))
            else:
                run.cancel("all")
        result = await run.result()
    return result, events, inside


@settings(max_examples=300)
@given(st.integers(0, 2**32))
def test_whatever_is_cancelled_each_attempt_that_began_has_its_end(seed: int) -> None:
    random = Random(seed)
    doc = pipeline(random)
    result, events, inside = trio.run(ran, random, doc, clock=MockClock(autojump_threshold=0))
    assert inside == []
    begun, ended = (
        [event.path for event in events if event.kind == kind]
        for kind in ("attempt_started", "attempt_ended")
    )
    assert sorted(begun) == sorted(ended)
    ends = {"succeeded", "failed", "skipped", "cancelled"}
    assert {node.result for node in result.nodes.values()} <= ends
    for node in result.nodes.values():
        for attempt in node.all_attempts():  # none was stopped in the place of another
            assert attempt.error != "the task ended without a result"
