"""Turn Python functions and classes into `Task`s: the `@task` decorator, and the call of a body.

An async function or class runs in the run's own thread: `await task.body(inputs, context)`. A sync function runs in a
worker process, which can be killed, if a fresh interpreter can import it, else in a thread:
`unstructure_result(task.function(**call_arguments(task, inputs, context)))`; a worker process finds the function by
`task.target`. Whether a function can be imported is known only after its module has been: `as_task`, which every
registry calls, decides then.

Source: docs/language.md, "Nodes and steps", "Outcomes", "Resources".
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, overload

import attrs

from engine.errors import EngineError
from engine.sdk.class_tasks import task_from_class
from engine.sdk.context import Context
from engine.sdk.declaration import (
    Declaration,
    build_exits,
    extract_first_paragraph,
    unstructure_result,
)
from engine.sdk.imports import TaskError, find_by_qualname, run_checks
from engine.sdk.signatures import Signature, display_name, read_signature
from engine.sdk.task import TASK_ATTRIBUTE, Body, Executor, OpenResource, Task, validate_declaration

if TYPE_CHECKING:
    pass

__all__ = ["as_task", "call_arguments", "declared_task", "task", "unstructure_result"]

T = TypeVar("T")


@overload
def task(declared: T, /) -> T: ...


@overload
def task(
    *,
    id: str | None = None,
    name: str | None = None,
    description: str | None = None,
    exits: Mapping[str, int] | None = None,
    inputs: Mapping[str, Any] | None = None,
    output: Mapping[str, Any] | None = None,
    executor: Executor | None = None,
    open: bool = False,
) -> Callable[[T], T]: ...


def task(declared: Any = None, /, **given: Any) -> Any:
    """Declare a function, or a class with `async def execute`, as a task; it stays what it was.

    Without arguments the id is its name, the description its docstring's first paragraph, and the
    schemas come from its signature. `exits` are added to `success` 0 and `failure` 1; naming 1
    otherwise replaces `failure`. A parameter that is called `context` or annotated `Context` gets
    the attempt's `Context`; every other one is an input. Of a decorator above this one the task
    sees nothing. Raises `TaskError`.
    """

    def declare(found: T) -> T:
        made = declared_task(found)
        if made is not None and inspect.unwrap(made.body, stop=lambda f: f is found) is found:
            raise TaskError(f"{display_name(found)} is already declared as task `{made.id}`")
        made = _declare_task(found, Declaration(**given))
        validate_declaration(made)
        setattr(found, TASK_ATTRIBUTE, made)
        return found

    return declare if declared is None else declare(declared)


def declared_task(found: object) -> Task | None:
    """Return the task that an object is or was declared as, else None.

    A class does not inherit the declaration of its base class. Never wakes up a lazy proxy.
    """
    # Not by `isinstance`, which would ask the object: a lazy proxy among a module's globals must not wake up.
    if issubclass(type(found), Task):
        return cast("Task", found)
    own = vars(found) if issubclass(type(found), type) else _read_own_attributes(found)
    mark = own.get(TASK_ATTRIBUTE)
    return mark if isinstance(mark, Task) else None


def as_task(found: object, name: str | None = None) -> Task:
    """Return the task that an object is, was declared as, or can be declared as; raises `TaskError`.

    `name` is the user's name for it in messages. The module of `found` must be imported completely: only then is the
    executor decided.
    """
    return _with_executor(declared_task(found) or _declare_task(found, Declaration(), name))


def call_arguments(task: Task, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the keyword arguments of `task.function`: `inputs` converted to their type hints, and the context.

    The inputs must be validated. May raise what the constructor of a user's class raises. For a worker process, pass a
    context whose `note` can be pickled.
    """
    return dict(inputs) if task.build_arguments is None else task.build_arguments(inputs, context)


def _declare_task(found: Any, declaration: Declaration, name: str | None = None) -> Task:
    if isinstance(found, type) and not _is_resource(found):
        return task_from_class(found, declaration)
    if not inspect.isroutine(found) and not isinstance(found, type):
        what = f"`{name}`" if name else f"a value of type `{type(found).__name__}`"
        by_place = isinstance(found, str) and name is None
        advice = f'pass the id as a keyword: `@task(id="{found}")`' if by_place else None
        raise TaskError(f"{what} is neither a function nor a class", advice)
    return _task_from_function(found, declaration)


