"""Redact the secrets of a run in all that leaves the run.

Source: docs/language.md, "Details".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from engine.record.result import ABSENT, Attempt, ItemResult, NodeResult, Result
from engine.runtime.secret_encodings import build_encoded_patterns, list_encoded_prefixes

__all__ = ["MIN_SECRET_LENGTH", "REDACTED", "Redactor"]

REDACTED = "***"
MIN_SECRET_LENGTH = 4
"""The minimal length of a secret: a shorter one would hide half of every text, or be guessed from what is hidden."""

_FREE_TEXT_KEYS = frozenset({"message", "error", "output", "outputs", "prompt", "show"})
"""The keys of an event's data that hold free text: neither the engine's own words nor names of the spec."""


class Redactor:
    """Replaces secrets by `***`, in texts and anywhere in JSON values.

    It finds a secret as it is, its longer lines, and both in the forms that `secret_encodings` lists; before `…`, which
    marks truncated text, it finds a prefix of one too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        words = sorted({part for secret in secrets for part in _list_secret_parts(secret)}, key=len)
        patterns = [form for word in reversed(words) for form in build_encoded_patterns(word)]
        self._pattern = re.compile("|".join(patterns)) if words else None
        self._prefixes = sorted({form for word in words for form in list_encoded_prefixes(word)})

    def redact_text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._pattern is None:
            return text
        if "…" in text:
            text = "…".join(self._without_truncated(text.split("…")))
        return self._pattern.sub(REDACTED, text)

    def redact_value(self, value: Any) -> Any:
        """Return a JSON value without secrets, in keys too."""
        if self._pattern is None or value is ABSENT:
            return value
        if isinstance(value, str):
            return self.redact_text(value)
        if isinstance(value, Mapping):
            return {
                self.redact_text(str(key)): self.redact_value(item) for key, item in value.items()
            }
        return (
            [self.redact_value(item) for item in value]
            if isinstance(value, (list, tuple))
            else value
        )

    def redact_event(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event's data without secrets; names and the engine's own words stay as they are."""
        return {key: self._redact_free_text(key, value) for key, value in data.items()}

    def redact_result(self, result: Result) -> Result:
        """Return a result without secrets, sub-pipelines included."""
        if self._pattern is None:
            return result
        nodes = {name: self._redact_node(node) for name, node in result.nodes.items()}
        outputs, state = (
            self._redact_free_text(k, getattr(result, k)) for k in ("outputs", "state")
        )
        message = self.redact_text(result.message)
        return attrs.evolve(result, nodes=nodes, outputs=outputs, state=state, message=message)

    def _redact_free_text(self, key: str, value: Any) -> Any:
        if key in ("outputs", "state"):  # its keys are names of the spec
            return {name: self.redact_value(item) for name, item in value.items()}
        return self.redact_value(value) if key in _FREE_TEXT_KEYS else value

    def _without_truncated(self, parts: list[str]) -> list[str]:
        return [*map(self._redact_prefix, parts[:-1]), parts[-1]]

    def _redact_prefix(self, text: str) -> str:
        """Return a truncated text without the prefix of a secret at its end."""
        most = max((_measure_overlap(text, head) for head in self._prefixes), default=0)
        return text[: len(text) - most] + REDACTED if most >= MIN_SECRET_LENGTH else text

    def _redact_node(self, node: NodeResult) -> NodeResult:
        reason = attrs.evolve(node.reason, message=self.redact_text(node.reason.message))
        attempts = tuple(map(self._redact_attempt, node.attempts))
        items = None if node.items is None else tuple(map(self._redact_item, node.items))
        output = self.redact_value(node.output)
        return attrs.evolve(node, reason=reason, output=output, attempts=attempts, items=items)

    def _redact_item(self, item: ItemResult) -> ItemResult:
        reason = attrs.evolve(item.reason, message=self.redact_text(item.reason.message))
        attempts = tuple(map(self._redact_attempt, item.attempts))
        output = self.redact_value(item.output)
        return attrs.evolve(item, reason=reason, output=output, attempts=attempts)

    def _redact_attempt(self, attempt: Attempt) -> Attempt:
        error = None if attempt.error is None else self.redact_text(attempt.error)
        run = None if attempt.run is None else self.redact_result(attempt.run)
        return attrs.evolve(attempt, error=error, run=run)


_MIN_LINE_LENGTH = 8
"""The minimal length of a line of a multi-line secret that is hidden by itself; a brace is not."""


def _list_secret_parts(secret: str) -> list[str]:
    lines = [line for each in secret.splitlines() if (line := each.strip())]
    least = MIN_SECRET_LENGTH if len(lines) == 1 else _MIN_LINE_LENGTH
    parts = [secret, *(line for line in lines if len(line) >= least)]
    return [part for part in parts if part.strip()]


def _measure_overlap(text: str, head: str) -> int:
    """Return how many characters at the end of a text are a prefix of `head`.

    0 for a prefix that is too short to be hidden.
    """
    for count in range(min(len(text), len(head)), MIN_SECRET_LENGTH - 1, -1):
        if text.endswith(head[:count]):
            return count
    return 0
