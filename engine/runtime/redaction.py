"""The environment and the secrets of a run: check that they are set, and redact secrets in all that leaves the run.

A secret is a value of the caller's mapping, else the environment variable of its name.
Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from engine.record.result import ABSENT, Attempt, ItemResult, NodeResult, Result
from engine.runtime.secret_encodings import heads, pattern

__all__ = ["HIDDEN", "SHORTEST", "Redactor"]

HIDDEN = "***"
SHORTEST = 4
"""The minimal length of a secret: a shorter one would hide half of every text, or be guessed from what is hidden."""

_FREE = frozenset({"message", "error", "output", "outputs", "prompt", "show"})
"""The keys of an event's data that hold free text: neither the engine's own words nor names of the spec."""


class Redactor:
    """Replaces secrets by `***`, in texts and anywhere in JSON values.

    It finds a secret as it is, its longer lines, and both in the forms that `secret_encodings` lists; before `…`, which marks
    truncated text, it finds a prefix of one too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        words = sorted({part for secret in secrets for part in _parts(secret)}, key=len)
        patterns = [form for word in reversed(words) for form in pattern(word)]
        self._find = re.compile("|".join(patterns)) if words else None
        self._heads = sorted({form for word in words for form in heads(word)})

    def text(self, text: str) -> str:
        """Return a text without secrets."""
        if self._find is None:
            return text
        if "…" in text:
            text = "…".join(self._cut(text.split("…")))
        return self._find.sub(HIDDEN, text)

    def value(self, value: Any) -> Any:
        """Return a JSON value without secrets, in keys too."""
        if self._find is None or value is ABSENT:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, (list, tuple)) else value

    def event(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """Return an event's data without secrets; names and the engine's own words stay as they are."""
        return {key: self._free(key, value) for key, value in data.items()}

    def result(self, result: Result) -> Result:
        """Return a result without secrets, sub-pipelines included."""
        if self._find is None:
            return result
        nodes = {name: self._node(node) for name, node in result.nodes.items()}
        outputs, state = (self._free(k, getattr(result, k)) for k in ("outputs", "state"))
        message = self.text(result.message)
        return attrs.evolve(result, nodes=nodes, outputs=outputs, state=state, message=message)

    def _free(self, key: str, value: Any) -> Any:
        if key in ("outputs", "state"):  # its keys are names of the spec
            return {name: self.value(item) for name, item in value.items()}
        return self.value(value) if key in _FREE else value

    def _cut(self, parts: list[str]) -> list[str]:
        return [*map(self._without_head, parts[:-1]), parts[-1]]

    def _without_head(self, text: str) -> str:
        """Return a truncated text without the prefix of a secret at its end."""
        most = max((_overlap(text, head) for head in self._heads), default=0)
        return text[: len(text) - most] + HIDDEN if most >= SHORTEST else text

    def _node(self, node: NodeResult) -> NodeResult:
        reason = attrs.evolve(node.reason, message=self.text(node.reason.message))
        attempts = tuple(map(self._attempt, node.attempts))
        items = None if node.items is None else tuple(map(self._item, node.items))
        output = self.value(node.output)
        return attrs.evolve(node, reason=reason, output=output, attempts=attempts, items=items)

    def _item(self, item: ItemResult) -> ItemResult:
        reason = attrs.evolve(item.reason, message=self.text(item.reason.message))
        attempts = tuple(map(self._attempt, item.attempts))
        output = self.value(item.output)
        return attrs.evolve(item, reason=reason, output=output, attempts=attempts)

    def _attempt(self, attempt: Attempt) -> Attempt:
        error = None if attempt.error is None else self.text(attempt.error)
        run = None if attempt.run is None else self.result(attempt.run)
        return attrs.evolve(attempt, error=error, run=run)


_LINE = 8
"""The minimal length of a line of a multi-line secret that is hidden by itself; a brace is not."""


def _parts(secret: str) -> list[str]:
    lines = [line for each in secret.splitlines() if (line := each.strip())]
    least = SHORTEST if len(lines) == 1 else _LINE
    parts = [secret, *(line for line in lines if len(line) >= least)]
    return [part for part in parts if part.strip()]


def _overlap(text: str, head: str) -> int:
    """Return how many characters at the end of a text are a prefix of `head`; 0 if fewer than are worth hiding."""
    for count in range(min(len(text), len(head)), SHORTEST - 1, -1):
        if text.endswith(head[:count]):
            return count
    return 0
