"""The state of one document during compilation: its Spec, the registry, and the diagnostics found.

The passes of `compiler` share it. All errors are reported here, so that an error which the loader has already
reported is not reported again.
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
"""A function that makes the fix from the source, the key path and the span of a diagnostic."""


@define(eq=False)
class Draft:
    """The mutable state of a document's compilation.

    `pools` includes those of the file, for a pipeline inside it.
    """

    spec: Spec
    registry: Registry
    pools: dict[str, int]
    inputs: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    state: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    """The schema of each state; an invalid one stands here as a schema that accepts anything."""
    found: list[Diagnostic] = attrs.Factory(list)
    unclear: set[str | None] = attrs.Factory(set)
    """The nodes with an expression that has two possible meanings."""

    @cached_property
    def stand_ins(self) -> Callable[[Make], Make]:
        """The function that parses templates with placeholders for reserved names; see `with_placeholders`."""
        return with_stand_ins(self.spec)

    @cached_property
    def folder(self) -> Path:
        """The directory of the file."""
        return Path(self.spec.source.path).parent

    def node(self, name: str) -> KeyPath:
        """Return the key path of a node's table, relative to the document."""
        return (self.spec.table, name)

    def step(self, node: str, step: str) -> KeyPath:
        """Return the key path of a step's table, which is the node's own table if the step is written inline."""
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
        """Report a diagnostic at the value, or with `at_key` at the key, of a key path.

        `offsets` select a part of the string there. Nothing is reported unless all paths in `depends_on` are complete in
        the Spec: otherwise the loader has already reported why not. `make_fix` makes the fix from the location.
        """
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
        """Report an unknown name, and suggest the closest known one."""

        def mend(source: Source, place: KeyPath, span: Span) -> Fix | None:
            if key:
                return mend_key(source, place, known)
            return mend_value(source, span, name, _not_beside(source, place, known))

        guess = nearest(name, known)
        listed = ", ".join(f"`{k}`" for k in sorted(known)[:12])
        cure = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
        self.report(rule, message, path, cure, key=key, relies=relies, mend=mend)


def _not_beside(source: Source, place: KeyPath, known: list[str]) -> list[str]:
    """Return the known names that no other item of the same array has."""
    if not (place and isinstance(place[-1], int)):
        return known
    table = [source.at(source.value((*place[:-1], at))) for at in range(source.count(place[:-1]))]
    said = {written[1:-1] for written in table}
    return [name for name in known if name not in said]
