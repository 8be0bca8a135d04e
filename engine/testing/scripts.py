"""Scripts of simulations: how each attempt ends, read from a table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

import attrs

from engine.base.suggestions import nearest
from engine.errors import InputError
from engine.plan.plan import Body, Plan

__all__ = ["Ending", "Script", "addresses", "parse_script"]

_KEYS = {"exit", "outcome", "duration", "output", "message", "permanent", "retry_after"}


@attrs.frozen
class Ending:
    """The scripted end of one attempt, `duration` seconds after its start.

    `outcome` is an exit code, `"error"`, `"interrupted"`, or `"hang"` for an attempt that never ends.
    """

    outcome: int | Literal["error", "interrupted", "hang"] = 0
    duration: float = 1.0
    output: Any = None
    message: str = "scripted error"
    permanent: bool = False
    retry_after: float | None = None


Script = Mapping[str, Sequence[Ending]]


def parse_script(data: Any, plan: Plan) -> Script:
    """Return the script in JSON data.

    Raises InputError, which lists everything that is wrong with it.
    """
    if not isinstance(data, dict):
        raise InputError(("a script must be an object that maps `node/step` to a list of ends",))
    known = dict(_paths(plan, ""))
    fans = set(_fans(plan, ""))
    problems: list[str] = []
    script: dict[str, tuple[Ending, ...]] = {}
    for written, endings in data.items():
        path = _INDEX.sub("", written)
        problems += (
            f"`{node}` is not a fan-out: it has no items" for node in _listed(written) - fans
        )
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
                problems.append(f'`{written}` does not set `on_interrupt = "route"`')
            task = known[path].task
            asks = any(ending.retry_after is not None for ending in script[written])
            if task is not None and asks and not task.may_ask:
                problems.append(
                    f"`{path}`: task `{task.id}` does not support `retry_after`: it never asks for a wait"
                )
    if problems:
        raise InputError(tuple(problems))
    return script


def _paths(plan: Plan, prefix: str) -> Iterator[tuple[str, Body]]:
    for node in plan.known.values():
        for step, body in zip(node.step_names, node.bodies, strict=True):
            path = f"{prefix}{node.name}/{step}"
            if body.plan is None:
                yield path, body
            else:
                yield from _paths(body.plan, f"{path}/")


def _fans(plan: Plan, prefix: str) -> Iterator[str]:
    """Yield the paths of all fan-out nodes, those of sub-pipelines included."""
    for node in plan.known.values():
        if node.fan is not None:
            yield f"{prefix}{node.name}"
        for step, body in zip(node.step_names, node.bodies, strict=True):
            if body.plan is not None:
                yield from _fans(body.plan, f"{prefix}{node.name}/{step}/")


_INDEX = re.compile(r"\[[0-9]+\](?=/|$)")


def _listed(path: str) -> set[str]:
    """Return the nodes of which a path names an item."""
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
        problems.append(f"{where}: `message` must be a string, `permanent` must be true or false")
    return Ending(outcome, duration or 0.0, entry.get("output"), message, permanent, asked)


def _outcome(entry: Mapping[str, Any], where: str, problems: list[str]) -> Any:
    code, word = entry.get("exit", 0), entry.get("outcome")
    if "exit" in entry and "outcome" in entry:
        problems.append(f"{where}: `exit` and `outcome` exclude each other")
    elif "outcome" in entry and "output" in entry:
        problems.append(f"{where}: `output` goes with an exit, not with `outcome`")
    if type(code) is not int or not 0 <= code <= 255:
        problems.append(f"{where}: `exit` must be a code from 0 to 255")
    if "outcome" in entry and word not in ("error", "interrupted", "hang"):
        problems.append(f'{where}: `outcome` must be "error", "interrupted" or "hang"')
    return code if word is None else word


def _seconds(
    entry: Mapping[str, Any], key: str, default: float | None, where: str, problems: list[str]
) -> float | None:
    value = entry.get(key, default)
    if value is not None and (type(value) not in (int, float) or not 0 <= value < 1e9):
        problems.append(f"{where}: `{key}` must be a number of seconds, 0 or more")
        return default
    return None if value is None else float(value)


def addresses(path: str) -> Iterator[str]:
    """Yield the script keys that match the path of an attempt, the most specific first.

    First with all item indexes, then with some, then with none.
    """
    yield path
    if "[" in path:
        parts = [(part, _INDEX.sub("", part)) for part in path.split("/")]
        yield from ("/".join(each) for each in product(*parts))


def _placeholders(names: Mapping[str, bool], known: Mapping[str, str], form: str) -> dict[str, str]:
    """Return the required variables or secrets; one that is not set gets a placeholder.

    The placeholder is long enough to be redacted.
    """
    return {name: known.get(name, form.format(name)) for name, needed in names.items() if needed}
