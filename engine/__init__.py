"""Pipelines as TOML specs: checked before they run, run on trio. The public names.

Each is imported when it is first used, so that `import engine` costs nothing: neither trio nor
networkx, nor a module of its own.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine import runtime, stored, testing
    from engine.api import analyse, check, default_registry, load_plan, run
    from engine.context import Context, Exit, Permanent, RetryAfter
    from engine.diagnostics import Diagnostic, Diagnostics
    from engine.dumper import dump
    from engine.errors import EngineError, InputError, JournalError, SpecError
    from engine.events import Event
    from engine.functions import task
    from engine.plan import Plan
    from engine.registry import Registry, Task, TaskError
    from engine.result import ItemResult, NodeResult, Result

__all__ = [
    "Context",
    "Diagnostic",
    "Diagnostics",
    "EngineError",
    "Event",
    "Exit",
    "InputError",
    "ItemResult",
    "JournalError",
    "NodeResult",
    "Permanent",
    "Plan",
    "Registry",
    "Result",
    "RetryAfter",
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

__version__ = "0.1.0"

_HOMES = {
    "engine.api": ("analyse", "check", "default_registry", "load_plan", "run"),
    "engine.context": ("Context", "Exit", "Permanent", "RetryAfter"),
    "engine.diagnostics": ("Diagnostic", "Diagnostics"),
    "engine.dumper": ("dump",),
    "engine.errors": ("EngineError", "InputError", "JournalError", "SpecError"),
    "engine.events": ("Event",),
    "engine.functions": ("task",),
    "engine.plan": ("Plan",),
    "engine.registry": ("Registry", "Task", "TaskError"),
    "engine.result": ("ItemResult", "NodeResult", "Result"),
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
