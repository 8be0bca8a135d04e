"""Turn a class into a `Task`: of one step, with `async def execute`, or of several.

Classes of several steps are compiled by `state_machine_tasks`. Each attempt gets a fresh instance.

Source: docs/language.md, "Nodes and steps", "Outcomes".
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.sdk.context import Context
from engine.sdk.declaration import Given, exits_given, first_paragraph, plain_result
from engine.sdk.imports import TaskError, gathered
from engine.sdk.signatures import called, return_schema
from engine.sdk.state_machine_tasks import exits_of, is_machine, machinery
from engine.sdk.task import Body, Task

if TYPE_CHECKING:
    import trio

__all__ = ["of_class"]


def _of_machine(cls: type, given: Given) -> Task:
    """Build the task of a class of several steps."""
    says = _Sayings(cls)
    id = given.id or says.get("id") or cls.__name__
    declared = getattr(cls, "exits", None) if given.exits is None else given.exits
    exits = exits_of(id, declared)
    _check_async(cls, given)

    async def refuse(inputs: dict[str, Any], context: Context) -> Any:
        raise EngineError(f"{called(cls)} has several steps: call each one separately")

    functools.update_wrapper(refuse, cls, updated=())
    said = says.get("inputs", "input_schema", "get_input_schema")
    inputs = said if given.inputs is None else given.inputs
    return Task(
        id=id,
        body=refuse,
        machine=machinery(cls, id, exits, inputs),
        name=given.name or says.get("name") or "",
        description=given.description or says.get("description") or first_paragraph(cls.__doc__),
        input_schema=inputs,
        exits=exits,
    )


def of_class(cls: type, given: Given) -> Task:
    """Return the task that a class declares, of one step or of several; raises `TaskError`."""
    if is_machine(cls):
        return _of_machine(cls, given)
    takes_context, output = _read_execute(cls)
    says = _Sayings(cls)
    id = given.id or says.get("id") or cls.__name__
    named = given.exits if given.exits is not None else says.get("exits")
    _, exits = gathered(lambda: _check_async(cls, given), lambda: exits_given(id, named))
    inputs = says.get("inputs", "input_schema", "get_input_schema")
    outputs = says.get("output", "output_schema", "get_output_schema")
    return Task(
        id=id,
        body=_class_body(cls, takes_context),
        name=given.name or says.get("name") or "",
        description=given.description or says.get("description") or first_paragraph(cls.__doc__),
        input_schema=inputs if given.inputs is None else given.inputs,
        output_schema=given.output or outputs or output,
        exits=exits,
        open=given.open,
    )


def _check_async(cls: type, given: Given) -> None:
    if given.executor not in (None, "async"):
        raise TaskError(f"{called(cls)} is async, and executor `{given.executor}` cannot run that")


def _read_execute(cls: type) -> tuple[bool, dict[str, Any] | None]:
    """Return whether `execute` takes the context, and the schema of its return annotation."""
    execute = getattr(cls, "execute", None)
    if inspect.isabstract(cls) or not inspect.iscoroutinefunction(execute):
        raise TaskError(
            f"{called(cls)} has no `execute` to run",
            "define `async def execute(self, inputs)`, or with a third parameter `context`",
        )
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise TaskError(
            f"{called(cls)} cannot be instantiated without arguments: {error}"
        ) from error
    signature = inspect.signature(execute)
    third = tuple(signature.parameters)[2:3]
    if third != ("context",) and _accepts(signature, 2):
        return False, return_schema(execute)
    if _accepts(signature, 3):
        return True, return_schema(execute)
    raise TaskError(f"`execute` of {called(cls)} must take `inputs`, or `inputs` and `context`")


def _accepts(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


class _Sayings:
    """Declarations on a class: attributes, and properties and methods of one instance."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self._instance: object = None

    def get(self, *names: str) -> Any:
        """Return the value of the first of `names` that the class has, else None."""
        for name in names:
            found = inspect.getattr_static(self._cls, name, None)
            if found is None:
                continue
            if isinstance(found, Mapping | str):
                return found
            if self._instance is None:
                self._instance = self._cls()
            value = getattr(self._instance, name)
            return value() if callable(value) else value
        return None


def _class_body(cls: type, takes_context: bool) -> Body:
    async def body(inputs: dict[str, Any], context: Context) -> Any:
        instance: Any = cls()  # a fresh one: what an attempt leaves in it, the next does not see
        given = (inputs, context) if takes_context else (inputs,)
        if not hasattr(instance, "cancel"):
            return plain_result(await instance.execute(*given))
        return plain_result(await _cancellable(instance.execute(*given), instance.cancel, context))

    functools.update_wrapper(body, cls, updated=())
    return body


async def _cancellable(
    execution: Awaitable[Any], cancel: Callable[[], Any], context: Context
) -> Any:
    """Await `execution`; when it is cancelled, call `cancel` once, for at most `grace` seconds."""
    import trio

    try:
        return await execution
    except (trio.Cancelled, BaseExceptionGroup) as error:
        if not _tells_of_cancelling(error, trio.Cancelled):
            raise
        try:
            with trio.move_on_after(context.grace, shield=True):
                ending = cancel()
                if inspect.isawaitable(ending):
                    await ending
        finally:
            raise error  # a failure of `cancel` is its context: nothing swallows a cancellation


def _tells_of_cancelling(error: BaseException, kind: type[trio.Cancelled]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(kind) is not None
    return True
