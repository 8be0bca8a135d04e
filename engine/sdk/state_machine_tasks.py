"""Turn a class of several steps into the state machine of a `Task`: `start`, `routes`, exits, and a method for each step.

    class Letter:
        id = "acme.letter"
        start = "write"
        exits = Exits                      # an IntEnum, or a table from names to codes
        max_attempts = 3
        routes = {
            "write": {Exits.DONE: ("review", False)},
            "review": {Exits.DONE: None, Exits.AGAIN: ("write", True), "error": (None, False)},
        }

        async def execute_write(self, inputs, context): ...

A route leads to a step, or (None) to the end: a success after exit 0, else a failure. `(step, True)` is a retry, at
most `max_attempts` attempts in all: of the step itself, or by way of another step. Only retries are bounded; a loop of
other routes has no bound, and the check reports it.

Source: docs/language.md, "Retry", "Routes", "Details".
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from enum import IntEnum
from typing import Any

import attrs

from engine.language.spec import Count, RetrySpec, RouteSpec
from engine.schemas.type_hints import unstructure
from engine.sdk.context import Context, Exit
from engine.sdk.imports import TaskError
from engine.sdk.task import StateMachineTask, Task, validate_exits

__all__ = ["build_state_machine", "is_machine", "resolve_class_exits"]


def is_machine(cls: type) -> bool:
    """Return whether a class has several steps: `start` and `routes`, and no `execute`."""
    return not hasattr(cls, "execute") and hasattr(cls, "routes") and hasattr(cls, "start")


def build_state_machine(
    cls: Any, id: str, exits: Mapping[str, int], schema: Mapping[str, Any] | None
) -> StateMachineTask:
    """Build the steps of a class, each a task of its own; raises `TaskError` if they do not fit together.

    An exit that only other steps have a route for is a failure.
    """
    routes, start = cls.routes, cls.start
    most = getattr(cls, "max_attempts", 1)
    if not isinstance(routes, Mapping) or not routes:
        raise TaskError(f"`routes` of task `{id}` must be a mapping of steps to their routes")
    if not isinstance(most, int) or isinstance(most, bool) or not 1 <= most <= 1000:
        raise TaskError(f"`max_attempts` of task `{id}` must be a number from 1 to 1000")
    if start not in routes:
        raise TaskError(f"task `{id}` starts with `{start}`, which has no routes")
    steps = {name: _build_step_task(cls, id, name, exits, schema) for name in routes}
    table = {
        name: _compile_routes(id, name, each, exits, routes, most) for name, each in routes.items()
    }
    taken = {exit for own, _ in table.values() for exit in own} & set(exits)
    rest = {exit: RouteSpec("fail") for exit in sorted(taken) if exits[exit] != 0}
    return StateMachineTask(
        start, steps, {name: (rest | own, again) for name, (own, again) in table.items()}
    )


def resolve_class_exits(id: str, found: Any) -> dict[str, int]:
    """Return the exits of a class by name, from an IntEnum or a table.

    `success` and `failure` are added where 0 and 1 have no name.
    """
    named: dict[str, int]
    if isinstance(found, type) and issubclass(found, IntEnum):
        named = {member.name.lower(): int(member) for member in found}
    else:
        named = dict(found or {})
    validate_exits(id, named)
    usual = {"success": 0, "failure": 1}
    return {name: code for name, code in usual.items() if code not in named.values()} | named


def _build_step_task(
    cls: Any, id: str, name: str, exits: Mapping[str, int], schema: Mapping[str, Any] | None
) -> Task:
    method = getattr(cls, f"execute_{name}", None)
    if not inspect.iscoroutinefunction(method):
        advice = f"define `async def execute_{name}(self, inputs, context)`"
        raise TaskError(f"step `{name}` of task `{id}` has no method", advice)
    count = len(inspect.signature(method).parameters)
    if count not in (2, 3):
        raise TaskError(
            f"`execute_{name}` of task `{id}` must take `inputs`, or `inputs` and `context`"
        )

    async def body(inputs: dict[str, Any], context: Context) -> Any:
        # Of a fresh one: what an attempt leaves in it, the next does not see.
        own = getattr(cls(), f"execute_{name}")
        return _convert_result(await (own(inputs, context) if count == 3 else own(inputs)))

    functools.update_wrapper(body, method, updated=())
    description = inspect.cleandoc(method.__doc__ or "").partition("\n\n")[0]
    return Task(
        f"{id}/{name}",
        body,
        description=description,
        input_schema=schema,
        exits=exits,
        reads_steps=True,
    )


def _convert_result(returned: Any) -> Any:
    """Convert a returned IntEnum member, member with an output, `Exit`, or output to an `Exit` or output."""
    if isinstance(returned, IntEnum):
        return Exit(int(returned))
    if isinstance(returned, tuple) and len(returned) == 2 and isinstance(returned[0], IntEnum):
        return Exit(int(returned[0]), unstructure(returned[1]))
    if isinstance(returned, Exit):
        return attrs.evolve(returned, output=unstructure(returned.output))
    return unstructure(returned)


def _compile_routes(
    id: str,
    step: str,
    table: Any,
    exits: Mapping[str, int],
    steps: Mapping[str, Any],
    max_attempts: int,
) -> tuple[dict[str, RouteSpec], tuple[RetrySpec, ...]]:
    """Compile the routes and retries of a step into their spec types."""
    if not isinstance(table, Mapping):
        raise TaskError(
            f"the routes of step `{step}` of task `{id}` must be a mapping of exits to steps"
        )
    routes: dict[str, RouteSpec] = {}
    again: list[str | int] = []
    for key, written in table.items():
        exit, code = _resolve_exit(id, step, key, exits)
        target, retry = _resolve_target(id, step, written, steps)
        end = "done" if code == 0 else "fail"
        if target == step and retry:
            again.append(code if isinstance(code, int) else exit)
            routes[exit] = RouteSpec(end)
        elif target is None:
            routes[exit] = RouteSpec("fail" if retry else end)
        elif retry:
            bound = Count(max_attempts - 1) if max_attempts > 1 else None
            routes[exit] = RouteSpec(target, max=bound) if bound else RouteSpec("fail")
        else:
            routes[exit] = RouteSpec(target)
    clause = (RetrySpec(Count(max_attempts), tuple(again)),) if again and max_attempts > 1 else ()
    return routes, clause


def _resolve_exit(id: str, step: str, key: Any, exits: Mapping[str, int]) -> tuple[str, int | str]:
    """Return the name of an exit in a spec, and its code; for `error`, `timeout` and `*` twice the name."""
    if isinstance(key, int) and not isinstance(key, bool):
        name = next((name for name, code in exits.items() if code == key), str(int(key)))
        return name, int(key)
    if key in ("error", "timeout", "*"):
        return key, key
    if key in exits:
        return key, exits[key]
    known = ", ".join(f"`{name}`" for name in (*exits, "error", "timeout", "*"))
    message = f"`{key}` in the routes of step `{step}` of task `{id}` is not an exit"
    raise TaskError(message, f"known here: {known}")


def _resolve_target(
    id: str, step: str, written: Any, steps: Mapping[str, Any]
) -> tuple[str | None, bool]:
    target, retry = (
        written if isinstance(written, tuple) and len(written) == 2 else (written, False)
    )
    if target is not None and target not in steps:
        raise TaskError(
            f"a route of step `{step}` of task `{id}` leads to `{target}`, which is not a step"
        )
    if not isinstance(retry, bool):
        raise TaskError(f"a route of step `{step}` of task `{id}` must be `(step, retry)`")
    return target, retry
