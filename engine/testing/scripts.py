"""Scripts of simulations: how each attempt ends, read from a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import attrs

from engine.base.suggestions import closest_match
from engine.errors import InputError
from engine.plan.plan import Plan, StepBody

__all__ = ["Script", "ScriptedEnd", "iter_script_keys", "parse_script"]

_END_KEYS = {"exit", "outcome", "duration", "output", "message", "permanent", "retry_after"}


@attrs.frozen
class ScriptedEnd:
    """The scripted end of one attempt, `duration` seconds after its start.

    `outcome` is an exit code, `"error"`, `"interrupted"`, or `"hang"` for an attempt that never ends.
    """

    outcome: int | Literal["error", "interrupted", "hang"] = 0
    duration: float = 1.0
    output: Any = None
    message: str = "scripted error"
    permanent: bool = False
    retry_after: float | None = None


Script = Mapping[str, Sequence[ScriptedEnd]]


def parse_script(data: Any, plan: Plan) -> Script:
    """Return the script in JSON data.

    Raises InputError, which lists everything that is wrong with it.
    """
    if not isinstance(data, dict):
        raise InputError(("a script must be an object that maps `node/step` to a list of ends",))
    known = dict(_iter_step_paths(plan, ""))
    fans = set(_iter_fan_out_paths(plan, ""))
    problems: list[str] = []
    script: dict[str, tuple[ScriptedEnd, ...]] = {}
    for written, endings in data.items():
        path = _ITEM_INDEX.sub("", written)
        problems += (
            f"`{node}` is not a fan-out: it has no items"
            for node in _find_indexed_nodes(written) - fans
        )
        if any(step.startswith(f"{path}/") for step in known):
            inner = next(step for step in known if step.startswith(f"{path}/"))
            # Names go by twos, node and step: what has an odd number of them is a node.
            what = "a sub-pipeline" if path.count("/") % 2 else "a node"
            problems.append(f"`{path}` is {what}: script its steps, such as `{inner}`")
        elif path not in known:
            guess = closest_match(path, known)
            problems.append(
                f"there is no step `{path}`" + (f", did you mean `{guess}`?" if guess else "")
            )
        elif not isinstance(endings, list) or not endings:
            problems.append(f"`{path}`: expected a list with at least one end")
        else:
            script[written] = tuple(
                _parse_end(written, index, entry, problems) for index, entry in enumerate(endings)
            )
            broken = any(ending.outcome == "interrupted" for ending in script[written])
            if broken and known[path].on_interrupt != "route":
                problems.append(f'`{written}` does not set `on_interrupt = "route"`')
            task = known[path].task
            asks = any(ending.retry_after is not None for ending in script[written])
            if task is not None and asks and not task.may_request_delay:
                problems.append(
                    f"`{path}`: task `{task.id}` does not support `retry_after`: it never asks for a wait"
                )
    if problems:
        raise InputError(tuple(problems))
    return script


def _iter_step_paths(plan: Plan, prefix: str) -> Iterator[tuple[str, StepBody]]:
    for node in plan.nodes_by_name.values():
        for step, body in zip(node.step_names, node.bodies, strict=True):
            path = f"{prefix}{node.name}/{step}"
            if body.plan is None:
                yield path, body
            else:
                yield from _iter_step_paths(body.plan, f"{path}/")


def _iter_fan_out_paths(plan: Plan, prefix: str) -> Iterator[str]:
    """Yield the paths of all fan-out nodes, those of sub-pipelines included."""
    for node in plan.nodes_by_name.values():
        if node.fan is not None:
            yield f"{prefix}{node.name}"
        for step, body in zip(node.step_names, node.bodies, strict=True):
            if body.plan is not None:
                yield from _iter_fan_out_paths(body.plan, f"{prefix}{node.name}/{step}/")


_ITEM_INDEX = re.compile(r"\[[0-9]+\](?=/|$)")


def _find_indexed_nodes(path: str) -> set[str]:
    """Return the nodes of which a path names an item."""
    return {_ITEM_INDEX.sub("", path[: found.start()]) for found in _ITEM_INDEX.finditer(path)}


def _parse_end(path: str, index: int, entry: Any, problems: list[str]) -> ScriptedEnd:
    where = f"`{path}`, end {index + 1}"
    if not isinstance(entry, dict):
        problems.append(f"{where}: expected an object")
        return ScriptedEnd()
    for key in entry:
        if key not in _END_KEYS:
            guess = closest_match(key, _END_KEYS)
            problems.append(
                f"{where}: unknown key `{key}`" + (f", did you mean `{guess}`?" if guess else "")
            )
    outcome = _parse_outcome(entry, where, problems)
    duration = _parse_seconds(entry, "duration", 1.0, where, problems)
    asked = _parse_seconds(entry, "retry_after", None, where, problems)
    message, permanent = entry.get("message", "scripted error"), entry.get("permanent", False)
    if not isinstance(message, str) or not isinstance(permanent, bool):
        problems.append(f"{where}: `message` must be a string, `permanent` must be true or false")
    return ScriptedEnd(outcome, duration or 0.0, entry.get("output"), message, permanent, asked)


def _parse_outcome(entry: Mapping[str, Any], location: str, problems: list[str]) -> Any:
    code, word = entry.get("exit", 0), entry.get("outcome")
    if "exit" in entry and "outcome" in entry:
        problems.append(f"{location}: `exit` and `outcome` exclude each other")
    elif "outcome" in entry and "output" in entry:
        problems.append(f"{location}: `output` goes with an exit, not with `outcome`")
    if type(code) is not int or not 0 <= code <= 255:
        problems.append(f"{location}: `exit` must be a code from 0 to 255")
    if "outcome" in entry and word not in ("error", "interrupted", "hang"):
        problems.append(f'{location}: `outcome` must be "error", "interrupted" or "hang"')
    return code if word is None else word


def _parse_seconds(
    entry: Mapping[str, Any], key: str, default: float | None, location: str, problems: list[str]
) -> float | None:
    value = entry.get(key, default)
    if value is not None and (type(value) not in (int, float) or not 0 <= value < 1e9):
        problems.append(f"{location}: `{key}` must be a number of seconds, 0 or more")
        return default
    return None if value is None else float(value)


def iter_script_keys(path: str) -> Iterator[str]:
    """Yield the script keys that match the path of an attempt, the most specific first.

    First with all item indexes, then with some, then with none.
    """
    yield path
    if "[" in path:
        parts = [(part, _ITEM_INDEX.sub("", part)) for part in path.split("/")]
        yield from ("/".join(each) for each in product(*parts))


def _fill_placeholders(
    names: Mapping[str, bool], variables: Mapping[str, str], pattern: str
) -> dict[str, str]:
    """Return the required variables or secrets; one that is not set gets a placeholder.

    The placeholder is long enough to be redacted.
    """
    return {
        name: variables.get(name, pattern.format(name)) for name, needed in names.items() if needed
    }
