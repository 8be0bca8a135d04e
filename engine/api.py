"""Check and run specs from plain Python: a path or a Plan in, Diagnostics or a Result out.

The same as `engine check` and `engine run` without the printing. Blocking calls start trio themselves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from engine.checking.checker import Reader, examine
from engine.checking.selection import Settings
from engine.diagnostics import Diagnostics
from engine.errors import EngineError, SpecError
from engine.plan.plan import Plan
from engine.sdk.registry import Registry
from engine.settings import find_settings, load_hooks
from engine.toml.source import Source, read_source

if TYPE_CHECKING:
    from engine.analysis.bounds import Bounds
    from engine.record.result import Result
    from engine.runtime.options import Options

__all__ = ["analyse", "check", "compute_worst_case", "default_registry", "load_plan", "run"]

SpecLike = str | os.PathLike[str] | Source


def default_registry(tasks: Iterable[object] = (), allow: Iterable[str] | None = None) -> Registry:
    """Return a registry with the built-in tasks, the installed entry points and the given `tasks`.

    `allow` restricts the built-in tasks and entry points to these ids or patterns, such as "file.*".
    """
    from engine import tasks as builtin

    given = [*tasks]
    if allow is not None:
        from engine.sdk.decorator import as_task

        allow = [*allow, *(as_task(task).id for task in given)]
    registry = Registry({id: _build_loader(id) for id in builtin.builtin_ids()}, allow=allow)
    for task in given:
        registry.register(task)
    return registry


def _build_loader(id: str) -> Any:
    def load_task() -> Any:
        from engine import tasks as builtin

        return builtin.load_builtin(id)

    return load_task


def analyse(
    spec: SpecLike,
    registry: Registry | None = None,
    *,
    tasks: Iterable[object] = (),
    settings: Settings | None = None,
    reader: Reader = read_source,
) -> tuple[Plan | None, Diagnostics]:
    """Compile and check a spec; return its plan, or None if there are errors, and all diagnostics.

    `spec` is a path, or a Source for text that is in no file. `settings` decide which diagnostics are ignored; for a
    path they default to `[tool.engine]` of the nearest `pyproject.toml`. `reader` returns the text of included
    files. Raises EngineError if the file or the settings cannot be read.
    """
    plan, found = _examine(spec, registry, tasks, settings, reader)
    return (None if found.errors else plan), found


def compute_worst_case(
    spec: SpecLike, registry: Registry | None = None, *, tasks: Iterable[object] = ()
) -> tuple[Bounds | None, Diagnostics]:
    """Return the worst-case bounds of a spec's runs, and all diagnostics.

    The bounds are None if there is an error other than E601.
    """
    from engine.analysis.bounds import compute_bounds
    from engine.rules.limit_exceeded import RULE

    plan, found = _examine(spec, registry, tasks, None)
    if plan is None or any(error.rule is not RULE for error in found.errors):
        return None, found
    return compute_bounds(plan), found


def _examine(
    spec: SpecLike,
    registry: Registry | None,
    tasks: Iterable[object],
    settings: Settings | None,
    reader: Reader = read_source,
) -> tuple[Plan | None, Diagnostics]:
    """Check a path or a Source, with the settings of its project and a registry of these tasks by default."""
    if settings is None:
        settings = Settings() if isinstance(spec, Source) else find_settings(spec)
    source = spec if isinstance(spec, Source) else _read_source(spec)
    registry = registry if registry is not None else default_registry(tasks, settings.tasks)
    return examine(source, registry, settings, reader)


def _read_source(path: str | os.PathLike[str]) -> Source:
    try:
        return read_source(path)
    except IsADirectoryError:
        raise EngineError(f"`{os.fspath(path)}` is a folder, not a spec") from None
    except OSError as error:
        raise EngineError(f"`{os.fspath(path)}` cannot be read: {error.strerror}") from None


def check(
    spec: SpecLike,
    registry: Registry | None = None,
    *,
    tasks: Iterable[object] = (),
    settings: Settings | None = None,
) -> Diagnostics:
    """Return all diagnostics of a spec; empty if it is sound.

    The arguments are those of `analyse`.
    """
    return analyse(spec, registry, tasks=tasks, settings=settings)[1]


def load_plan(
    spec: SpecLike, registry: Registry | None = None, *, tasks: Iterable[object] = ()
) -> Plan:
    """Return the plan of a spec that passes the check.

    Raises SpecError with all diagnostics if there are errors.
    """
    plan, found = analyse(spec, registry, tasks=tasks)
    if plan is None:
        raise SpecError(found)
    return plan


def run(
    spec: SpecLike | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> Result:
    """Run a spec to its end and return the result; blocks.

    `options` are those of `engine.runtime.Options`. In the main thread Ctrl-C, SIGTERM, SIGHUP and SIGQUIT cancel the
    run, which still returns its result; a second signal ends the grace period. Raises SpecError, InputError,
    EngineError, and TypeError for an unknown option.
    """
    from engine.runtime.blocking import run_blocking
    from engine.runtime.options import parse_options

    chosen = parse_options(options)
    plan = spec if isinstance(spec, Plan) else load_plan(spec, registry, tasks=tasks)
    return run_blocking(plan, inputs, add_project_hooks(chosen, plan))


def add_project_hooks(options: Options, plan: Plan) -> Options:
    """Add the hooks that the project of a spec configures to the options."""
    named = load_hooks(plan.path) if Path(plan.path).is_file() else ()
    return attrs.evolve(options, hooks=(*options.hooks, *named)) if named else options


def check_required_services(
    spec: SpecLike | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> tuple[str, ...]:
    """Check the services that a spec requires, and describe each failure in one sentence; blocks.

    Runs only the tasks of `[services]`. The arguments and errors are those of `run`.
    """
    from engine.runtime.blocking import check_services as look_now
    from engine.runtime.options import parse_options

    chosen = parse_options(options)
    plan = spec if isinstance(spec, Plan) else load_plan(spec, registry, tasks=tasks)
    return look_now(plan, inputs, chosen)
