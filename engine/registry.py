"""`Task`, the declaration of a task, and the `Registry` that finds tasks by id.

A task declares its exits as names of codes. `functions.py` makes tasks of functions and classes. A registry is a value of its
caller: nothing is registered anywhere by being decorated, and no id ever hides another. Source:
LANGUAGE.md sections 3, 4 and 9.
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

import attrs

from engine.context import Context
from engine.modules import NoSuchTask, TaskError, cause, gathered, import_module, member, together
from engine.schemas import Problem, schema_error

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from importlib.metadata import EntryPoint

    from engine.spec import RetrySpec, RouteSpec

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
    "Registry",
    "Routes",
    "Task",
    "TaskError",
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


@attrs.frozen
class Named:
    """Something that a `with` names: a task or a pipeline that the body runs, or a resource that it needs, at `path` below it."""

    kind: Literal["task", "pipeline", "resource"]
    id: str
    path: tuple[str | int, ...]


Names = Callable[[Mapping[str, Any]], "Iterable[Named]"]
"""`names(with)` gives what a step's `with` names, as far as it is written out."""
Opens = Callable[[dict[str, Any], "Context"], "AbstractAsyncContextManager[Any]"]
"""`opens(inputs, context)` gives an async context manager, whose value is what users of the resource get."""


@attrs.frozen(eq=False)
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


@attrs.frozen
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
            f"`{task.id}` is no id of a task", "use names joined by dots: `acme.review`"
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
                f"input schema of task `{task.id}` is not of an object",
                'write `{"type": "object", "properties": {...}}`',
            )
    if task.output_schema is not None:
        _check_schema(task.output_schema, f"output schema of task `{task.id}`")


class Registry:
    """The tasks that a spec may name: built-in ones, entry points, and those of the project's
    modules.

    `builtin` maps ids to functions that give the task; each is called once, when it is first looked
    for. Entry points are loaded when a project's task is registered or an id is not found without
    them; what keeps one from being loaded `broken` tells. `allow` is a list of patterns like
    "llm.*" (of `fnmatch`, case counts): any other id is refused.
    """

    def __init__(
        self,
        builtin: Mapping[str, Callable[[], Task]] | None = None,
        entry_points: bool = True,
        allow: Iterable[str] | None = None,
    ) -> None:
        self._builtin = dict(builtin or {})
        self._allow = None if allow is None else tuple(allow)
        self._loaded: dict[str, _Entry] = {}  # built-in tasks and `python:` functions
        self._registered: dict[str, _Entry] = {}
        self._external: dict[str, _Entry] | None = None if entry_points else {}
        self._broken: list[TaskError] = []

    def register(self, source: object) -> Task:
        """Add a `Task`, what `@task` decorated, or a class with `async def execute`; give the task
        as it will run.

        Registering the same object again changes nothing; another one with a known id is a
        `TaskError`.
        """
        entry = _entry(source)
        known = self._builtin_entry(entry.task.id) or self._externals().get(entry.task.id)
        _add(self._registered, entry, known)
        return self._registered[entry.task.id].task if known is None else known.task

    def use(self, module: str, folder: Path) -> tuple[Task, ...]:
        """Import `module`, looked for in `folder` too, and register all tasks among its globals,
        imported ones included; what is wrong with some is raised when all have been tried."""
        found = _declared_in(import_module(module, folder))
        return tuple(gathered(*(functools.partial(self.register, task) for task in found)))

    def find(self, id: str, folder: Path) -> Task | None:
        """The task `id`, or None if there is none. `python:module:function` is imported, also from
        `folder`.

        Raises `TaskError` for an id that is not allowed, and for a function that cannot be had.
        """
        whole, slash, step = id.partition("/")
        if slash:
            found = self.find(whole, folder)
            return found.machine.steps.get(step) if found and found.machine else None
        if id.startswith(_PYTHON):
            self._check_allowed(id)
            if id not in self._loaded:
                self._loaded[id] = _python(id, folder)
            return self._loaded[id].task
        entry = self._entry(id)
        if entry is None:
            return None
        self._check_allowed(id)
        return entry.task

    def ids(self) -> tuple[str, ...]:
        """The allowed ids in order, without `python:` ones."""
        known = {*self._builtin, *self._registered, *self._externals()}
        return tuple(sorted(name for name in known if self._allows(name)))

    def broken(self) -> tuple[TaskError, ...]:
        """Why entry points give no tasks, or not all of theirs; loads them."""
        self._externals()
        return tuple(self._broken)

    def origin(self, id: str) -> str | None:
        """Where task `id` comes from: "built-in", "entry point NAME of DISTRIBUTION" or
        "module:name"; None if unknown."""
        entry = self._loaded.get(id) if id.startswith(_PYTHON) else self._entry(id)
        return entry.origin if entry else None

    def _entry(self, id: str) -> _Entry | None:
        return self._registered.get(id) or self._builtin_entry(id) or self._externals().get(id)

    def _builtin_entry(self, id: str) -> _Entry | None:
        if id not in self._loaded and id in self._builtin:
            task = self._builtin[id]()
            self._loaded[id] = _Entry(task, "built-in", task)
        return self._loaded.get(id)

    def _externals(self) -> dict[str, _Entry]:
        """What entry points give, loaded all at once: a module's ids cannot be known otherwise."""
        if self._external is None:
            found: dict[str, _Entry] = {}
            for add in _entry_points():
                try:
                    for entry in add():
                        _add(found, entry, self._builtin_entry(entry.task.id))
                except TaskError as error:
                    self._broken.append(error)
            self._external = found
        return self._external

    def _allows(self, id: str) -> bool:
        return self._allow is None or any(fnmatch.fnmatchcase(id, p) for p in self._allow)

    def _check_allowed(self, id: str) -> None:
        if not self._allows(id):
            patterns = ", ".join(f"`{pattern}`" for pattern in self._allow or ())
            raise NoSuchTask(f"task `{id}` is not allowed here", f"allowed: {patterns or 'none'}")


