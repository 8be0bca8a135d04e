"""The state of a compilation: what all documents share, and what belongs to one document.

The passes of `compiler` read and fill it; `build_plan` makes a Plan of it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import attrs

from engine.base.classes import define
from engine.compile.references import find_variable_names
from engine.compile.reporter import DocumentDraft
from engine.expressions.model import Template
from engine.language.invalid_names import has_reserved_name
from engine.language.omissions import is_complete
from engine.language.spec import Spec
from engine.plan.fingerprint import fingerprint
from engine.plan.machine import Machine, find_unbounded_loops
from engine.plan.plan import Node, Plan
from engine.sdk.registry import Registry

__all__ = ["Compilation", "CompileDocument", "DocumentCompilation", "build_plan"]

CompileDocument = Callable[
    ["Compilation", Spec, Mapping[str, Spec], Mapping[str, int], tuple[str, ...]], Plan
]
"""Compile a document: `compile_document(compilation, spec, siblings, pools, chain)`.

`siblings` are the pipelines of the same file, `pools` its pools, and `chain` the pipeline names that led here.
"""


@define(eq=False)
class Compilation:
    """The state shared by all documents of a compilation: registry, excess nesting, diagnostics, compiled plans."""

    registry: Registry
    excess_nesting: frozenset[tuple[int, str]]
    compile_document: CompileDocument
    """The function that compiles a document which another one names."""
    diagnostics: list[Any] = attrs.Factory(list)
    compiled_plans: dict[int, Plan] = attrs.Factory(dict)
    machines: dict[object, Machine] = attrs.Factory(dict)
    """The machines built so far, by what they are built from: see `build_machine`."""
    tasks_incomplete: bool = False
    """Whether modules or entry points could not be loaded, so that not all task ids are known."""
    reported_files: set[str] = attrs.Factory(set)
    """The files in which broken entry points have been reported."""


@define(eq=False, slots=False)
class DocumentCompilation:
    """One document under compilation, filled by the passes."""

    draft: DocumentDraft
    compilation: Compilation
    siblings: Mapping[str, Spec]
    pipeline_chain: tuple[str, ...]
    nodes: list[Node] = attrs.Factory(list)
    templates: list[Template] = attrs.Factory(list)
    outputs: Template | None = None
    initial_state: Template | None = None
    parts: dict[str, Plan] = attrs.Factory(dict)
    """The plans of `[finally]`, services and resources, by the field of Plan."""

    @cached_property
    def node_indexes(self) -> Mapping[str, int]:
        """The indexes of nodes by name."""
        return {name: index for index, name in enumerate(self.draft.spec.nodes)}


def build_plan(work: DocumentCompilation) -> Plan:
    """Build the plan of a document from the passes that have run so far."""
    spec, nodes = work.draft.spec, tuple(work.nodes)
    bodies = [body for node in nodes for body in node.bodies]
    children = [body.plan for body in bodies if body.plan]
    children += [each for body in bodies for each in (body.called_plans or {}).values()]
    children += work.parts.values()
    loops = tuple((n.index, loop) for n in nodes for loop in find_unbounded_loops(n.machine))
    return Plan(
        name=spec.name,
        nodes=nodes,
        spec=spec,
        fingerprint=partial(fingerprint, spec, nodes, work.parts),
        inputs=work.draft.inputs,
        state=work.draft.state,
        initial=work.initial_state,
        outputs=work.outputs,
        pools=spec.pools if not spec.key_path else work.draft.pools,
        deadline=spec.pipeline.deadline,
        max_parallel=spec.pipeline.max_parallel,
        on_failure=spec.pipeline.on_failure,
        overlap=spec.pipeline.overlap,
        env=_merge_variable_names(work, "env", [child.env for child in children]),
        secrets=_merge_variable_names(work, "secrets", [child.secrets for child in children]),
        loops=loops,
        **work.parts,
        invalid_nodes=frozenset(_iter_invalid_nodes(work.draft)),
    )


def _iter_invalid_nodes(draft: DocumentDraft) -> Iterator[str]:
    """Yield the nodes that could not be compiled exactly as the file means them."""
    spec = draft.spec
    if spec.omitted_paths:
        yield from (name for name in spec.nodes if not is_complete(spec, draft.node_path(name)))
    if spec.misnamed_paths:
        yield from (name for name in spec.nodes if has_reserved_name(spec, name))
    yield from (name for name in draft.ambiguous_nodes if name is not None)
    yield from (found.node for found in draft.diagnostics if found.node is not None)


def _merge_variable_names(
    work: DocumentCompilation, root: str, inner: Sequence[Mapping[str, bool]]
) -> Mapping[str, bool]:
    found = dict(find_variable_names(root, work.templates))
    for names in inner:
        for name, needed in names.items():
            found[name] = found.get(name, False) or needed
    return found
