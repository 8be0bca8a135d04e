"""The environment and the secrets of a run: are they all there, and keeping secrets out of what leaves it.

A secret is a value of the mapping the caller gives, else the environment variable of its name. Source: LANGUAGE.md section 9.
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
"""Characters of a secret: a shorter one would hide half of every text, or be guessed by what is hidden."""

_FREE = frozenset({"message", "error", "output", "outputs", "prompt", "show"})
"""What in an event's data is not the engine's own word, nor a name of the spec."""


class Redactor:
    """Puts `***` where a secret stands, in texts and anywhere in JSON values.

    It knows a secret as written, its longer lines, and both in the forms that `disguises` lists; before `…`, the mark of all cuts,
    it knows the first part of one too.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        words = sorted({part for secret in secrets for part in _parts(secret)}, key=len)
        patterns = [form for word in reversed(words) for form in pattern(word)]
        self._find = re.compile("|".join(patterns)) if words else None
        self._heads = sorted({form for word in words for form in heads(word)})

    def text(self, text: str) -> str:
        """A text without secrets."""
        if self._find is None:
            return text
        if "…" in text:
            text = "…".join(self._cut(text.split("…")))
        return self._find.sub(HIDDEN, text)

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, in keys too."""
        if self._find is None or value is ABSENT:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, (list, tuple)) else value

    def event(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """An event's data without secrets; names and the engine's own words stay as they are."""
        return {key: self._free(key, value) for key, value in data.items()}

    def result(self, result: Result) -> Result:
        """A result without secrets, sub-pipelines included."""
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
        """A text before a mark of a cut, without the first part of a secret at its end."""
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
"""Characters of a line of a secret of several lines that is worth hiding by itself; a brace is not."""


def _parts(secret: str) -> list[str]:
    lines = [line for each in secret.splitlines() if (line := each.strip())]
    least = SHORTEST if len(lines) == 1 else _LINE
    parts = [secret, *(line for line in lines if len(line) >= least)]
    return [part for part in parts if part.strip()]


def _overlap(text: str, head: str) -> int:
    """How many characters at the end of a text are the first of `head`, if as many as are worth hiding."""
    for count in range(min(len(text), len(head)), SHORTEST - 1, -1):
        if text.endswith(head[:count]):
            return count
    return 0