_PYTHON = "python:"
_GROUP = "engine.tasks"
_OUTCOMES = ("error", "timeout", "lost", "interrupted")


@attrs.frozen(eq=False)
class _Entry:
    """A task as it will run, where it comes from, and the very object that it was made of."""

    task: Task
    origin: str
    source: object


def _entry(source: object, origin: str | None = None) -> _Entry:
    from engine.functions import as_task, marked

    task = as_task(source)
    check_declaration(task)
    check_schemas(task)
    return _Entry(task, origin or _written_at(task), marked(source) or source)


def _add(entries: dict[str, _Entry], entry: _Entry, known: _Entry | None) -> None:
    """Add to `entries` what neither they nor `known` have under its id."""
    known = known or entries.get(entry.task.id)
    if known is None:
        entries[entry.task.id] = entry
    elif known.source is not entry.source:
        raise TaskError(
            f"task `{entry.task.id}` is defined twice: {known.origin} and {entry.origin}",
            "give one of them another id",
        )


def _written_at(task: Task) -> str:
    owner = task.function or task.body
    return f"{owner.__module__}:{getattr(owner, '__qualname__', type(owner).__qualname__)}"


def _declared_in(module: ModuleType) -> tuple[Task, ...]:
    from engine.functions import marked

    found = (marked(value) for value in tuple(vars(module).values()))
    return tuple(task for task in found if task is not None)


def _python(id: str, folder: Path) -> _Entry:
    from engine.functions import as_task

    name, _, qualname = id.removeprefix(_PYTHON).partition(":")
    if not name or not qualname:
        raise NoSuchTask(f"`{id}` names no function", "write `python:module:function`")
    source = member(import_module(name, folder), qualname)
    task = attrs.evolve(as_task(source, f"{name}:{qualname}"), id=id)
    check_schemas(task)
    return _Entry(task, f"{name}:{qualname}", source)


def _entry_points() -> Iterable[Callable[[], list[_Entry]]]:
    """For each entry point what loads its tasks."""
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=_GROUP), key=lambda point: (point.name, point.value)):
        yield functools.partial(_tasks_of, point)


def _tasks_of(point: EntryPoint) -> list[_Entry]:
    where = f"entry point {point.name}" + (f" of {point.dist.name}" if point.dist else "")
    try:
        return [_entry(source, where) for source in _loaded(point, where)]
    except TaskError as error:
        named = error.message.startswith(where)
        message = error.message if named else f"{where} cannot be loaded: {error.message}"
        raise TaskError(message, error.help) from error


def _loaded(point: EntryPoint, where: str) -> tuple[object, ...]:
    try:
        loaded = point.load()
    except Exception as error:  # another package's code, which may raise anything when imported
        raise TaskError(f"{where} cannot be loaded: {cause(error, point.module)}") from error
    return _declared_in(loaded) if isinstance(loaded, ModuleType) else (loaded,)


def _wrong_exit(id: str, name: object, code: object) -> TaskError | None:
    what = f"exit `{name}` of task `{id}`"
    if not isinstance(name, str) or not name.isidentifier() or not name.isascii():
        return TaskError(f"{what} is not an identifier")
    if name in _OUTCOMES:
        return TaskError(f"{what} has the name of an outcome that the engine gives")
    if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
        return TaskError(f"{what} is {code!r}, not a code from 0 to 255")
    if name == "success" and code != 0:
        return TaskError(f"{what} is {code}, but success is 0")
    return None


def _check_schema(schema: object, what: str) -> None:
    if not isinstance(schema, Mapping):
        raise TaskError(f"{what} is a {type(schema).__name__}, not a table")
    if wrong := schema_error(dict(schema)):
        raise TaskError(f"{what} is no JSON Schema: {Problem('misfit', *wrong)}")
