"""Draft: one document while it is compiled: its Spec, what has been found, and where to find tasks.

The passes of `compiler` share it. Reporting happens here, so that what the loader already
complained about is not told twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from engine.base.classes import define
from engine.base.suggestions import nearest
from engine.diagnostics import Diagnostic, Fix, Note, Rule
from engine.diagnostics.fixes import mend_key, mend_value
from engine.language.invalid_names import Make, with_stand_ins
from engine.language.omissions import in_file, whole
from engine.language.spec import Spec
from engine.language.structuring_errors import whose
from engine.sdk.registry import Registry
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span

__all__ = ["Draft"]

Mend = Callable[[Source, KeyPath, Span], Fix | None]
"""A source, the key path and the place of a finding to its fix."""


@define(eq=False)
class Draft:
    """The one mutable thing of a compilation; `pools` are those of the file, for a pipeline inside
    it."""

    spec: Spec
    registry: Registry
    pools: dict[str, int]
    inputs: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    state: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    """Schemas; one that is none stands here as one that takes anything."""
    found: list[Diagnostic] = attrs.Factory(list)
    unclear: set[str | None] = attrs.Factory(set)
    """The nodes with something that may mean one thing or another."""

    @cached_property
    def stand_ins(self) -> Callable[[Make], Make]:
        """See `with_stand_ins`."""
        return with_stand_ins(self.spec)

    @cached_property
    def folder(self) -> Path:
        """The folder of the file."""
        return Path(self.spec.source.path).parent

    def node(self, name: str) -> KeyPath:
        """The key path of a node's table, below the document."""
        return (self.spec.table, name)

    def step(self, node: str, step: str) -> KeyPath:
        """The key path of a step's table, which is the node's where it is written there."""
        table = self.node(node)
        return table if self.spec.nodes[node].flat else (*table, "steps", step)

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
        mend: Mend | None = None,
    ) -> None:
        """Note a finding at the value (or the key) of a path; `within` are offsets in the string
        there. It is not made unless all that it `relies` on is in the Spec as it is in the file:
        the loader has told why not. `mend` makes its fix of the place where it is written."""
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
        fix = mend(source, place, span) if mend else None
        self.found.append(Diagnostic(rule, message, source, span, help, node, step, more, fix))

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

        def mend(source: Source, place: KeyPath, span: Span) -> Fix | None:
            if key:
                return mend_key(source, place, known)
            return mend_value(source, span, name, _not_beside(source, place, known))

        guess = nearest(name, known)
        listed = ", ".join(f"`{k}`" for k in sorted(known)[:12])
        cure = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
        self.report(rule, message, path, cure, key=key, relies=relies, mend=mend)


def _not_beside(source: Source, place: KeyPath, known: list[str]) -> list[str]:
    """Without what other items of the same array already say."""
    if not (place and isinstance(place[-1], int)):
        return known
    table = [source.at(source.value((*place[:-1], at))) for at in range(source.count(place[:-1]))]
    said = {written[1:-1] for written in table}
    return [name for name in known if name not in said]
