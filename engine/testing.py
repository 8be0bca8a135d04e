"""Try a plan without its effects: scripted bodies under a virtual clock, everything else real.

A script maps `"node/step"` (in a sub-pipeline with the parent's `"node/step/"` before it) to a list of ends, one an attempt, the last
repeats; what is not in it ends with exit 0 after a second. Of a fan-out `"node/step"` serves each item by itself, and
`"node[3]/step"` before it that one. Source: LANGUAGE.md sections 2 to 9; FEATURES.md 74.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Literal

import attrs

from engine.diagnostics import nearest
from engine.durations import whole
from engine.errors import InputError
from engine.events import Event
from engine.plan import Body, Node, Plan
from engine.result import ABSENT, Outcome, Result
from engine.scheduler import LiveAttempt
from engine.source import Source

__all__ = ["Ending", "Ran", "Script", "parse_script", "run_task", "simulate"]

_KEYS = {"exit", "outcome", "duration", "output", "message", "permanent", "retry_after"}


@attrs.frozen
class Ending:
    """How one scripted attempt ends, `duration` seconds after its start: an exit code, `error`, `interrupted`, or never."""

    outcome: int | Literal["error", "interrupted", "hang"] = 0
    duration: float = 1.0
    output: Any = None
    message: str = "scripted error"
    permanent: bool = False
    retry_after: float | None = None


Script = Mapping[str, Sequence[Ending]]


def parse_script(data: Any, plan: Plan) -> Script:
    """The script in JSON data; InputError lists everything that is wrong with it."""
    if not isinstance(data, dict):
        raise InputError(("a script is an object from `node/step` to a list of ends",))
    known = dict(_paths(plan, ""))
    fans = set(_fans(plan, ""))
    problems: list[str] = []
    script: dict[str, tuple[Ending, ...]] = {}
    for written, endings in data.items():
        path = _INDEX.sub("", written)
        problems += (f"`{node}` is no fan-out: it has no items" for node in _listed(written) - fans)
        if any(step.startswith(f"{path}/") for step in known):
            inner = next(step for step in known if step.startswith(f"{path}/"))
            # Names go by twos, node and step: what has an odd number of them is a node.
            what = "a sub-pipeline" if path.count("/") % 2 else "a node"
            problems.append(f"`{path}` is {what}: script its steps, such as `{inner}`")
        elif path not in known:
            guess = nearest(path, known)
            problems.append(
                f"there is no step `{path}`" + (f", did you mean `{guess}`?" if guess else "")
            )
        elif not isinstance(endings, list) or not endings:
            problems.append(f"`{path}`: expected a list with at least one end")
        else:
            script[written] = tuple(
                _ending(written, index, entry, problems) for index, entry in enumerate(endings)
            )
            broken = any(ending.outcome == "interrupted" for ending in script[written])
            if broken and known[path].on_interrupt != "route":
                problems.append(f'`{written}` does not say `on_interrupt = "route"`')
            task = known[path].task
            asks = any(ending.retry_after is not None for ending in script[written])
            if task is not None and asks and not task.may_ask:
                problems.append(
                    f"`{path}`: task `{task.id}` never asks for a wait: no `retry_after`"
                )
    if problems:
        raise InputError(tuple(problems))
    return script


def _paths(plan: Plan, prefix: str) -> Iterator[tuple[str, Body]]:
    for node in plan.known.values():
        for step, body in zip(node.machine.steps, node.bodies, strict=True):
            path = f"{prefix}{node.name}/{step.name}"
            if body.plan is None:
                yield path, body
            else:
                yield from _paths(body.plan, f"{path}/")


def _fans(plan: Plan, prefix: str) -> Iterator[str]:
    """The paths of all fan-outs."""
    for node in plan.known.values():
        if node.fan is not None:
            yield f"{prefix}{node.name}"
        for step, body in zip(node.machine.steps, node.bodies, strict=True):
            if body.plan is not None:
                yield from _fans(body.plan, f"{prefix}{node.name}/{step.name}/")


_INDEX = re.compile(r"\[[0-9]+\](?=/|$)")


def _listed(path: str) -> set[str]:
    """The nodes of which a path names an item."""
    return {_INDEX.sub("", path[: found.start()]) for found in _INDEX.finditer(path)}


def _ending(path: str, index: int, entry: Any, problems: list[str]) -> Ending:
    where = f"`{path}`, end {index + 1}"
    if not isinstance(entry, dict):
        problems.append(f"{where}: expected an object")
        return Ending()
    for key in entry:
        if key not in _KEYS:
            guess = nearest(key, _KEYS)
            problems.append(
                f"{where}: unknown key `{key}`" + (f", did you mean `{guess}`?" if guess else "")
            )
    outcome = _outcome(entry, where, problems)
    duration = _seconds(entry, "duration", 1.0, where, problems)
    asked = _seconds(entry, "retry_after", None, where, problems)
    message, permanent = entry.get("message", "scripted error"), entry.get("permanent", False)
    if not isinstance(message, str) or not isinstance(permanent, bool):
        problems.append(f"{where}: `message` is a string, `permanent` true or false")
    return Ending(outcome, duration or 0.0, entry.get("output"), message, permanent, asked)


def _outcome(entry: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    code, word = entry.get("exit", 0), entry.get("outcome")
    if "exit" in entry and "outcome" in entry:
        problems.append(f"{where}: `exit` and `outcome` exclude each other")
    elif "outcome" in entry and "output" in entry:
        problems.append(f"{where}: `output` goes with an exit, not with `outcome`")
    if type(code) is not int or not 0 <= code <= 255:
        problems.append(f"{where}: `exit` is a code from 0 to 255")
    if "outcome" in entry and word not in ("error", "interrupted", "hang"):
        problems.append(f'{where}: `outcome` is "error", "interrupted" or "hang"')
    return code if word is None else word


def _seconds(
    entry: Mapping[str, Any], key: str, default: float | None, where: str, problems: list[str]
) -> float | None:
    value = entry.get(key, default)
    if value is not None and (type(value) not in (int, float) or not 0 <= value < 1e9):
        problems.append(f"{where}: `{key}` is a number of seconds, 0 or more")
        return default
    return None if value is None else float(value)


def scripted(script: Script) -> Callable[[LiveAttempt], Any]:
    """Bodies that do what the script says, by trio's clock."""
    used: dict[str, int] = {}

    async def perform(attempt: LiveAttempt) -> Outcome:
        import trio

        ending = _next(script, used, attempt.path)
        if ending.outcome == "hang":
            await trio.sleep_forever()
        # times are whole nanoseconds, as the scheduler's are, so that what is due at one instant is
        await trio.sleep_until(whole(trio.current_time() + ending.duration))
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


