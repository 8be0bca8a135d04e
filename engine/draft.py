"""Draft: one document while it is compiled: its Spec, what has been found, and where to find tasks.

The passes of `compiler` share it. Reporting happens here, so that what the loader already
complained about is not told twice.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from engine.diagnostics import Diagnostic, Note, Rule, nearest
from engine.registry import Registry
from engine.source import KeyPath
from engine.spec import Spec
from engine.structure import whose
from engine.written import in_file, whole

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
        relies: Iterable[KeyPath] = (),
    ) -> None:
        """Note a finding at the value (or the key) of a path; `within` are offsets in the string
        there. It is not made unless all that it `relies` on is in the Spec as it is in the file:
        the loader has told why not."""
        if not all(whole(self.spec, part) for part in relies):
            return
        place = in_file(self.spec, path)
        node, step = whose(place)
        source = self.spec.source
        if within:
            span = source.within(place, *within)
        else:
            span = source.key(place) if key else source.value(place)
        more = tuple(Note(text, source.key(in_file(self.spec, where))) for text, where in notes)
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
        relies: Iterable[KeyPath] = (),
    ) -> None:
        """Note a name that is not there, with the nearest that is."""
        guess = nearest(name, known)
        listed = ", ".join(f"`{k}`" for k in sorted(known)[:12])
        cure = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
        self.report(rule, message, path, cure, key=key, relies=relies)
