"""The environment and the secrets of a run: are they all there, and keeping secrets out of what leaves it.

A secret is a value of the mapping the caller gives, else the environment variable of its name. Source: LANGUAGE.md section 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from engine.result import ABSENT, Attempt, NodeResult, Result

__all__ = ["HIDDEN", "Redactor", "chosen"]

HIDDEN = "***"


def chosen(
    names: Mapping[str, bool], given: Iterable[Mapping[str, str]], what: str
) -> tuple[dict[str, str], list[str]]:
    """The values of the names a plan reads, from the first mapping that has one, and what is wrong with those it needs."""
    sources = list(given)
    found: dict[str, str] = {}
    problems = []
    for name, needed in names.items():
        value = next((source[name] for source in sources if name in source), None)
        if value is not None:
            found[name] = value
        elif needed:
            problems.append(f"{what} `{name}` is not set")
    return found, problems


class Redactor:
    """Puts `***` where a secret stands, in texts and anywhere in JSON values."""

    def __init__(self, secrets: Iterable[str]) -> None:
        words = sorted({secret for secret in secrets if secret}, key=len, reverse=True)
        self._find = re.compile("|".join(map(re.escape, words))) if words else None

    def text(self, text: str) -> str:
        """A text without secrets."""
        return self._find.sub(HIDDEN, text) if self._find else text

    def value(self, value: Any) -> Any:
        """A JSON value without secrets, in keys too."""
        if self._find is None or value is ABSENT:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, (list, tuple)) else value

    def result(self, result: Result) -> Result:
        """A result without secrets, sub-pipelines included."""
        if self._find is None:
            return result
        nodes = {name: self._node(node) for name, node in result.nodes.items()}
        outputs = self.value(result.outputs)
        return attrs.evolve(result, nodes=nodes, outputs=outputs, message=self.text(result.message))

    def _node(self, node: NodeResult) -> NodeResult:
        reason = attrs.evolve(node.reason, message=self.text(node.reason.message))
        attempts = tuple(map(self._attempt, node.attempts))
        return attrs.evolve(node, reason=reason, output=self.value(node.output), attempts=attempts)

    def _attempt(self, attempt: Attempt) -> Attempt:
        error = None if attempt.error is None else self.text(attempt.error)
        run = None if attempt.run is None else self.result(attempt.run)
        return attrs.evolve(attempt, error=error, run=run)
