"""`Task`, the declaration of a task: its exits, schemas, body and executor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from engine.base.classes import frozen
from engine.schemas.validation import Problem, schema_error
from engine.sdk.context import Context
from engine.sdk.imports import TaskError, together

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from engine.language.spec import RetrySpec, RouteSpec

__all__ = [
    "MARK",
    "Arguments",
    "Body",
    "Executor",
    "ExitsOf",
    "Machinery",
    "Misfit",
    "Named",
    "Names",
    "Opens",
    "Routes",
    "Task",
    "check_declaration",
    "check_exits",
    "check_schemas",
]

MARK = "__engine_task__"
"""The attribute under which a decorated function or class has its `Task`."""


Executor = Literal["async", "thread", "process"]
"""Where a body runs: in the run's own thread, in a worker thread, or in a worker process that can
be killed."""


class Misfit(Exception):
    """What a task's `exits_of` says of its `with`: what is wrong at which path below it."""

    def __init__(self, path: tuple[str | int, ...], message: str, help: str | None = None) -> None:
        self.path, self.message, self.help = path, message, help
        super().__init__(message)


Body = Callable[[dict[str, Any], Context], Awaitable[Any]]
"""`await body(inputs, context)` gives an output, or an `Exit`."""


Arguments = Callable[[Mapping[str, Any], Context], dict[str, Any]]
"""`arguments(inputs, context)` gives the keyword arguments of a function."""


ExitsOf = Callable[[Mapping[str, Any]], Mapping[str, int]]
"""`exits_of(with)` gives the exits of a step with this `with`, as it is written; none where they cannot be told. It
raises `Misfit`."""


@frozen
class Named:
    """Something that a `with` names: a task or a pipeline that the body runs, or a resource that it needs, at `path` below it."""

    kind: Literal["task", "pipeline", "resource"]
    id: str
    path: tuple[str | int, ...]


Names = Callable[[Mapping[str, Any]], "Iterable[Named]"]
"""`names(with)` gives what a step's `with` names, as far as it is written out."""


Opens = Callable[[dict[str, Any], "Context"], "AbstractAsyncContextManager[Any]"]
"""`opens(inputs, context)` gives an async context manager, whose value is what users of the resource get."""


@frozen(eq=False)
class Task:
    """A task's declaration: what a step may name, give, and expect to come back."""

    id: str
    body: Body = attrs.field(repr=False)
    name: str = ""
    description: str = ""
    input_schema: Mapping[str, Any] | None = None
    """JSON Schema of the whole `with` table (an object), or None when anything goes."""
    output_schema: Mapping[str, Any] | None = None
    output: Literal["checked", "exact", "inputs"] = "checked"
    """How far `output_schema` holds: it is checked, and null may come with exits other than 0; it is
    true by construction whatever the exit, and not checked; or the output is the inputs as given."""
    exits: Mapping[str, int] = attrs.field(factory=lambda: {"success": 0})
    open: bool = False
    """An open task may end with any code; in a closed one an undeclared code is the outcome
    `error`."""
    example: str = ""
    """A node in TOML that shows the task, for `engine tasks NAME`."""
    may_ask: bool = True
    """Whether an attempt may ask for a longer wait before a retry; what never does has a shorter
    worst case."""
    exits_of: ExitsOf | None = attrs.field(default=None, repr=False)
    """Gives a step's exits where these depend on what is written in its `with`."""
    names: Names | None = attrs.field(default=None, repr=False)
    """Gives what a step's `with` names: it is checked, and the context brings it to the body."""
    asks: bool = False
    """Whether a person is asked, and no body runs: its exits are the `options` of its `with`."""
    executor: Executor = "async"
    """Where it runs. Only "async" runs `body`; a "thread" or "process" task runs `function`, and
    its `body` refuses to."""
    function: Callable[..., Any] | None = attrs.field(default=None, repr=False)
    """The plain sync function of a "thread" or "process" task."""
    target: str | None = None
    """"module:qualname" of `function`, by which a worker process finds it. A "thread" task that
    still has a target has not been registered yet: if the target then leads to `function`, it
    becomes a "process" task, else it loses the target."""
    outlives: bool = False
    """Whether its body is one child process in the context's `place`, which goes on when the engine
    dies, and is taken over when the body is run again."""
    machine: Machinery | None = attrs.field(default=None, repr=False)
    """Of a class of several steps: a node with this task is the machine that they are."""
    remembers: bool = False
    """Whether its body reads what the steps of its node gave (`Context.steps`)."""
    opens: Opens | None = attrs.field(default=None, repr=False)
    """Of a task that gives a resource: its body is not run, but this is entered for those who use it."""
    arguments: Arguments | None = attrs.field(default=None, repr=False)
    """Turns checked inputs into keyword arguments of `function`; None passes the inputs as they
    are."""


Routes = Mapping[str, "tuple[Mapping[str, RouteSpec], tuple[RetrySpec, ...]]"]
"""The routes and the retries of each step, by its name."""


@frozen
class Machinery:
    """A class of several steps: the step it starts with, the task of each, and their routes and retries, as a spec has them."""

    start: str
    steps: Mapping[str, Task]
    routes: Routes
    routes_of: Callable[[Mapping[str, Any]], Routes] | None = None
    """Gives them where they depend on what is written in the node's `with`."""


def check_declaration(task: Task) -> None:
    """Raise `TaskError` for an id or an exit that no spec could name."""
    parts = task.id.split(".") if isinstance(task.id, str) else ("",)
    if not all(part.replace("-", "_").isidentifier() for part in parts):
        raise TaskError(
            f"`{task.id}` is not a valid task id", "use names joined by dots: `acme.review`"
        )
    check_exits(task.id, task.exits)


def check_exits(id: str, exits: Mapping[str, int]) -> None:
    """Raise `TaskError` for all that is wrong with names and codes of exits."""
    wrong: list[TaskError] = []
    codes: dict[int, str] = {}
    for name, code in exits.items():
        if error := _wrong_exit(id, name, code):
            wrong.append(error)
        elif code in codes:
            both = f"exits `{codes[code]}` and `{name}` of task `{id}` are both {code}"
            wrong.append(TaskError(both))
        else:
            codes[code] = name
    if wrong:
        raise together(wrong)


def check_schemas(task: Task) -> None:
    """Raise `TaskError` unless the schemas are JSON Schema and the inputs' is of an object. Imports
    jsonschema."""
    if task.input_schema is not None:
        _check_schema(task.input_schema, f"input schema of task `{task.id}`")
        if task.input_schema.get("type") != "object":
            raise TaskError(
                f"input schema of task `{task.id}` must describe an object",
                'write `{"type": "object", "properties": {...}}`',
            )
    if task.output_schema is not None:
        _check_schema(task.output_schema, f"output schema of task `{task.id}`")


_OUTCOMES = ("error", "timeout", "lost", "interrupted")


def _wrong_exit(id: str, name: object, code: object) -> TaskError | None:
    what = f"exit `{name}` of task `{id}`"
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        return TaskError(f"{what} is not an identifier")
    if name in _OUTCOMES:
        return TaskError(f"{what} has the name of a built-in outcome")
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
        return TaskError(f"{what} is {code!r}, not a code from 0 to 255")
    if name == "success" and code != 0:
        return TaskError(f"{what} is {code}, but success is 0")
    return None


def _check_schema(schema: object, what: str) -> None:
    if not isinstance(schema, Mapping):
        raise TaskError(f"{what} is a {type(schema).__name__}, not a table")
    if wrong := schema_error(dict(schema)):
        raise TaskError(f"{what} is not a valid JSON Schema: {Problem('misfit', *wrong)}")