def _with_executor(made: Task) -> Task:
    """Return the task with its executor decided, now that its module is imported."""
    if made.target is None or made.function is None:
        return made
    if find_by_qualname(made.target) is made.function:
        return attrs.evolve(made, executor="process")
    if made.executor == "process":
        raise _build_not_importable_error(made.id, f"`{made.target}` is not this function")
    return attrs.evolve(made, target=None)


# --- functions


def _task_from_function(function: Callable[..., Any], declaration: Declaration) -> Task:
    own = getattr(function, "id", None) if isinstance(function, type) else None
    id = declaration.id or (own if isinstance(own, str) else function.__name__)
    signature, (executor, target), exits = run_checks(
        lambda: read_signature(function),
        lambda: _choose_executor(function, declaration),
        lambda: build_exits(id, declaration.exits),
    )
    return Task(
        id=id,
        body=_build_body(function, signature, executor),
        name=declaration.name or "",
        description=declaration.description or extract_first_paragraph(inspect.getdoc(function)),
        input_schema=signature.input_schema if declaration.inputs is None else declaration.inputs,
        output_schema=signature.output_schema if declaration.output is None else declaration.output,
        open_resource=_build_resource_opener(function, signature),
        exits=exits,
        open_exits=declaration.open,
        executor=executor,
        function=None if executor == "async" and _runs_in_event_loop(function) else function,
        target=target,
        build_arguments=signature.build_arguments,
    )


def _choose_executor(
    function: Callable[..., Any], declaration: Declaration
) -> tuple[Executor, str | None]:
    """Return the executor and the target; a thread task with a target may still become a process task."""
    choice = declaration.executor
    if choice not in (None, *get_args(Executor)):
        raise TaskError(
            f"executor `{choice}` of {display_name(function)} must be async, thread or process"
        )
    if _runs_in_event_loop(function):
        if choice not in (None, "async"):
            raise TaskError(
                f"{display_name(function)} is async, and executor `{choice}` cannot run that"
            )
        return "async", None
    module, qualname = getattr(function, "__module__", None), function.__qualname__
    importable = module not in (None, "__main__") and "<" not in qualname
    if choice == "process" and not importable:
        raise _build_not_importable_error(
            declaration.id or function.__name__, f"`{module}:{qualname}` is not an importable name"
        )
    if choice in ("async", "thread"):
        return choice, None
    return choice or "thread", f"{module}:{qualname}" if importable else None


def _build_not_importable_error(id: str, why: str) -> TaskError:
    return TaskError(
        f"task `{id}` cannot run in a process: a new interpreter cannot import it, {why}",
        "define it at the top level of a module, or set its executor to `thread`",
    )


def _build_resource_opener(
    function: Callable[..., Any], signature: Signature
) -> OpenResource | None:
    """Return the function that opens a resource, or None if the function gives none.

    A resource is an async context manager, or an async generator that yields it and then runs to its end.
    """
    if not _is_resource(function):
        return None

    def opens(inputs: dict[str, Any], context: Context) -> AbstractAsyncContextManager[Any]:
        made = function(**signature.build_arguments(inputs, context))
        return made if hasattr(made, "__aenter__") else asynccontextmanager(lambda: made)()

    return opens


def _is_resource(found: Any) -> bool:
    """Return whether an object gives a resource.

    That is an async generator function, with `@asynccontextmanager` or without, or a class of async context managers.
    """
    if isinstance(found, type):
        return hasattr(found, "__aenter__") and not hasattr(found, "execute")
    return inspect.isasyncgenfunction(inspect.unwrap(found))


def _runs_in_event_loop(function: Callable[..., Any]) -> bool:
    """Return whether a function runs in the run's own thread: it is async, or gives a resource."""
    return _is_async(function) or _is_resource(function)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def _build_body(function: Callable[..., Any], signature: Signature, executor: Executor) -> Body:
    async def call(inputs: dict[str, Any], context: Context) -> Any:
        return unstructure_result(function(**signature.build_arguments(inputs, context)))

    async def wait(inputs: dict[str, Any], context: Context) -> Any:
        return unstructure_result(await function(**signature.build_arguments(inputs, context)))

    async def refuse(inputs: dict[str, Any], context: Context) -> Any:
        raise EngineError(
            f"{display_name(function)} is a sync function: only its executor can run it"
        )

    body = wait if _is_async(function) else call if executor == "async" else refuse
    functools.update_wrapper(body, function, updated=())  # where errors and origins look
    return body


def _read_own_attributes(found: object) -> Mapping[str, Any]:
    try:
        own: Mapping[str, Any] = object.__getattribute__(found, "__dict__")
    except AttributeError:
        return {}
    return own
