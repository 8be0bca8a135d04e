"""The engine from plain Python: a path or a Plan in, diagnostics or a Result out.

What `engine check` and `engine run` do; the command line adds printing. Blocking calls start trio
by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from engine.base.gc_pause import without_collecting
from engine.checking.checker import check as check_plan
from engine.checking.selection import Settings, chosen
from engine.compile.compiler import outline
from engine.diagnostics import Diagnostics
from engine.errors import EngineError, SpecError
from engine.language.loader import load
from engine.plan.plan import Plan
from engine.sdk.registry import Registry
from engine.settings import hooks_for, settings_for
from engine.toml.source import Source, read

if TYPE_CHECKING:
    from engine.analysis.bounds import Bounds
    from engine.record.result import Result
    from engine.runtime.options import Options

__all__ = ["analyse", "check", "default_registry", "load_plan", "run", "worst_case"]

Spec = str | os.PathLike[str] | Source
Reader = Callable[[Path], Source]


def default_registry(tasks: Iterable[object] = (), allow: Iterable[str] | None = None) -> Registry:
    """A registry with the built-in tasks, entry points, and the tasks given; of the former only those that `allow`
    has, ids or patterns like "file.*"."""
    from engine import tasks as builtin

    given = [*tasks]
    if allow is not None:
        from engine.sdk.decorator import as_task

        allow = [*allow, *(as_task(task).id for task in given)]
    registry = Registry({id: _loader(id) for id in builtin.ids()}, allow=allow)
    for task in given:
        registry.register(task)
    return registry


def _loader(id: str) -> Any:
    def load_task() -> Any:
        from engine import tasks as builtin

        return builtin.load(id)

    return load_task


def analyse(
    spec: Spec,
    registry: Registry | None = None,
    *,
    tasks: Iterable[object] = (),
    settings: Settings | None = None,
    reader: Reader = read,
) -> tuple[Plan | None, Diagnostics]:
    """The plan of a spec and everything there is to say about it; None with at least one error.

    `spec` is a path, or a Source for text that is in no file. `settings` say what is ignored; those
    of a path are by default in `[tool.engine]` of the nearest `pyproject.toml`. `reader` gives the
    text of the files that it includes. Raises EngineError if the file or the settings cannot be read.
    """
    plan, found = _examined(spec, registry, tasks, settings, reader)
    return (None if found.errors else plan), found


def worst_case(
    spec: Spec, registry: Registry | None = None, *, tasks: Iterable[object] = ()
) -> tuple[Bounds | None, Diagnostics]:
    """What runs of a spec can come to at most, and all findings; None with an error but E601."""
    from engine.analysis.bounds import bounds_of
    from engine.rules.limit_exceeded import RULE

    plan, found = _examined(spec, registry, tasks, None)
    if plan is None or any(error.rule is not RULE for error in found.errors):
        return None, found
    return bounds_of(plan), found


def _examined(
    spec: Spec,
    registry: Registry | None,
    tasks: Iterable[object],
    settings: Settings | None,
    reader: Reader = read,
) -> tuple[Plan | None, Diagnostics]:
    """The plan as far as it is understood, and all findings."""
    if settings is None:
        settings = Settings() if isinstance(spec, Source) else settings_for(spec)
    source = spec if isinstance(spec, Source) else _read(spec)
    registry = registry if registry is not None else default_registry(tasks, settings.tasks)
    with without_collecting():
        loaded, found = load(source, reader)
        if loaded is None:
            return None, found
        plan, more = outline(loaded, registry)
        told = _unsilenced(source, Diagnostics.of([*found, *more, *check_plan(plan)]))
        return plan, chosen(told, settings)


def _unsilenced(root: Source, found: Diagnostics) -> Diagnostics:
    """The findings less those that comments silence; few texts have such comments."""
    if not any("engine:" in text for text in {root.text, *(each.source.text for each in found)}):
        return found
    from engine.checking.suppressions import silence

    return silence(root, found)


def _read(path: str | os.PathLike[str]) -> Source:
    try:
        return read(path)
    except IsADirectoryError:
        raise EngineError(f"`{os.fspath(path)}` is a folder, not a spec") from None
    except OSError as error:
        raise EngineError(f"`{os.fspath(path)}` cannot be read: {error.strerror}") from None


def check(
    spec: Spec,
    registry: Registry | None = None,
    *,
    tasks: Iterable[object] = (),
    settings: Settings | None = None,
) -> Diagnostics:
    """All findings about a spec; empty if it is sound. Arguments as for `analyse`."""
    return analyse(spec, registry, tasks=tasks, settings=settings)[1]


def load_plan(
    spec: Spec, registry: Registry | None = None, *, tasks: Iterable[object] = ()
) -> Plan:
    """The plan of a spec that passes the check; SpecError with all findings otherwise."""
    plan, found = analyse(spec, registry, tasks=tasks)
    if plan is None:
        raise SpecError(found)
    return plan


def run(
    spec: Spec | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> Result:
    """Run a spec to its end and give its result; blocks. `options` are those of
    `engine.runtime.Options`.

    In the main thread Ctrl-C, SIGTERM, SIGHUP and SIGQUIT cancel the run, which still gives its
    result; a second signal ends the grace period. Raises SpecError, InputError, EngineError, and TypeError for an
    option that there is not.
    """
    from engine.runtime.blocking import run_blocking
    from engine.runtime.options import options_of

    chosen = options_of(options)
    plan = spec if isinstance(spec, Plan) else load_plan(spec, registry, tasks=tasks)
    return run_blocking(plan, inputs, with_hooks(chosen, plan))


def with_hooks(options: Options, plan: Plan) -> Options:
    """The options with the hooks that the project of a spec names."""
    named = hooks_for(plan.path) if Path(plan.path).is_file() else ()
    return attrs.evolve(options, hooks=(*options.hooks, *named)) if named else options


def look(
    spec: Spec | Plan,
    inputs: Mapping[str, Any] | None = None,
    *,
    registry: Registry | None = None,
    tasks: Iterable[object] = (),
    **options: Any,
) -> tuple[str, ...]:
    """What of the services that a spec requires is not well, a sentence each; blocks. Nothing is run but the
    tasks of its `[services]`. Arguments and errors as for `run`."""
    from engine.runtime.blocking import look as look_now
    from engine.runtime.options import options_of

    chosen = options_of(options)
    plan = spec if isinstance(spec, Plan) else load_plan(spec, registry, tasks=tasks)
    return look_now(plan, inputs, chosen)
