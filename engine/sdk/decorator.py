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
from engine.sdk.class_tasks import of_class
from engine.sdk.context import Context
from engine.sdk.declaration import Given, exits_given, first_paragraph, plain_result
from engine.sdk.imports import TaskError, gathered, look_up
from engine.sdk.signatures import Signature, called, read_signature
from engine.sdk.task import MARK, Body, Executor, Opens, Task, check_declaration

if TYPE_CHECKING:
    pass

__all__ = ["as_task", "call_arguments", "marked", "plain_result", "task"]

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
        made = marked(found)
        if made is not None and inspect.unwrap(made.body, stop=lambda f: f is found) is found:
            raise TaskError(f"{called(found)} is already declared as task `{made.id}`")
        made = _declared(found, Given(**given))
        check_declaration(made)
        setattr(found, MARK, made)
        return found

    return declare if declared is None else declare(declared)


def marked(found: object) -> Task | None:
    """Return the task that an object is or was declared as, else None.

    A class does not inherit the declaration of its base class. Never wakes up a lazy proxy.
    """
    # Looks without asking, as `isinstance` would: a lazy proxy among a module's globals must not wake up.
    if issubclass(type(found), Task):
        return cast("Task", found)
    own = vars(found) if issubclass(type(found), type) else _own_attributes(found)
    mark = own.get(MARK)
    return mark if isinstance(mark, Task) else None


def as_task(found: object, name: str | None = None) -> Task:
    """Return the task that an object is, was declared as, or can be declared as; raises `TaskError`.

    `name` is the user's name for it in messages. The module of `found` must be imported completely: only then is the
    executor decided.
    """
    return _settled(marked(found) or _declared(found, Given(), name))


def call_arguments(task: Task, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """Return the keyword arguments of `task.function`: `inputs` converted to their type hints, and the context.

    The inputs must be validated. May raise what the constructor of a user's class raises. For a worker process, pass a
    context whose `note` can be pickled.
    """
    return dict(inputs) if task.arguments is None else task.arguments(inputs, context)


def _declared(found: Any, given: Given, name: str | None = None) -> Task:
    if isinstance(found, type) and not _manages(found):
        return of_class(found, given)
    if not inspect.isroutine(found) and not isinstance(found, type):
        what = f"`{name}`" if name else f"a value of type `{type(found).__name__}`"
        by_place = isinstance(found, str) and name is None
        cure = f'pass the id as a keyword: `@task(id="{found}")`' if by_place else None
        raise TaskError(f"{what} is neither a function nor a class", cure)
    return _of_function(found, given)


def _settled(made: Task) -> Task:
    """Return the task with its executor decided, now that its module is imported."""
    if made.target is None or made.function is None:
        return made
    if look_up(made.target) is made.function:
        return attrs.evolve(made, executor="process")
    if made.executor == "process":
        raise _not_importable(made.id, f"`{made.target}` is not this function")
    return attrs.evolve(made, target=None)


# --- functions


def _of_function(function: Callable[..., Any], given: Given) -> Task:
    own = getattr(function, "id", None) if isinstance(function, type) else None
    id = given.id or (own if isinstance(own, str) else function.__name__)
    signature, (executor, target), exits = gathered(
        lambda: read_signature(function),
        lambda: _place(function, given),
        lambda: exits_given(id, given.exits),
    )
    return Task(
        id=id,
        body=_body(function, signature, executor),
        name=given.name or "",
        description=given.description or first_paragraph(inspect.getdoc(function)),
        input_schema=signature.schema if given.inputs is None else given.inputs,
        output_schema=signature.output if given.output is None else given.output,
        opens=_opens(function, signature),
        exits=exits,
        open=given.open,
        executor=executor,
        function=None if executor == "async" and _awaits(function) else function,
        target=target,
        arguments=signature.arguments,
    )


def _place(function: Callable[..., Any], given: Given) -> tuple[Executor, str | None]:
    """Return the executor and the target; a thread task with a target may still become a process task."""
    choice = given.executor
    if choice not in (None, *get_args(Executor)):
        raise TaskError(
            f"executor `{choice}` of {called(function)} must be async, thread or process"
        )
    if _awaits(function):
        if choice not in (None, "async"):
            raise TaskError(f"{called(function)} is async, and executor `{choice}` cannot run that")
        return "async", None
    module, qualname = getattr(function, "__module__", None), function.__qualname__
    importable = module not in (None, "__main__") and "<" not in qualname
    if choice == "process" and not importable:
        raise _not_importable(
            given.id or function.__name__, f"`{module}:{qualname}` is not an importable name"
        )
    if choice in ("async", "thread"):
        return choice, None
    return choice or "thread", f"{module}:{qualname}" if importable else None


def _not_importable(id: str, why: str) -> TaskError:
    return TaskError(
        f"task `{id}` cannot run in a process: a new interpreter cannot import it, {why}",
        "define it at the top level of a module, or set its executor to `thread`",
    )


def _opens(function: Callable[..., Any], signature: Signature) -> Opens | None:
    """Return the function that opens a resource, or None if the function gives none.

    A resource is an async context manager, or an async generator that yields it and then runs to its end.
    """
    if not _manages(function):
        return None

    def opens(inputs: dict[str, Any], context: Context) -> AbstractAsyncContextManager[Any]:
        made = function(**signature.arguments(inputs, context))
        return made if hasattr(made, "__aenter__") else asynccontextmanager(lambda: made)()

    return opens


def _manages(found: Any) -> bool:
    """Return whether an object gives a resource.

    That is an async generator function, with `@asynccontextmanager` or without, or a class of async context managers.
    """
    if isinstance(found, type):
        return hasattr(found, "__aenter__") and not hasattr(found, "execute")
    return inspect.isasyncgenfunction(inspect.unwrap(found))


def _awaits(function: Callable[..., Any]) -> bool:
    """Return whether a function runs in the run's own thread: it is async, or gives a resource."""
    return _is_async(function) or _manages(function)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(function))


def _body(function: Callable[..., Any], signature: Signature, executor: Executor) -> Body:
    async def call(inputs: dict[str, Any], context: Context) -> Any:
        return plain_result(function(**signature.arguments(inputs, context)))

    async def wait(inputs: dict[str, Any], context: Context) -> Any:
        return plain_result(await function(**signature.arguments(inputs, context)))

    async def refuse(inputs: dict[str, Any], context: Context) -> Any:
        raise EngineError(f"{called(function)} is a sync function: only its executor can run it")

    body = wait if _is_async(function) else call if executor == "async" else refuse
    functools.update_wrapper(body, function, updated=())  # where errors and origins look
    return body


def _own_attributes(found: object) -> Mapping[str, Any]:
    try:
        own: Mapping[str, Any] = object.__getattribute__(found, "__dict__")
    except AttributeError:
        return {}
    return own