def _next(script: Script, used: dict[str, int], path: str) -> Ending:
    endings = next((script[each] for each in addresses(path) if each in script), (Ending(),))
    count = used.get(path, 0)
    used[path] = count + 1
    return endings[min(count, len(endings) - 1)]


def addresses(path: str) -> Iterator[str]:
    """How a script may call the path of an attempt: its items, then some, then all items of a node."""
    yield path
    if "[" in path:
        parts = [(part, _INDEX.sub("", part)) for part in path.split("/")]
        yield from ("/".join(each) for each in product(*parts))


def _placeholders(names: Mapping[str, bool], known: Mapping[str, str], form: str) -> dict[str, str]:
    """The variables or secrets that must be set; one that is not stands for itself, in a text that
    is long enough to be hidden."""
    return {name: known.get(name, form.format(name)) for name, needed in names.items() if needed}


def simulate(
    plan: Plan,
    script: Script | None = None,
    inputs: Mapping[str, Any] | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
    seed: int | str = 0,
    cancel_at: float | None = None,
) -> Result:
    """Run a plan with scripted bodies under a virtual clock; blocks for milliseconds, whatever the times in it.

    `cancel_at` asks for cancellation at that many seconds. Raises InputError for inputs that do not fit, EngineError for a run that
    could never end.
    """
    import os

    import trio
    from trio.testing import MockClock

    from engine.runtime.options import Options
    from engine.runtime.runs import open_run

    options = Options(
        env=_placeholders(plan.env, os.environ, "<{}>"),
        secrets=_placeholders(plan.secrets, {}, "<secret {}>"),
        run_id="simulation",
        seed=seed,
        on_event=on_event,
        perform=scripted(script or {}),
        exact=True,
    )

    async def main() -> Result:
        async with open_run(plan, inputs, options) as run:
            if cancel_at is not None:
                await trio.sleep_until(cancel_at)
                run.cancel("the simulation's caller asked")
            return await run.result()

    result = trio.run(main, clock=MockClock(autojump_threshold=0))
    return _explained(plan, result, script or {}, "")


