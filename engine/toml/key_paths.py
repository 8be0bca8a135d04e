"""Key paths: where in a TOML document a value stands, as keys and indexes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["KeyPath", "format_path"]

KeyPath = tuple[str | int, ...]
"""The keys that lead to a value.

An int is an index into an array, or into an array of tables.
"""


def _describe_part(part: str | int) -> str:
    return f"item {part}" if isinstance(part, int) else f"field `{part}`"


def format_path(path: Sequence[str | int]) -> str:
    """Format a path in the syntax of expressions."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif not text:
            text = part
        else:
            text += f".{part}" if part.isidentifier() else f"[{json.dumps(part)}]"
    return text
