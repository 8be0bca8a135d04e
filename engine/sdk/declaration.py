"""Parts shared by tasks of functions and of classes: the arguments of `@task`, exits and results.

Source: docs/language.md, "Nodes and steps", "Outcomes".
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import attrs

from engine.schemas.type_hints import unstructure
from engine.sdk.context import Exit
from engine.sdk.imports import TaskError
from engine.sdk.task import Executor, validate_exits

__all__ = ["Declaration", "build_exits", "extract_first_paragraph", "unstructure_result"]


@attrs.frozen(kw_only=True)
class Declaration:
    """The arguments of `@task`; None means that the function or class decides."""

    id: str | None = None
    name: str | None = None
    description: str | None = None
    exits: Mapping[str, int] | None = None
    inputs: Mapping[str, Any] | None = None
    output: Mapping[str, Any] | None = None
    executor: Executor | None = None
    open: bool = False


def build_exits(id: str, declared: Mapping[str, int] | None) -> dict[str, int]:
    """Return the exits of a task: `success` 0, `failure` 1, and the declared ones.

    An exit that is declared with code 1 replaces `failure`. Raises `TaskError`.
    """
    exits = {"success": 0, "failure": 1}
    if declared is None:
        return exits
    if not isinstance(declared, Mapping):
        raise TaskError(
            f"exits must be a mapping of names to codes, not {declared!r}",
            'write `{"needs_review": 2}`',
        )
    validate_exits(id, declared)
    if 1 in declared.values():
        del exits["failure"]
    return exits | dict(declared)


def unstructure_result(returned: Any) -> Any:
    """Return an output or `Exit` with attrs and dataclass instances turned into dicts."""
    if isinstance(returned, Exit):
        return attrs.evolve(returned, output=unstructure(returned.output))
    return unstructure(returned)


def extract_first_paragraph(docstring: str | None) -> str:
    """Return the first paragraph of a docstring as one line; empty without a docstring."""
    text = inspect.cleandoc(docstring or "")
    return " ".join(text.partition("\n\n")[0].split())
