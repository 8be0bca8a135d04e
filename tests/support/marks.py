"""Findings against marks in a text: `«here»` is where a diagnostic must be."""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.diagnostics import Diagnostic
from engine.toml.source import Source, Span

__all__ = ["Found", "marked", "shown"]


@dataclass(frozen=True)
class Found:
    """What a diagnostic says, and where."""

    span: Span
    code: str
    message: str
    help: str | None
    node: str | None
    step: str | None

    @property
    def unnamed(self) -> str:
        """The message without the key of the value that it begins with."""
        return re.sub(
            r"^`(?:nodes|inputs|state|pools|outputs|pipelines?|with)[^` ]*`: ", "", self.message
        )


def shown(diagnostic: Diagnostic) -> Found:
    """A diagnostic without its source."""
    d = diagnostic
    return Found(d.span, d.rule.code, d.message, d.help, d.node, d.step)


def marked(text: str) -> tuple[str, list[Span]]:
    """The text without its marks, and the span of each."""
    plain, starts, extents = "", [], []
    for character in text:
        if character == "«":
            starts.append(len(plain))
        elif character == "»":
            extents.append((starts.pop(), len(plain)))
        else:
            plain += character
    source = Source("marked.toml", plain)
    return plain, [source.span_between(*extent) for extent in sorted(extents)]
