"""Test a plan without its side effects: scripted bodies under a virtual clock, everything else real.

A script maps `"node/step"` (in a sub-pipeline after the parent's `"node/step/"`) to a list of ends, one for
each attempt; the last one repeats. A step that is not in the script ends with exit 0 after one second. In a
fan-out `"node/step"` serves each item separately, and `"node[3]/step"` takes precedence for that item.
Source: docs/language.md, "Nodes and steps", "Outcomes", "Fan-out".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from engine.base.durations import round_to_nanoseconds
from engine.plan.plan import Node, Plan
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.scheduling.scheduler import AttemptState
from engine.testing.scripts import (
    _ITEM_INDEX,
    Script,
    ScriptedEnd,
    _fill_placeholders,
    iter_script_keys,
)

__all__ = ["simulate"]


def build_scripted_bodies(script: Script) -> Callable[[AttemptState], Any]:
    """Return a function that performs attempts as the script says, by trio's clock."""
    used: dict[str, int] = {}

    async def perform(attempt: AttemptState) -> Outcome:
        import trio

        ending = _take_next_end(script, used, attempt.path)
        if ending.outcome == "hang":
            await trio.sleep_forever()
        # times are whole nanoseconds, as the scheduler's are, so that what is due at one instant is
        await trio.sleep_until(round_to_nanoseconds(trio.current_time() + ending.duration))
        if ending.outcome == "error":
            return Outcome(
                "error",
                error=ending.message,
                permanent=ending.permanent,
                retry_after=ending.retry_after,
            )
        if ending.outcome == "interrupted":
            return Outcome("interrupted", error=ending.message)
        assert isinstance(ending.outcome, int)
        return Outcome(ending.outcome, ending.output, None, ending.permanent, ending.retry_after)

    return perform


def _take_next_end(script: Script, used: dict[str, int], path: str) -> ScriptedEnd:
    endings = next(
        (script[each] for each in iter_script_keys(path) if each in script), (ScriptedEnd(),)
    )
    count = used.get(path, 0)
    used[path] = count + 1
    return endings[min(count, len(endings) - 1)]


def simulate(
    plan: Plan,
    script: Script | None = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    seed: int | str = 0,
    cancel_at: float | None = None,
) -> Result:
    """Run a plan with scripted bodies under a virtual clock.

    Blocks for milliseconds, however long the scripted durations are. `cancel_at` requests cancellation after that many seconds.
    Raises InputError for inputs that do not match the schema, and EngineError for a run that could never end.
    """
    import os

    import trio
    from trio.testing import MockClock

    from engine.runtime.options import Options
    from engine.runtime.trio_runs import open_run

    options = Options(
        env=_fill_placeholders(plan.env, os.environ, "<{}>"),
        secrets=_fill_placeholders(plan.secrets, {}, "<secret {}>"),
        run_id="simulation",
        seed=seed,
        on_event=on_event,
        perform=build_scripted_bodies(script or {}),
        exact=True,
    )

    async def main() -> Result:
        async with open_run(plan, inputs, options) as run:
            if cancel_at is not None:
                await trio.sleep_until(cancel_at)
                run.cancel("the caller of the simulation asked for it")
            return await run.result()

    result = trio.run(main, clock=MockClock(autojump_threshold=0))
    return _explain_missing_outputs(plan, result, script or {}, "")


_READ_OF_NULL = re.compile(r"null `(?:steps\.)?(?P<name>\w+)` has no (?:field `[^`]*`|item \d+)")


def _explain_missing_outputs(plan: Plan, result: Result, script: Script, prefix: str) -> Result:
    """Return the result with a cause added to each message about an output that the script does not give."""
    nodes = {}
    for name, node in result.nodes.items():
        children = _find_sub_pipelines(plan.nodes_by_name[name])
        inner = f"{prefix}{name}/"

        def explain(text: str, own: str = inner) -> str:
            return _add_cause(plan, text, script, prefix, own)

        for attempt in node.all_attempts():
            attempt.error = None if attempt.error is None else explain(attempt.error)
            if attempt.run is not None:
                child, within = children[attempt.step], f"{inner}{attempt.step}/"
                attempt.run = _explain_missing_outputs(child, attempt.run, script, within)
        reason = attrs.evolve(node.reason, message=explain(node.reason.message))
        items = node.items and tuple(
            attrs.evolve(i, reason=attrs.evolve(i.reason, message=explain(i.reason.message)))
            for i in node.items
        )
        nodes[name] = attrs.evolve(node, reason=reason, items=items)
    message = _add_cause(plan, result.message, script, prefix, "")
    return attrs.evolve(result, nodes=nodes, message=message)


def _find_sub_pipelines(node: Node) -> dict[str, Plan]:
    """Return the sub-pipelines of a node by step."""
    bodies = zip(node.step_names, node.bodies, strict=True)
    return {name: body.plan for name, body in bodies if body.plan is not None}


def _add_cause(plan: Plan, text: str, script: Script, prefix: str, node_prefix: str) -> str:
    found = _READ_OF_NULL.search(text)
    if found is None or "the script gives" in text:
        return text
    name = found["name"]
    node = plan.nodes_by_name.get(name)
    last = f"{prefix}{name}/{node.name_of(0)}" if node else f"{node_prefix}{name}"
    if any(_ITEM_INDEX.sub("", path) == last for path in script):
        return text
    return f"{text[: found.end()]}: the script sets no output for `{last}`{text[found.end() :]}"
