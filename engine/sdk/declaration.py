"""What tasks of functions and of classes have in common: what `@task` is given, exits, results.

Source: LANGUAGE.md sections 3 and 9.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import attrs

from engine.schemas.type_hints import plain
from engine.sdk.context import Exit
from engine.sdk.imports import TaskError
from engine.sdk.task import Executor, check_exits

__all__ = ["Given", "exits_given", "first_paragraph", "plain_result"]


@attrs.frozen(kw_only=True)
class Given:
    """What the arguments of `@task` say; None is for what the function or class says itself."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    exits: Mapping[str, int] | None = None
    inputs: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    executor: Executor | None = None
    open: bool = False


def exits_given(id: str, given: Mapping[str, int] | None) -> dict[str, int]:
    """The exits of a task: `success` 0 and `failure` 1, and those it names more."""
    exits = {"success": 0, "failure": 1}
    if given is None:
        return exits
    if not isinstance(given, Mapping):
        raise TaskError(
            f"exits must be a mapping of names to codes, not {given!r}",
            'write `{"needs_review": 2}`',
        )
    check_exits(id, given)
    if 1 in given.values():
        del exits["failure"]
    return exits | dict(given)


def plain_result(returned: Any) -> Any:
    """The output or `Exit` that was `returned`, attrs and dataclass instances turned into dicts."""
    if isinstance(returned, Exit):
        return attrs.evolve(returned, output=plain(returned.output))
    return plain(returned)


def first_paragraph(docstring: str | None) -> str:
    """That of a docstring, in one line."""
    text = inspect.cleandoc(docstring or "")
    return " ".join(text.partition("\n\n")[0].split())
