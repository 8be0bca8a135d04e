"""Helpers of built-in tasks: object schemas, paths, and threads that a cancelled task abandons."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from engine.sdk.context import Context, Failure

__all__ = [
    "FileMissing",
    "describe_os_error",
    "object_schema",
    "resolve_path",
    "run_in_abandonable_thread",
    "run_write_in_thread",
]

T = TypeVar("T")


class FileMissing(Failure):
    """Raised for a missing file; some tasks have an exit for it."""


def object_schema(
    properties: Mapping[str, Any], required: Sequence[str] = (), **more: Any
) -> dict[str, Any]:
    """Return the JSON Schema of an object with these properties and no others."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        **more,
        "properties": dict(properties),
    }


def resolve_path(context: Context, path: str) -> Path:
    """Resolve a path of a spec against the spec's directory."""
    return Path(context.folder, path)


async def run_in_abandonable_thread(function: Callable[[], T]) -> T:
    """Run a slow function in a thread, and return its result; cancellation abandons the thread.

    Raises Failure, with the system's message, for an OSError.
    """
    import trio

    try:
        return await trio.to_thread.run_sync(function, abandon_on_cancel=True)
    except OSError as error:
        raise Failure(describe_os_error(error)) from None


async def run_write_in_thread(function: Callable[[threading.Event], T]) -> T:
    """Run a function that has an effect at its end in a thread, like `run_in_abandonable_thread`.

    It is passed an event that is set on cancellation, so that an abandoned thread has no effect.
    """
    stop = threading.Event()
    try:
        return await run_in_abandonable_thread(partial(function, stop))
    finally:
        stop.set()  # an abandoned thread has no effect


def describe_os_error(error: OSError) -> str:
    """Describe an error of the operating system, with the name of the file."""
    said = (error.strerror or str(error)).lower()
    return f"`{error.filename}`: {said}" if error.filename else said
