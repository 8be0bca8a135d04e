"""Deliver a run's events to its listeners, each in the order of the events.

The order holds also when a listener causes the next event.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from engine.record.events import Event

__all__ = ["Listener", "Listeners"]

Listener = Callable[[Event], None]


class Listeners:
    """Calls all listeners with an event; call the instance with it.

    A listener that raises is logged once, to the logger `engine`, and not called again.
    """

    def __init__(self, listeners: Iterable[Listener | None]) -> None:
        self._listeners = [listener for listener in listeners if listener is not None]
        self._pending: deque[Event] = deque()
        self._is_delivering = False

    def __bool__(self) -> bool:
        return bool(self._listeners)

    def __call__(self, event: Event) -> None:
        """Deliver an event to every listener, after the events that are being delivered."""
        self._pending.append(event)
        if self._is_delivering:
            return
        self._is_delivering = True
        try:
            while self._pending:
                self._deliver(self._pending.popleft())
        finally:
            self._is_delivering = False

    def _deliver(self, event: Event) -> None:
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
