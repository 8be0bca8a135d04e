"""Unwrap exception groups of nurseries that hold a single exception."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["unwrap_all", "unwrap_groups", "unwrap_one"]


def unwrap_all(error: BaseException) -> BaseException:
    """Return the exception in nested groups of one, even if it was raised in several places.

    An error with one cause is shown as itself.
    """
    while isinstance(error, BaseExceptionGroup) and len({*map(unwrap_all, error.exceptions)}) == 1:
        error = error.exceptions[0]
    return error


def unwrap_one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the only exception of a nursery's group, or the group; inner groups stay."""
    return group.exceptions[0] if len(group.exceptions) == 1 else group


@contextmanager
def unwrap_groups(
    unwrap: Callable[[BaseExceptionGroup[BaseException]], BaseException] = unwrap_one,
) -> Iterator[None]:
    """While the block runs, replace each exception group that is raised by what `unwrap` returns for it."""
    try:
        yield
    except (
        BaseExceptionGroup
    ) as group:  # nothing is swallowed: it, or its only exception, is raised again
        raise unwrap(group) from None
