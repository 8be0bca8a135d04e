"""`Task`, the declaration of a task: its exits, schemas, body and executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from engine.base.classes import frozen, value
from engine.schemas.validation import SchemaViolation, find_schema_error
from engine.sdk.context import Context
from engine.sdk.imports import TaskError, merge_errors

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from engine.language.spec import RetrySpec, RouteSpec

__all__ = [
    "TASK_ATTRIBUTE",
    "Body",
    "BuildArguments",
    "Executor",
    "FindExits",
    "FindReferences",
    "InvalidInput",
    "OpenResource",
    "StateMachineTask",
    "StepRoutes",
    "Task",
    "ToolReference",
    "validate_declaration",
    "validate_exits",
    "validate_schemas",
]

TASK_ATTRIBUTE = "__engine_task__"
"""The attribute of a decorated function or class that holds its `Task`."""


Executor = Literal["async", "thread", "process"]
"""The executor of a body: the run's own thread, a worker thread, or a worker process, which can be killed."""


class InvalidInput(Exception):
    """An error in a step's `with`, found by its task's `find_exits`; `path` is relative to the `with`."""

    def __init__(self, path: tuple[str | int, ...], message: str, help: str | None = None) -> None:
        self.path, self.message, self.help = path, message, help
        super().__init__(message)


Body = Callable[[dict[str, Any], Context], Awaitable[Any]]
"""`await body(inputs, context)` returns an output, or an `Exit`."""


BuildArguments = Callable[[Mapping[str, Any], Context], dict[str, Any]]
"""`build_arguments(inputs, context)` returns the keyword arguments of a function."""


FindExits = Callable[[Mapping[str, Any]], Mapping[str, int]]
"""`find_exits(with)` returns the exits of a step with this `with`, as written in the spec.

Returns none where they cannot be known from it. Raises `InvalidInput`.
"""


@value
class ToolReference:
    """A task or pipeline that a body runs, or a resource it needs, as named in a `with`.

    `path` is relative to the `with`.
    """

    kind: Literal["task", "pipeline", "resource"]
    id: str
    path: tuple[str | int, ...]


FindReferences = Callable[[Mapping[str, Any]], "Iterable[ToolReference]"]
"""`find_references(with)` returns the references in a step's `with`, as far as they are written out."""


OpenResource = Callable[[dict[str, Any], "Context"], "AbstractAsyncContextManager[Any]"]
"""`open_resource(inputs, context)` returns an async context manager; its value is passed to the users of the resource."""


@frozen(eq=False)
class Task:
    """The declaration of a task: its schemas, its exits, and how its body runs."""

    id: str
    body: Body = attrs.field(repr=False)
    name: str = ""
    description: str = ""
    input_schema: Mapping[str, Any] | None = None
    """A JSON Schema of the whole `with` table (an object), or None if any table is valid."""
    output_schema: Mapping[str, Any] | None = None
    output_contract: Literal["checked", "exact", "inputs"] = "checked"
    """The extent to which `output_schema` holds.

    "checked": it is validated at run time, and null may come with exits other than 0; "exact": it is true by
    construction whatever the exit, and not validated; "inputs": the output is the inputs unchanged.
    """
    exits: Mapping[str, int] = attrs.field(factory=lambda: {"success": 0})
    open_exits: bool = False
    """An open task may end with any code; in a closed one an undeclared code is the outcome `error`."""
    example: str = ""
    """A node in TOML that shows the task, for `engine tasks NAME`."""
    may_request_delay: bool = True
    """Whether an attempt may request a longer delay before a retry.

    A task that never does has a shorter worst case.
    """
    find_exits: FindExits | None = attrs.field(default=None, repr=False)
    """Returns a step's exits where these depend on the text of its `with`."""
    find_references: FindReferences | None = attrs.field(default=None, repr=False)
    """Returns the references in a step's `with`: they are checked, and the context passes them to the body."""
    needs_person: bool = False
    """Whether a person is asked instead of running a body: the exits are the `options` of the `with`."""
    executor: Executor = "async"
    """The executor of the task.

    Only "async" runs `body`; a "thread" or "process" task runs `function`, and its `body` raises.
    """
    function: Callable[..., Any] | None = attrs.field(default=None, repr=False)
    """The plain sync function of a "thread" or "process" task."""
    target: str | None = None
    """"module:qualname" of `function`, by which a worker process imports it.

    A "thread" task that still has a target has not been registered yet: if the target then leads to `function`, it
    becomes a "process" task, else it loses the target.
    """
    is_detached: bool = False
    """Whether the body is one child process that goes on when the engine dies.

    It uses the context's state directory, and is adopted when the body runs again.
    """
    machine: StateMachineTask | None = attrs.field(default=None, repr=False)
    """The state machine of a class of several steps: a node with this task is that machine."""
    reads_steps: bool = False
    """Whether the body reads the outputs of its node's steps (`Context.steps`)."""
    open_resource: OpenResource | None = attrs.field(default=None, repr=False)
    """Opens a resource: it is entered for the users of the resource, and the body never runs."""
    build_arguments: BuildArguments | None = attrs.field(default=None, repr=False)
    """Turns validated inputs into keyword arguments of `function`; None passes the inputs unchanged."""


