"""Exceptions that come out of nurseries: shown without the groups around them where there is one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["outermost", "single", "unwrapped"]


def single(error: BaseException) -> BaseException:
    """The exception in groups of one, in however many places it was raised: what one cause raised is
    shown as itself."""
    while isinstance(error, BaseExceptionGroup) and len({*map(single, error.exceptions)}) == 1:
        error = error.exceptions[0]
    return error


def outermost(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """What a nursery of ours caught, without the group around it if that is all; groups of others
    stay.
    """
    return group.exceptions[0] if len(group.exceptions) == 1 else group


@contextmanager
def unwrapped(
    take: Callable[[BaseExceptionGroup[BaseException]], BaseException] = outermost,
) -> Iterator[None]:
    """A block whose groups are raised as `take` gives them."""
    try:
        yield
    except BaseExceptionGroup as group:  # nothing is kept: it, or what is in it, is raised again
        raise take(group) from None
