"""Names of Python objects into the objects: imports what users wrote, and says in one line why it
cannot.

A module is looked for where Python looks, then in the spec's folder, then in the current directory:
nothing of the user's hides what is installed, and a spec that means a hidden module is told so.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.base.suggestions import nearest

__all__ = [
    "NoSuchTask",
    "TaskError",
    "cause",
    "gathered",
    "import_module",
    "look_up",
    "member",
    "together",
]


class TaskError(ValueError):
    """A task's declaration is wrong, or a task cannot be had; the message is for the user, the cure
    is in `help`."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message = message
        self.help = help
        super().__init__(f"{message} ({help})" if help else message)


class NoSuchTask(TaskError):
    """There is nothing of the name by which a task or its module was asked for."""


def together(errors: Sequence[TaskError]) -> TaskError:
    """One error that says all of them."""
    if len(errors) == 1:
        return errors[0]
    cures = dict.fromkeys(error.help for error in errors if error.help)
    return TaskError("; ".join(error.message for error in errors), "; ".join(cures) or None)


def gathered(*checks: Callable[[], Any]) -> list[Any]:
    """What the checks give; where some raise a `TaskError`, all are made before it is raised."""
    found, wrong = [], []
    for check in checks:
        try:
            found.append(check())
        except TaskError as error:
            wrong.append(error)
    if wrong:
        raise together(wrong)
    return found


def import_module(name: str, folder: Path) -> ModuleType:
    """Import `name`, with `folder` and the current directory importable from now on.

    It runs the module's code. Raises `TaskError` for a module that is not there, raises, or is
    hidden by another one.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise NoSuchTask(f"`{name}` is not the name of a module", "write it as `package.module`")
    _make_importable(folder)
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _not_imported(name, error) from error
    _check_not_hidden(name.partition(".")[0], folder)
    return module


def member(module: ModuleType, qualname: str) -> object:
    """The object that `qualname` ("f" or "Class.f") names in `module`, else a `TaskError` with the
    nearest name."""
    found: object = module
    for part in qualname.split("."):
        if not hasattr(found, part):
            names = getattr(found, "__dict__", {})
            candidates = [name for name, value in names.items() if callable(value)]
            raise NoSuchTask(f"`{module.__name__}` has no `{qualname}`", _meant(part, candidates))
        found = getattr(found, part)
    return found


def look_up(target: str) -> object | None:
    """What "module:qualname" names among the modules that are loaded, or None; imports nothing."""
    module, _, qualname = target.partition(":")
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def cause(error: BaseException, module: str) -> str:
    """What went wrong while `module` was imported, and where in its package's code, in one line."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = " ".join(text.split())
    if not isinstance(error, TaskError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = _place(error, module.partition(".")[0])
    return f"{said} ({place})" if place else said


def _make_importable(folder: Path) -> None:
    for path in (str(folder.resolve()), str(Path.cwd())):
        if path not in sys.path:
            sys.path.append(path)
    importlib.invalidate_caches()


def _not_imported(name: str, error: BaseException) -> TaskError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{name}.".startswith(f"{missing}."):
        return NoSuchTask(f"there is no module `{name}`", _meant_module(missing))
    return TaskError(f"module `{name}` cannot be imported: {cause(error, name)}")


def _meant_module(missing: str) -> str | None:
    import pkgutil

    parent, _, last = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", None) if parent else sys.path
    prefix = f"{parent}." if parent else ""
    return _meant(last, (found.name for found in pkgutil.iter_modules(paths or [])), prefix)


def _meant(word: str, candidates: Iterable[str], prefix: str = "") -> str | None:
    found = nearest(word, candidates)
    return f"did you mean `{prefix}{found}`?" if found else None


def _check_not_hidden(root: str, folder: Path) -> None:
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None or not Path(file).exists():
        return
    for expected in (folder / f"{root}.py", folder / root / "__init__.py"):
        if expected.exists() and not expected.samefile(file):
            raise TaskError(
                f"module `{root}` is {file}, which hides {expected}",
                "give one of them another name",
            )


def _place(error: BaseException, root: str) -> str | None:
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    import traceback

    frames = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == root
    ]
    return frames[-1] if frames else None
