"""Destinations of a run's events besides the journal: JSON lines in a file, or a webhook.

A sink is a function of one event, passed by `engine.run(…, sinks=[…])`; a sink that fails does not stop the run. Both
sinks here are context managers: leaving one delivers the rest. Secrets are redacted before any sink is called.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from engine.errors import EngineError
from engine.record.events import Event

if TYPE_CHECKING:
    import os

    import httpx

__all__ = ["JsonLines", "Webhook"]


class JsonLines:
    """A sink that appends each event to a file at once, as one line of JSON."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        try:
            self._file = open(path, "a", encoding="utf-8", buffering=1)  # noqa: SIM115
        except OSError as error:
            raise EngineError(
                f"`{path}` cannot be written: {(error.strerror or '').lower()}"
            ) from None

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __call__(self, event: Event) -> None:
        """Write the event."""
        self._file.write(json.dumps(event.to_json(), ensure_ascii=False) + "\n")


_MAX_QUEUED_EVENTS = 10_000
"""Events that may wait to be posted; further ones are dropped."""
_MAX_BATCH_SIZE = 500
_RETRY_DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each retry."""
_DEFAULT_CLOSING = 10.0


class Webhook:
    """A sink that posts events to a URL in batches, in order, from a thread of its own.

    The body is `{"run": ID, "events": […]}`. A request without an answer, or with a status of 429 or 5xx, is retried
    after 0.5, 1, 2 and 4 seconds, or as long as `Retry-After` says; then its events are dropped, and counted in `lost`.
    Leaving the block waits at most `closing` seconds. `token` is sent as a bearer token.
    """

    def __init__(
        self, url: str, token: str | None = None, closing: float = _DEFAULT_CLOSING
    ) -> None:
        import httpx

        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            parsed = httpx.URL("")
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise EngineError("the URL of a webhook must begin with http:// or https://")
        self.host = parsed.host
        self.lost = 0
        """The number of events that were dropped."""
        self._url, self._closing = url, closing
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._queue: queue.Queue[Event | None] = queue.Queue(_MAX_QUEUED_EVENTS)
        self._run_id = ""
        self._closed = threading.Event()
        self._unsent_count = 0
        self._thread = threading.Thread(
            target=self._post_until_closed, name="engine webhook", daemon=True
        )

    def __enter__(self) -> Webhook:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        until = time.monotonic() + self._closing
        try:
            self._queue.put(None, timeout=self._closing)
        except queue.Full:
            pass
        self._thread.join(max(0.0, until - time.monotonic()))
        self._closed.set()
        if self._thread.is_alive():
            self.lost += self._unsent_count + self._queue.qsize()

    def __call__(self, event: Event) -> None:
        """Queue the event for posting."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.lost += 1

    # -- in the thread -----------------------------------------------------------------------------

    def _post_until_closed(self) -> None:
        import httpx

        with httpx.Client(headers=self._headers, timeout=10.0) as client:
            ended = False
            while not ended:
                batch, ended = self._take_batch()
                self._unsent_count = len(batch)
                if batch and not self._post_batch(client, batch) and not self._closed.is_set():
                    self.lost += len(batch)

    def _take_batch(self) -> tuple[list[Event], bool]:
        """Return the queued events, up to a batch, and whether they are the last."""
        found: list[Event] = []
        event = self._queue.get()
        while event is not None:
            found.append(event)
            if len(found) == _MAX_BATCH_SIZE:
                return found, False
            try:
                event = self._queue.get_nowait()
            except queue.Empty:
                return found, False
        return found, True

    def _post_batch(self, client: httpx.Client, batch: list[Event]) -> bool:
        import httpx

        self._run_id = next((e.data["run"] for e in batch if e.kind == "run_started"), self._run_id)
        body: dict[str, Any] = {"run": self._run_id, "events": [each.to_json() for each in batch]}
        for wait in (*_RETRY_DELAYS, None):
            asked = wait
            try:
                answer = client.post(self._url, json=body)
            except httpx.HTTPError:
                pass
            else:
                if answer.status_code < 500 and answer.status_code != 429:
                    return answer.is_success
                asked = _choose_delay(answer.headers.get("Retry-After", ""), wait)
            if asked is None or wait is None or self._closed.wait(asked):
                return False
        return False


def _choose_delay(text: str, wait: float | None) -> float | None:
    """Return the delay that a server requests, between `wait` and 60 seconds."""
    if wait is None or not text.isdigit():
        return wait
    return min(max(wait, float(text)), 60.0)
