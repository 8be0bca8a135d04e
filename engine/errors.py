"""Exceptions of the engine: the world failed, or the call was wrong.

A mistake in a spec travels as `Diagnostics`, and what a task does is data for its machine; neither is raised
inside the engine. `SpecError` and `InputError` exist for the run API, whose callers cannot be shown a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.diagnostics import Diagnostics

__all__ = [
    "EngineError",
    "InputError",
    "JournalError",
    "Missing",
    "ProblemsError",
    "SettingsError",
    "SpecError",
]


class EngineError(Exception):
    """The world failed, or a call to the engine was wrong; the message names what and why."""


class SpecError(EngineError):
    """A spec does not compile; `diagnostics` holds every finding."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(str(d) for d in diagnostics))


class ProblemsError(EngineError):
    """A call with several things wrong; `problems` lists all."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class InputError(ProblemsError):
    """The inputs, environment or secrets given to a run do not fit its pipeline."""


class JournalError(EngineError):
    """The journal of a run cannot be written, read, or gone on with."""


class SettingsError(ProblemsError):
    """Settings of the check, in a file or a call, are wrong."""


class Missing(str):
    """A problem of an InputError: `name` was not given, and is a `kind` of thing; who knows how it can be given says so."""

    def __new__(cls, message: str, kind: str, name: str) -> Missing:
        made = super().__new__(cls, message)
        made.kind, made.name = kind, name
        return made

    kind: str
    name: str
