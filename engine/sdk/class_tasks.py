"""Turn a class into a `Task`: of one step, with `async def execute`, or of several.

Classes of several steps are compiled by `state_machine_tasks`. Each attempt gets a fresh instance.

Source: docs/language.md, "Outcomes", "Details".
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.sdk.context import Context
from engine.sdk.declaration import (
    Declaration,
    build_exits,
    extract_first_paragraph,
    unstructure_result,
)
from engine.sdk.imports import TaskError, run_checks
from engine.sdk.signatures import build_return_schema, display_name
from engine.sdk.state_machine_tasks import build_state_machine, is_machine, resolve_class_exits
from engine.sdk.task import Body, Task

if TYPE_CHECKING:
    import trio

__all__ = ["task_from_class"]


def _task_from_state_machine(cls: type, declaration: Declaration) -> Task:
    """Build the task of a class of several steps."""
    says = _ClassAttributes(cls)
    id = declaration.id or says.get("id") or cls.__name__
    declared = getattr(cls, "exits", None) if declaration.exits is None else declaration.exits
    exits = resolve_class_exits(id, declared)
    _validate_executor(cls, declaration)

    async def refuse(inputs: dict[str, Any], context: Context) -> Any:
        raise EngineError(f"{display_name(cls)} has several steps: call each one separately")

    functools.update_wrapper(refuse, cls, updated=())
    said = says.get("inputs", "input_schema", "get_input_schema")
    inputs = said if declaration.inputs is None else declaration.inputs
    return Task(
        id=id,
        body=refuse,
        machine=build_state_machine(cls, id, exits, inputs),
        name=declaration.name or says.get("name") or "",
        description=declaration.description
        or says.get("description")
        or extract_first_paragraph(cls.__doc__),
        input_schema=inputs,
        exits=exits,
    )


def task_from_class(cls: type, declaration: Declaration) -> Task:
    """Return the task that a class declares, of one step or of several; raises `TaskError`."""
    if is_machine(cls):
        return _task_from_state_machine(cls, declaration)
    takes_context, output = _inspect_execute(cls)
    says = _ClassAttributes(cls)
    id = declaration.id or says.get("id") or cls.__name__
    named = declaration.exits if declaration.exits is not None else says.get("exits")
    _, exits = run_checks(
        lambda: _validate_executor(cls, declaration), lambda: build_exits(id, named)
    )
    inputs = says.get("inputs", "input_schema", "get_input_schema")
    outputs = says.get("output", "output_schema", "get_output_schema")
    return Task(
        id=id,
        body=_build_body(cls, takes_context),
        name=declaration.name or says.get("name") or "",
        description=declaration.description
        or says.get("description")
        or extract_first_paragraph(cls.__doc__),
        input_schema=inputs if declaration.inputs is None else declaration.inputs,
        output_schema=declaration.output or outputs or output,
        exits=exits,
        open_exits=declaration.open,
    )


def _validate_executor(cls: type, declaration: Declaration) -> None:
    if declaration.executor not in (None, "async"):
        raise TaskError(
            f"{display_name(cls)} is async, and executor `{declaration.executor}` cannot run that"
        )


def _inspect_execute(cls: type) -> tuple[bool, dict[str, Any] | None]:
    """Return whether `execute` takes the context, and the schema of its return annotation."""
    execute = getattr(cls, "execute", None)
    if inspect.isabstract(cls) or not inspect.iscoroutinefunction(execute):
        raise TaskError(
            f"{display_name(cls)} has no `execute` to run",
            "define `async def execute(self, inputs)`, or with a third parameter `context`",
        )
    try:
        inspect.signature(cls).bind()
    except TypeError as error:
        raise TaskError(
            f"{display_name(cls)} cannot be instantiated without arguments: {error}"
        ) from error
    signature = inspect.signature(execute)
    third = tuple(signature.parameters)[2:3]
    if third != ("context",) and _accepts_count(signature, 2):
        return False, build_return_schema(execute)
    if _accepts_count(signature, 3):
        return True, build_return_schema(execute)
    raise TaskError(
        f"`execute` of {display_name(cls)} must take `inputs`, or `inputs` and `context`"
    )


def _accepts_count(signature: inspect.Signature, count: int) -> bool:
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


class _ClassAttributes:
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


def _build_body(cls: type, takes_context: bool) -> Body:
    async def body(inputs: dict[str, Any], context: Context) -> Any:
        instance: Any = cls()  # a fresh one: what an attempt leaves in it, the next does not see
        given = (inputs, context) if takes_context else (inputs,)
        if not hasattr(instance, "cancel"):
            return unstructure_result(await instance.execute(*given))
        return unstructure_result(
            await _await_with_cancel_hook(instance.execute(*given), instance.cancel, context)
        )

    functools.update_wrapper(body, cls, updated=())
    return body


async def _await_with_cancel_hook(
    execution: Awaitable[Any], cancel: Callable[[], Any], context: Context
) -> Any:
    """Await `execution`; when it is cancelled, call `cancel` once, for at most `grace` seconds."""
    import trio

    try:
        return await execution
    except (trio.Cancelled, BaseExceptionGroup) as error:
        if not _has_cancellation(error, trio.Cancelled):
            raise
        try:
            with trio.move_on_after(context.grace, shield=True):
                ending = cancel()
                if inspect.isawaitable(ending):
                    await ending
        finally:
            raise error  # a failure of `cancel` is its context: nothing swallows a cancellation


def _has_cancellation(error: BaseException, kind: type[trio.Cancelled]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return error.subgroup(kind) is not None
    return True
