"""The public names of `engine`: pipelines as TOML specs, checked before they run, run on trio.

Each name is imported when it is first used, so that `import engine` costs nothing: it imports neither trio nor
networkx, nor a module of its own.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine import runtime, stored, testing
    from engine.api import analyse, check, default_registry, load_plan, run
    from engine.diagnostics import Diagnostic, Diagnostics
    from engine.errors import EngineError, InputError, JournalError, SpecError
    from engine.hooks import Hook, HookContext
    from engine.language.dumper import dump
    from engine.plan.plan import Plan
    from engine.record.events import Event
    from engine.record.result import ItemResult, NodeResult, Result
    from engine.sdk.context import Context, Exit, Permanent, RetryAfter
    from engine.sdk.decorator import task
    from engine.sdk.registry import Registry, TaskError
    from engine.sdk.task import Task
    from engine.toml.source import Source
    from engine.version import __version__

__all__ = [
    "Context",
    "Diagnostic",
    "Diagnostics",
    "EngineError",
    "Event",
    "Exit",
    "Hook",
    "HookContext",
    "InputError",
    "ItemResult",
    "JournalError",
    "NodeResult",
    "Permanent",
    "Plan",
    "Registry",
    "Result",
    "RetryAfter",
    "Source",
    "SpecError",
    "Task",
    "TaskError",
    "__version__",
    "analyse",
    "check",
    "default_registry",
    "dump",
    "load_plan",
    "run",
    "runtime",
    "stored",
    "task",
    "testing",
]

_HOMES = {
    "engine.api": ("analyse", "check", "default_registry", "load_plan", "run"),
    "engine.sdk.context": ("Context", "Exit", "Permanent", "RetryAfter"),
    "engine.diagnostics": ("Diagnostic", "Diagnostics"),
    "engine.language.dumper": ("dump",),
    "engine.errors": ("EngineError", "InputError", "JournalError", "SpecError"),
    "engine.record.events": ("Event",),
    "engine.sdk.decorator": ("task",),
    "engine.hooks": ("Hook", "HookContext"),
    "engine.plan.plan": ("Plan",),
    "engine.sdk.registry": ("Registry", "TaskError"),
    "engine.sdk.task": ("Task",),
    "engine.record.result": ("ItemResult", "NodeResult", "Result"),
    "engine.toml.source": ("Source",),
    "engine.version": ("__version__",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = ("runtime", "stored", "testing")

if not TYPE_CHECKING:  # a type checker that saw this would take any name for one of ours

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in _HOME:
            raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
        found = globals()[name] = getattr(import_module(_HOME[name]), name)
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
