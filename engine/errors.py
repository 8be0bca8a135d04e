"""Exceptions of the engine: the world failed, or a call to the engine was wrong.

A mistake in a spec travels as `Diagnostics`, and the outcome of a task is data for its machine; neither is raised inside
the engine. `SpecError` and `InputError` exist for the run API, whose callers cannot be shown a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.diagnostics import Diagnostics

__all__ = [
    "EngineError",
    "InputError",
    "JournalError",
    "MissingValue",
    "MultipleErrors",
    "SettingsError",
    "SpecError",
]


class EngineError(Exception):
    """The world failed, or a call to the engine was wrong; the message names the subject and the cause."""


class SpecError(EngineError):
    """A spec does not compile; `diagnostics` holds every finding."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        super().__init__("\n".join(str(d) for d in diagnostics))


class MultipleErrors(EngineError):
    """A call has several mistakes; `problems` lists all of them."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        self.problems = problems
        super().__init__("; ".join(problems))


class InputError(MultipleErrors):
    """The inputs, environment or secrets of a run do not match its pipeline."""


class JournalError(EngineError):
    """The journal of a run cannot be written, read or resumed from."""


class SettingsError(MultipleErrors):
    """The settings of a check, in a file or a call, are wrong."""


class MissingValue(str):
    """A problem of an InputError: a required value was not passed.

    `kind` is the kind of value (an input, say) and `name` its name, for callers that can explain how to pass it.
    """

    def __new__(cls, message: str, kind: str, name: str) -> MissingValue:
        made = super().__new__(cls, message)
        made.kind, made.name = kind, name
        return made

    kind: str
    name: str
