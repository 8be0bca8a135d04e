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
from engine.sdk.imports import (
    NoSuchTask,
    TaskError,
    describe_import_error,
    get_member,
    import_module,
    run_checks,
)
from engine.sdk.task import Task, validate_declaration, validate_schemas

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


__all__ = ["Registry", "TaskError"]


class Registry:
    """The tasks that a spec may name: built-in, from entry points, and of the project's modules.

    `builtin` maps ids to functions that return the task; each is called once, when its id is first requested. Entry
    points are loaded when a project's task is registered, or when an id is not found without them;
    `find_entry_point_errors` reports those that fail. `allow` is a list of patterns like "llm.*" (of `fnmatch`,
    case-sensitive): any other id is refused.
    """

    def __init__(
        self,
        builtin: Mapping[str, Callable[[], Task]] | None = None,
        entry_points: bool = True,
        allow: Iterable[str] | None = None,
    ) -> None:
        self._builtin = dict(builtin or {})
        self._allowed_patterns = None if allow is None else tuple(allow)
        self._loaded_entries: dict[str, _Entry] = {}  # built-in tasks and `python:` functions
        self._registered_entries: dict[str, _Entry] = {}
        self._external_entries: dict[str, _Entry] | None = None if entry_points else {}
        self._entry_point_errors: list[TaskError] = []

    def register(self, source: object) -> Task:
        """Add a `Task`, a decorated object, or a class with `async def execute`; return the task as it will run.

        Registering the same object again changes nothing; another one with a known id raises `TaskError`.
        """
        entry = _build_entry(source)
        known = self._find_builtin_entry(entry.task.id) or self._load_external_entries().get(
            entry.task.id
        )
        _add_entry(self._registered_entries, entry, known)
        return self._registered_entries[entry.task.id].task if known is None else known.task

    def register_module(self, module: str, folder: Path) -> tuple[Task, ...]:
        """Import `module`, also from `folder`, and register all tasks among its globals.

        Imported tasks are included. Every task is tried before one `TaskError` reports all that fail.
        """
        found = _find_declared_tasks(import_module(module, folder))
        return tuple(run_checks(*(functools.partial(self.register, task) for task in found)))

    def find(self, id: str, folder: Path) -> Task | None:
        """Return the task `id`, or None if there is none.

        `python:module:function` is imported, also from `folder`. Raises `TaskError` for an id that is not allowed, and
        for a function that cannot be imported.
        """
        whole, slash, step = id.partition("/")
        if slash:
            found = self.find(whole, folder)
            return found.machine.steps.get(step) if found and found.machine else None
        if id.startswith(_PYTHON_PREFIX):
            self._require_allowed(id)
            if id not in self._loaded_entries:
                self._loaded_entries[id] = _load_python_task(id, folder)
            return self._loaded_entries[id].task
        entry = self._find_entry(id)
        if entry is None:
            return None
        self._require_allowed(id)
        return entry.task

    def list_ids(self) -> tuple[str, ...]:
        """Return the allowed ids, sorted, without `python:` ones."""
        known = {*self._builtin, *self._registered_entries, *self._load_external_entries()}
        return tuple(sorted(name for name in known if self._is_allowed(name)))

    def find_entry_point_errors(self) -> tuple[TaskError, ...]:
        """Load the entry points, and return the errors of those that give no tasks, or not all."""
        self._load_external_entries()
        return tuple(self._entry_point_errors)

    def find_origin(self, id: str) -> str | None:
        """Return where task `id` comes from, or None if unknown.

        "built-in", "entry point NAME of DISTRIBUTION" or "module:name".
        """
        entry = (
            self._loaded_entries.get(id) if id.startswith(_PYTHON_PREFIX) else self._find_entry(id)
        )
        return entry.origin if entry else None

    def _find_entry(self, id: str) -> _Entry | None:
        return (
            self._registered_entries.get(id)
            or self._find_builtin_entry(id)
            or self._load_external_entries().get(id)
        )

    def _find_builtin_entry(self, id: str) -> _Entry | None:
        if id not in self._loaded_entries and id in self._builtin:
            task = self._builtin[id]()
            self._loaded_entries[id] = _Entry(task, "built-in", task)
        return self._loaded_entries.get(id)

    def _load_external_entries(self) -> dict[str, _Entry]:
        """Load the tasks of all entry points at once: the ids of a module cannot be known otherwise."""
        if self._external_entries is None:
            found: dict[str, _Entry] = {}
            for add in _iter_entry_point_loaders():
                try:
                    for entry in add():
                        _add_entry(found, entry, self._find_builtin_entry(entry.task.id))
                except TaskError as error:
                    self._entry_point_errors.append(error)
            self._external_entries = found
        return self._external_entries

    def _is_allowed(self, id: str) -> bool:
        return self._allowed_patterns is None or any(
            fnmatch.fnmatchcase(id, p) for p in self._allowed_patterns
        )

    def _require_allowed(self, id: str) -> None:
        if not self._is_allowed(id):
            patterns = ", ".join(f"`{pattern}`" for pattern in self._allowed_patterns or ())
            raise NoSuchTask(f"task `{id}` is not allowed here", f"allowed: {patterns or 'none'}")


