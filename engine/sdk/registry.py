"""Declarations of tasks, `Task`, and the `Registry` that finds them by id.

A task declares its exits as names of codes. `decorator` makes tasks of functions and classes. A registry is a value of
its caller: decorating a function registers nothing, and no id ever hides another.

Source: docs/language.md, "Nodes and steps", "Outcomes", "Resources".
"""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, cast

import attrs

from engine.base.classes import frozen
from engine.sdk.imports import NoSuchTask, TaskError, cause, gathered, import_module, member
from engine.sdk.task import Task, check_declaration, check_schemas

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


__all__ = ["Registry", "TaskError"]


class Registry:
    """The tasks that a spec may name: built-in, from entry points, and of the project's modules.

    `builtin` maps ids to functions that return the task; each is called once, when its id is first requested. Entry points
    are loaded when a project's task is registered, or when an id is not found without them; `find_entry_point_errors` reports
    those that fail. `allow` is a list of patterns like "llm.*" (of `fnmatch`, case-sensitive): any other id is refused.
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
        """Add a `Task`, a decorated object, or a class with `async def execute`; return the task as it will run.

        Registering the same object again changes nothing; another one with a known id raises `TaskError`.
        """
        entry = _entry(source)
        known = self._builtin_entry(entry.task.id) or self._externals().get(entry.task.id)
        _add(self._registered, entry, known)
        return self._registered[entry.task.id].task if known is None else known.task

    def use(self, module: str, folder: Path) -> tuple[Task, ...]:
        """Import `module`, also from `folder`, and register all tasks among its globals.

        Imported tasks are included. Every task is tried before one `TaskError` reports all that fail.
        """
        found = _declared_in(import_module(module, folder))
        return tuple(gathered(*(functools.partial(self.register, task) for task in found)))

    def find(self, id: str, folder: Path) -> Task | None:
        """Return the task `id`, or None if there is none.

        `python:module:function` is imported, also from `folder`. Raises `TaskError` for an id that is not allowed, and for a
        function that cannot be imported.
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
        """Return the allowed ids, sorted, without `python:` ones."""
        known = {*self._builtin, *self._registered, *self._externals()}
        return tuple(sorted(name for name in known if self._allows(name)))

    def broken(self) -> tuple[TaskError, ...]:
        """Load the entry points, and return the errors of those that give no tasks, or not all."""
        self._externals()
        return tuple(self._broken)

    def origin(self, id: str) -> str | None:
        """Return where task `id` comes from, or None if unknown.

        "built-in", "entry point NAME of DISTRIBUTION" or "module:name".
        """
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
        """Load the tasks of all entry points at once: the ids of a module cannot be known otherwise."""
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


@frozen(eq=False)
class _Entry:
    """A task as it will run, its origin, and the very object that it was made of."""

    task: Task
    origin: str
    source: object


def _entry(source: object, origin: str | None = None) -> _Entry:
    task, source = _task_of(source)
    check_declaration(task)
    check_schemas(task)
    return _Entry(task, origin or _written_at(task), source)


def _task_of(source: object) -> tuple[Task, object]:
    """A task, and what makes it the same when it is registered again; what is one already needs no signature read."""
    if issubclass(type(source), Task) and cast("Task", source).function is None:
        return cast("Task", source), source
    from engine.sdk.decorator import as_task, marked

    return as_task(source), marked(source) or source


def _add(entries: dict[str, _Entry], entry: _Entry, known: _Entry | None) -> None:
    """Add an entry to `entries` unless they, or `known`, have its id; raise `TaskError` for a different object."""
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
    from engine.sdk.decorator import marked

    found = (marked(value) for value in tuple(vars(module).values()))
    return tuple(task for task in found if task is not None)


def _python(id: str, folder: Path) -> _Entry:
    from engine.sdk.decorator import as_task

    name, _, qualname = id.removeprefix(_PYTHON).partition(":")
    if not name or not qualname:
        raise NoSuchTask(f"`{id}` does not name a function", "write `python:module:function`")
    source = member(import_module(name, folder), qualname)
    task = attrs.evolve(as_task(source, f"{name}:{qualname}"), id=id)
    check_schemas(task)
    return _Entry(task, f"{name}:{qualname}", source)


def _entry_points() -> Iterable[Callable[[], list[_Entry]]]:
    """Yield for each entry point the function that loads its tasks."""
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
