"""Who hears a run's events: each in the order in which they happened, also when hearing one makes
the next happen.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from engine.record.events import Event

__all__ = ["Hear", "Listeners"]

Hear = Callable[[Event], None]


class Listeners:
    """Call it with an event.

    A listener that raises is logged once, to the logger `engine`, and hears nothing more.
    """

    def __init__(self, listeners: Iterable[Hear | None]) -> None:
        self._listeners = [listener for listener in listeners if listener is not None]
        self._waiting: deque[Event] = deque()
        self._telling = False

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __call__(self, event: Event) -> None:
        """Tell everyone, after what they are being told at this moment."""
        self._waiting.append(event)
        if self._telling:
            return
        self._telling = True
        try:
            while self._waiting:
                self._tell(self._waiting.popleft())
        finally:
            self._telling = False

    def _tell(self, event: Event) -> None:
        for listener in tuple(self._listeners):
            try:
                listener(event)
            except Exception:  # the caller's code; a run does not fail because its display does
                self._listeners.remove(listener)
                _log(event)


def _log(event: Event) -> None:
    """Log the exception that is being handled."""
    import logging

    logging.getLogger("engine").exception(
        "a listener failed at `%s` and is not called again", event.kind
    )