StepRoutes = Mapping[str, "tuple[Mapping[str, RouteSpec], tuple[RetrySpec, ...]]"]
"""The routes and the retries of each step, by the step's name."""


@frozen
class StateMachineTask:
    """The state machine of a class of several steps.

    It has the first step, the task of each step, and their routes and retries in the types of a spec.
    """

    start: str
    steps: Mapping[str, Task]
    routes: StepRoutes
    find_routes: Callable[[Mapping[str, Any]], StepRoutes] | None = None
    """Returns the routes where they depend on the text of the node's `with`."""


def validate_declaration(task: Task) -> None:
    """Raise `TaskError` for an id or an exit that no spec could name."""
    parts = task.id.split(".") if isinstance(task.id, str) else ("",)
    if not all(part.replace("-", "_").isidentifier() for part in parts):
        raise TaskError(
            f"`{task.id}` is not a valid task id", "use names joined by dots: `acme.review`"
        )
    validate_exits(task.id, task.exits)


def validate_exits(id: str, exits: Mapping[str, int]) -> None:
    """Raise one `TaskError` for all errors in the names and codes of exits."""
    wrong: list[TaskError] = []
    codes: dict[int, str] = {}
    for name, code in exits.items():
        if error := _find_exit_error(id, name, code):
            wrong.append(error)
        elif code in codes:
            both = f"exits `{codes[code]}` and `{name}` of task `{id}` are both {code}"
            wrong.append(TaskError(both))
        else:
            codes[code] = name
    if wrong:
        raise merge_errors(wrong)


def validate_schemas(task: Task) -> None:
    """Raise `TaskError` unless the schemas are valid and the input schema is of an object.

    Imports jsonschema.
    """
    if task.input_schema is not None:
        _validate_schema(task.input_schema, f"input schema of task `{task.id}`")
        if task.input_schema.get("type") != "object":
            raise TaskError(
                f"input schema of task `{task.id}` must describe an object",
                'write `{"type": "object", "properties": {...}}`',
            )
    if task.output_schema is not None:
        _validate_schema(task.output_schema, f"output schema of task `{task.id}`")


_RESERVED_EXIT_NAMES = ("error", "timeout", "lost", "interrupted")


def _find_exit_error(id: str, name: object, code: object) -> TaskError | None:
    what = f"exit `{name}` of task `{id}`"
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        return TaskError(f"{what} is not an identifier")
    if name in _RESERVED_EXIT_NAMES:
        return TaskError(f"{what} has the name of a built-in outcome")
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
        return TaskError(f"{what} is {code!r}, not a code from 0 to 255")
    if name == "success" and code != 0:
        return TaskError(f"{what} is {code}, but success is 0")
    return None


def _validate_schema(schema: object, what: str) -> None:
    if not isinstance(schema, Mapping):
        raise TaskError(f"{what} is a {type(schema).__name__}, not a table")
    if wrong := find_schema_error(dict(schema)):
        raise TaskError(f"{what} is not a valid JSON Schema: {SchemaViolation('misfit', *wrong)}")