_PYTHON_PREFIX = "python:"
_ENTRY_POINT_GROUP = "engine.tasks"


@frozen(eq=False)
class _Entry:
    """A task as it will run, its origin, and the very object that it was made of."""

    task: Task
    origin: str
    source: object


def _build_entry(source: object, origin: str | None = None) -> _Entry:
    task, source = _resolve_task(source)
    validate_declaration(task)
    validate_schemas(task)
    return _Entry(task, origin or _describe_origin(task), source)


def _resolve_task(source: object) -> tuple[Task, object]:
    """Return the task of an object, and the object that identifies it when it is registered again.

    For a Task no signature is read.
    """
    if issubclass(type(source), Task) and cast("Task", source).function is None:
        return cast("Task", source), source
    from engine.sdk.decorator import as_task, declared_task

    return as_task(source), declared_task(source) or source


def _add_entry(entries: dict[str, _Entry], entry: _Entry, known: _Entry | None) -> None:
    """Add an entry to `entries` unless they, or `known`, have its id; raise `TaskError` for a different object."""
    known = known or entries.get(entry.task.id)
    if known is None:
        entries[entry.task.id] = entry
    elif known.source is not entry.source:
        raise TaskError(
            f"task `{entry.task.id}` is defined twice: {known.origin} and {entry.origin}",
            "give one of them another id",
        )


def _describe_origin(task: Task) -> str:
    owner = task.function or task.body
    return f"{owner.__module__}:{getattr(owner, '__qualname__', type(owner).__qualname__)}"


def _find_declared_tasks(module: ModuleType) -> tuple[Task, ...]:
    from engine.sdk.decorator import declared_task

    found = (declared_task(value) for value in tuple(vars(module).values()))
    return tuple(task for task in found if task is not None)


def _load_python_task(id: str, folder: Path) -> _Entry:
    from engine.sdk.decorator import as_task

    name, _, qualname = id.removeprefix(_PYTHON_PREFIX).partition(":")
    if not name or not qualname:
        raise NoSuchTask(f"`{id}` does not name a function", "write `python:module:function`")
    source = get_member(import_module(name, folder), qualname)
    task = attrs.evolve(as_task(source, f"{name}:{qualname}"), id=id)
    validate_schemas(task)
    return _Entry(task, f"{name}:{qualname}", source)


def _iter_entry_point_loaders() -> Iterable[Callable[[], list[_Entry]]]:
    """Yield for each entry point the function that loads its tasks."""
    from importlib.metadata import entry_points

    for point in sorted(
        entry_points(group=_ENTRY_POINT_GROUP), key=lambda point: (point.name, point.value)
    ):
        yield functools.partial(_load_entry_point_tasks, point)


def _load_entry_point_tasks(point: EntryPoint) -> list[_Entry]:
    where = f"entry point {point.name}" + (f" of {point.dist.name}" if point.dist else "")
    try:
        return [_build_entry(source, where) for source in _load_entry_point(point, where)]
    except TaskError as error:
        named = error.message.startswith(where)
        message = error.message if named else f"{where} cannot be loaded: {error.message}"
        raise TaskError(message, error.help) from error


def _load_entry_point(point: EntryPoint, where: str) -> tuple[object, ...]:
    try:
        loaded = point.load()
    except Exception as error:  # another package's code, which may raise anything when imported
        raise TaskError(
            f"{where} cannot be loaded: {describe_import_error(error, point.module)}"
        ) from error
    return _find_declared_tasks(loaded) if isinstance(loaded, ModuleType) else (loaded,)
