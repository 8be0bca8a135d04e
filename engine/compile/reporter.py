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
from engine.base.suggestions import closest_match
from engine.diagnostics import Diagnostic, Fix, RelatedSpan, Rule
from engine.diagnostics.fixes import fix_key, fix_value
from engine.language.invalid_names import TemplateParser, with_placeholders
from engine.language.omissions import is_complete, path_in_file
from engine.language.spec import Spec
from engine.language.structuring_errors import owner_of
from engine.sdk.registry import Registry
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source, Span

__all__ = ["DocumentDraft"]

MakeFix = Callable[[Source, KeyPath, Span], Fix | None]
"""A function that makes the fix from the source, the key path and the span of a diagnostic."""


@define(eq=False)
class DocumentDraft:
    """The mutable state of a document's compilation.

    `pools` includes those of the file, for a pipeline inside it.
    """

    spec: Spec
    registry: Registry
    pools: dict[str, int]
    inputs: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    state: dict[str, Mapping[str, Any]] = attrs.Factory(dict)
    """The schema of each state; an invalid one stands here as a schema that accepts anything."""
    diagnostics: list[Diagnostic] = attrs.Factory(list)
    ambiguous_nodes: set[str | None] = attrs.Factory(set)
    """The nodes with an expression that has two possible meanings."""

    @cached_property
    def with_placeholders(self) -> Callable[[TemplateParser], TemplateParser]:
        """The decorator that makes a template parser accept references to invalid names."""
        return with_placeholders(self.spec)

    @cached_property
    def directory(self) -> Path:
        """The directory of the file."""
        return Path(self.spec.source.path).parent

    def node_path(self, name: str) -> KeyPath:
        """Return the key path of a node's table, relative to the document."""
        return (self.spec.table, name)

    def step_path(self, node: str, step: str) -> KeyPath:
        """Return the key path of a step's table, which is the node's own table if the step is written inline."""
        table = self.node_path(node)
        return table if self.spec.nodes[node].is_inline else (*table, "steps", step)

    def report(
        self,
        rule: Rule,
        message: str,
        path: KeyPath,
        help: str | None = None,
        *,
        at_key: bool = False,
        offsets: tuple[int, int] | None = None,
        notes: tuple[tuple[str, KeyPath], ...] = (),
        depends_on: Iterable[KeyPath] = (),
        make_fix: MakeFix | None = None,
    ) -> None:
        """Report a diagnostic at the value, or with `at_key` at the key, of a key path.

        `offsets` select a part of the string there. Nothing is reported unless all paths in `depends_on` are complete
        in the Spec: otherwise the loader has already reported why not. `make_fix` makes the fix from the location.
        """
        if not all(is_complete(self.spec, part) for part in depends_on):
            return
        place = path_in_file(self.spec, path)
        node, step = owner_of(place)
        source = self.spec.source
        if offsets:
            span = source.span_within(place, *offsets)
        else:
            span = source.key_span(place) if at_key else source.value_span(place)
        more = tuple(
            RelatedSpan(text, source.key_span(path_in_file(self.spec, where)))
            for text, where in notes
        )
        fix = make_fix(source, place, span) if make_fix else None
        self.diagnostics.append(
            Diagnostic(rule, message, source, span, help, node, step, more, fix)
        )

    def report_unknown(
        self,
        rule: Rule,
        message: str,
        path: KeyPath,
        name: str,
        candidates: list[str],
        *,
        at_key: bool = False,
        depends_on: Iterable[KeyPath] = (),
    ) -> None:
        """Report an unknown name, and suggest the closest known one."""

        def build_fix(source: Source, place: KeyPath, span: Span) -> Fix | None:
            if at_key:
                return fix_key(source, place, candidates)
            return fix_value(source, span, name, _without_siblings(source, place, candidates))

        guess = closest_match(name, candidates)
        listed = ", ".join(f"`{k}`" for k in sorted(candidates)[:12])
        advice = (
            f"did you mean `{guess}`?" if guess else f"known here: {listed}" if candidates else None
        )
        self.report(
            rule, message, path, advice, at_key=at_key, depends_on=depends_on, make_fix=build_fix
        )


def _without_siblings(source: Source, place: KeyPath, known: list[str]) -> list[str]:
    """Return the known names that no other item of the same array has."""
    if not (place and isinstance(place[-1], int)):
        return known
    table = [
        source.text_of(source.value_span((*place[:-1], at)))
        for at in range(source.count_children(place[:-1]))
    ]
    said = {written[1:-1] for written in table}
    return [name for name in known if name not in said]
