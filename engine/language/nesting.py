"""Finds the steps at which sub-pipelines are nested too deep.

Depth is counted from the innermost pipeline outwards, so that neither the order in the file nor the order of reading
matters; where it gets too deep the step is cut off and counting starts again. Pipelines that include each other are
reported elsewhere (E204). No recursion. Source: docs/language.md, "Sub-pipelines".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from engine.base.classes import frozen
from engine.language.spec import Spec

__all__ = ["MAX_NESTING", "describe_excess_nesting", "find_excess_nesting", "is_pipeline_file"]

MAX_NESTING = 50
"""Maximum depth of nested pipelines, the outermost counted; it lets a plan be walked by plain recursion."""


def is_pipeline_file(pipeline: str) -> bool:
    """Return whether a step's `pipeline` is a path rather than the name of a pipeline in the same file."""
    return "/" in pipeline or pipeline.endswith(".toml")


def describe_excess_nesting(name: str) -> tuple[str, str]:
    """Return the message and help for a step whose `pipeline` exceeds the maximum depth."""
    return (
        f"with `{name}` pipelines are nested more than {MAX_NESTING} levels deep",
        "combine some of them",
    )


@frozen
class _Document:
    """A document and the pipelines that its steps may name."""

    spec: Spec
    siblings: Mapping[str, Spec]

    def iter_nested(self) -> Iterator[tuple[str | None, _Document]]:
        """Yield the documents nested in this one, each with the name that a step gives it.

        The name is None for a document that is written inside this one.
        """
        if not self.spec.key_path:
            for own in self.spec.pipelines.values():
                yield None, _Document(own, self.siblings)
        if self.spec.finally_part is not None:
            yield None, _Document(self.spec.finally_part, self.siblings)
        for name in dict.fromkeys(_iter_pipeline_names(self.spec)):
            known = self.spec.files if is_pipeline_file(name) else self.siblings
            if child := known.get(name):
                yield (
                    name,
                    _Document(child, child.pipelines if is_pipeline_file(name) else self.siblings),
                )


def _iter_pipeline_names(spec: Spec) -> Iterator[str]:
    for node in spec.nodes.values():
        yield from (step.pipeline for step in node.steps.values() if step.pipeline is not None)


def find_excess_nesting(spec: Spec) -> frozenset[tuple[int, str]]:
    """Return the steps to cut off, as pairs of the `id` of their document and the pipeline's name."""
    cut: set[tuple[int, str]] = set()
    height: dict[int, int] = {}
    outermost = _Document(spec, spec.pipelines)
    seen = {id(spec)}
    path = [(outermost, outermost.iter_nested())]
    while path:
        document, left = path[-1]
        new = next((child for _, child in left if id(child.spec) not in seen), None)
        if new is not None:
            seen.add(id(new.spec))
            path.append((new, new.iter_nested()))
            continue
        path.pop()
        most = 0
        for name, child in document.iter_nested():
            below = height.get(id(child.spec), 0)  # 0: it includes itself
            if name is not None and below >= MAX_NESTING:
                cut.add((id(document.spec), name))
            else:
                most = max(most, below)
        height[id(document.spec)] = 1 + most
    return frozenset(cut)
