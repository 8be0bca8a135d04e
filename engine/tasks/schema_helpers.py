"""What the schemas of built-in tasks have in common, and threads that a cancelled task leaves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from engine.sdk.context import Context, Failure

__all__ = ["NotThere", "aside", "place", "table", "told", "written"]

T = TypeVar("T")


class NotThere(Failure):
    """A file is not there; some tasks have an exit for it."""


def table(
    properties: Mapping[str, Any], required: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """The JSON Schema of an object with these properties and no others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        **more,
        "properties": dict(properties),
    }


def place(context: Context, path: str) -> Path:
    """A path of a spec, which is relative to the folder of that."""
    return Path(context.folder, path)


async def aside(function: Callable[[], T]) -> T:
    """What a function gives that may take long, run in a thread which a cancellation leaves to itself; an error of the
    system is told in its words."""
    import trio

    try:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
    except OSError as error:
        raise Failure(told(error)) from None


async def written(function: Callable[[threading.Event], T]) -> T:
    """The same for what has an effect at its end: it is given an event that is set by a cancellation."""
    stop = threading.Event()
    try:
        return await aside(partial(function, stop))
    finally:
        stop.set()  # a thread that was left behind comes to nothing


def told(error: OSError) -> str:
    """What the system says, and of which file."""
    said = (error.strerror or str(error)).lower()
    return f"`{error.filename}`: {said}" if error.filename else said
