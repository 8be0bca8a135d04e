"""Draft: one document while it is compiled: its Spec, what has been found, and where to find tasks.

The passes of `compiler` share it. Reporting happens here, so that what the loader already
complained about is not told twice.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import attrs

from engine.diagnostics import Diagnostic, Note, Rule, nearest
from engine.registry import Registry
from engine.source import KeyPath
from engine.spec import Spec
from engine.structure import whose

__all__ = ["Draft"]


@attrs.define(eq=False)
class Draft:
    """The one mutable thing of a compilation; `pools` are those of the file, for a pipeline inside
    it."""

    spec: Spec
    registry: Registry
    pools: dict[str, int]
    found: list[Diagnostic] = attrs.Factory(list)

    @property
    def folder(self) -> Path:
        """The folder of the file."""
        return Path(self.spec.source.path).parent

    def node(self, name: str) -> KeyPath:
        """The key path of a node's table, below the document."""
        return ("nodes", name)

    def step(self, node: str, step: str) -> KeyPath:
        """The key path of a step's table, which is the node's where it is written there."""
        return ("nodes", node) if self.spec.nodes[node].single else ("nodes", node, "steps", step)

    def report(
        self,
        rule: Rule,
        message: str,
        path: KeyPath,
        help: str | None = None,
        *,
        key: bool = False,
        within: tuple[int, int] | None = None,
        notes: tuple[tuple[str, KeyPath], ...] = (),
        local: bool = False,
    ) -> None:
        """Note a finding at the value (or the key) of a path; `within` are offsets in the string
        there. `local`: it is about what its own node lacks, and is not made where the loader has
        left out wrong parts of that."""
        place = self._written((*self.spec.at, *path))
        node, step = whose(place)
        if local and node in self.spec.broken:
            return
        source = self.spec.source
        if within:
            span = source.within(place, *within)
        else:
            span = source.key(place) if key else source.value(place)
        more = tuple(Note(text, source.key((*self.spec.at, *where))) for text, where in notes)
        self.found.append(Diagnostic(rule, message, source, span, help, node, step, more))

    def unknown(
        self,
        rule: Rule,
        message: str,
        path: KeyPath,
        name: str,
        known: list[str],
        *,
        key: bool = False,
        local: bool = False,
    ) -> None:
        """Note a name that is not there, with the nearest that is."""
        guess = nearest(name, known)
        listed = ", ".join(f"`{k}`" for k in sorted(known)[:12])
        cure = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
        self.report(rule, message, path, cure, key=key, local=local)

    def _written(self, path: KeyPath) -> KeyPath:
        """The path as the file has it: a single clause of `retry` may be a table of its own."""
        for at, (part, index) in enumerate(pairwise(path)):
            if part == "retry" and index == 0 and not self.spec.source.has(path):
                single = path[: at + 1] + path[at + 2 :]
                return single if self.spec.source.has(single) else path
        return path
