"""Import modules of users, find objects in them by name, and explain in one line why an import fails.

A module is searched where Python looks, then in the spec's directory, then in the current directory: no module of
the user hides an installed one, and a spec that means a hidden module gets an error.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from engine.base.suggestions import closest_match

__all__ = [
    "NoSuchTask",
    "TaskError",
    "describe_import_error",
    "find_by_qualname",
    "get_member",
    "import_module",
    "merge_errors",
    "run_checks",
]


class TaskError(ValueError):
    """A task is declared wrongly or cannot be found; `message` is for the user, `help` says how to fix it."""

    def __init__(self, message: str, help: str | None = None) -> None:
        self.message = message
        self.help = help
        super().__init__(f"{message} ({help})" if help else message)


class NoSuchTask(TaskError):
    """No task or module has the requested name."""


def merge_errors(errors: Sequence[TaskError]) -> TaskError:
    """Merge several errors into one that states all of them; `errors` must not be empty."""
    if len(errors) == 1:
        return errors[0]
    cures = dict.fromkeys(error.help for error in errors if error.help)
    return TaskError("; ".join(error.message for error in errors), "; ".join(cures) or None)


def run_checks(*checks: Callable[[], Any]) -> list[Any]:
    """Call every check and return their results; raise one `TaskError` for all that fail.

    All checks are called before it is raised.
    """
    found, wrong = [], []
    for check in checks:
        try:
            found.append(check())
        except TaskError as error:
            wrong.append(error)
    if wrong:
        raise merge_errors(wrong)
    return found


def import_module(name: str, folder: Path) -> ModuleType:
    """Import a module, searching `folder` and the current directory too; both stay importable.

    It runs the module's code. Raises `TaskError` for a module that does not exist, raises, or is hidden by another one.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise NoSuchTask(f"`{name}` is not the name of a module", "write it as `package.module`")
    _make_importable(folder)
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        raise _build_import_error(name, error) from error
    _validate_not_hidden(name.partition(".")[0], folder)
    return module


def get_member(module: ModuleType, qualname: str) -> object:
    """Return the object that `qualname` ("f" or "Class.f") names in `module`.

    Raises `NoSuchTask` with the closest name as help.
    """
    found: object = module
    for part in qualname.split("."):
        if not hasattr(found, part):
            names = getattr(found, "__dict__", {})
            candidates = [name for name, value in names.items() if callable(value)]
            raise NoSuchTask(f"`{module.__name__}` has no `{qualname}`", _suggest(part, candidates))
        found = getattr(found, part)
    return found


def find_by_qualname(target: str) -> object | None:
    """Return the object that "module:qualname" names in the loaded modules, or None; imports nothing."""
    module, _, qualname = target.partition(":")
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def describe_import_error(error: BaseException, module: str) -> str:
    """Describe in one line why the import of `module` failed, and where in its package's code."""
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    said = " ".join(text.split())
    if not isinstance(error, TaskError):
        said = f"{type(error).__name__}: {said}" if said else type(error).__name__
    place = _locate_error(error, module.partition(".")[0])
    return f"{said} ({place})" if place else said


def _make_importable(folder: Path) -> None:
    for path in (str(folder.resolve()), str(Path.cwd())):
        if path not in sys.path:
            sys.path.append(path)
    importlib.invalidate_caches()


def _build_import_error(name: str, error: BaseException) -> TaskError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing is not None and f"{name}.".startswith(f"{missing}."):
        return NoSuchTask(f"there is no module `{name}`", _suggest_module(missing))
    return TaskError(f"module `{name}` cannot be imported: {describe_import_error(error, name)}")


def _suggest_module(missing: str) -> str | None:
    import pkgutil

    parent, _, last = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", None) if parent else sys.path
    prefix = f"{parent}." if parent else ""
    return _suggest(last, (found.name for found in pkgutil.iter_modules(paths or [])), prefix)


def _suggest(word: str, candidates: Iterable[str], prefix: str = "") -> str | None:
    found = closest_match(word, candidates)
    return f"did you mean `{prefix}{found}`?" if found else None


def _validate_not_hidden(root: str, folder: Path) -> None:
    file = getattr(sys.modules.get(root), "__file__", None)
    if file is None or not Path(file).exists():
        return
    for expected in (folder / f"{root}.py", folder / root / "__init__.py"):
        if expected.exists() and not expected.samefile(file):
            raise TaskError(
                f"module `{root}` is {file}, which hides {expected}",
                "give one of them another name",
            )


def _locate_error(error: BaseException, root: str) -> str | None:
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{error.filename}:{error.lineno}"
    import traceback

    frames = [
        f"{frame.f_code.co_filename}:{line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] == root
    ]
    return frames[-1] if frames else None