_NULL = re.compile(r"null `(?:steps\.)?(?P<name>\w+)` has no (?:field `[^`]*`|item \d+)")


def _explained(plan: Plan, result: Result, script: Script, prefix: str) -> Result:
    """The result; where an output was read that the script does not give, its message says so."""
    nodes = {}
    for name, node in result.nodes.items():
        children = _children(plan.known[name])
        inner = f"{prefix}{name}/"

        def told(text: str, own: str = inner) -> str:
            return _with_cause(plan, text, script, prefix, own)

        for attempt in node.ran():
            attempt.error = None if attempt.error is None else told(attempt.error)
            if attempt.run is not None:
                child, within = children[attempt.step], f"{inner}{attempt.step}/"
                attempt.run = _explained(child, attempt.run, script, within)
        reason = attrs.evolve(node.reason, message=told(node.reason.message))
        items = node.items and tuple(
            attrs.evolve(i, reason=attrs.evolve(i.reason, message=told(i.reason.message)))
            for i in node.items
        )
        nodes[name] = attrs.evolve(node, reason=reason, items=items)
    message = _with_cause(plan, result.message, script, prefix, "")
    return attrs.evolve(result, nodes=nodes, message=message)


def _children(node: Node) -> dict[str, Plan]:
    """The sub-pipelines of a node's steps."""
    bodies = zip(node.machine.steps, node.bodies, strict=True)
    return {step.name: body.plan for step, body in bodies if body.plan is not None}


def _with_cause(plan: Plan, text: str, script: Script, prefix: str, own: str) -> str:
    found = _NULL.search(text)
    if found is None or "the script gives" in text:
        return text
    name = found["name"]
    node = plan.known.get(name)
    last = f"{prefix}{name}/{node.machine.steps[0].name}" if node else f"{own}{name}"
    if any(_INDEX.sub("", path) == last for path in script):
        return text
    return f"{text[: found.end()]}: the script gives `{last}` no output{text[found.end() :]}"


@attrs.frozen
class Ran:
    """How a task ended: its exit `code` (None for the outcome `error`), what that is called, its output, why it is an
    error, and the lines of progress it told."""

    code: int | None
    label: str | None
    output: Any
    error: str | None
    notes: tuple[str, ...]


def run_task(
    task: object,
    inputs: Mapping[str, Any] | None = None,
    *,
    folder: str = ".",
    secrets: Mapping[str, str] | None = None,
) -> Ran:
    """Run one task once, for real, under a clock that jumps over waits: what `@task` declared, a class, a `Task`, or an id.

    Inputs and output are checked as in a run. Raises SpecError for inputs that its schema refuses. Blocks.
    """
    import tomli_w
    import trio
    from trio.testing import MockClock

    from engine.api import load_plan  # it stands on this module, which tests begin with
    from engine.functions import as_task
    from engine.runtime.options import Options
    from engine.runtime.runs import run_plan

    own = None if isinstance(task, str) else as_task(task)
    node = {"task": task if own is None else own.id, "with": _literal(dict(inputs or {}))}
    if own is not None and own.executor == "process":
        node["executor"] = "thread"  # a process need not find what only the tests' paths have
    text = tomli_w.dumps({"engine": 1, "nodes": {"task": node}})
    source = Source(Path(folder) / "test.toml", text)
    plan = load_plan(source, tasks=() if own is None else (own,))
    notes: list[str] = []

    def hear(event: Event) -> None:
        if event.kind == "attempt_noted":
            notes.append(event.data["message"])

    options = Options(secrets=secrets or {}, on_event=hear)
    clock = MockClock(autojump_threshold=0.05)
    result = trio.run(run_plan, plan, None, options, clock=clock)
    found = result.nodes["task"]
    attempt = found.attempts[-1]  # of a class of several steps: that of its last one
    code = attempt.outcome if isinstance(attempt.outcome, int) else None
    output = None if found.output is ABSENT else found.output
    return Ran(code, found.label, output, attempt.error, tuple(notes))


def _literal(value: Any) -> Any:
    """A value in which nothing is an expression; null is none of TOML's, and is left out of tables."""
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    return value.replace("${", "$${") if isinstance(value, str) else value
