"""The state of a compilation: what all documents share, and what belongs to one document.

The passes of `compiler` read and fill it; `build_plan` makes a Plan of it at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import attrs

from engine.base.classes import define
from engine.compile.references import names_set
from engine.compile.reporter import Draft
from engine.expressions.model import Template
from engine.language.invalid_names import ambiguous
from engine.language.omissions import whole
from engine.language.spec import Spec
from engine.plan.fingerprint import fingerprint
from engine.plan.machine import Machine, unbounded_loops
from engine.plan.plan import Node, Plan
from engine.sdk.registry import Registry

__all__ = ["Compile", "Session", "Work", "plan_of"]

Compile = Callable[["Session", Spec, Mapping[str, Spec], Mapping[str, int], tuple[str, ...]], Plan]
"""Compile a document: `compile_document(compilation, spec, siblings, pools, chain)`.

`siblings` are the pipelines of the same file, `pools` its pools, and `chain` the pipeline names that led here.
"""


@define(eq=False)
class Session:
    """What all documents of one compilation share: the registry, excess nesting, diagnostics, and compiled plans."""

    registry: Registry
    too_deep: frozenset[tuple[int, str]]
    compile: Compile
    """The function that compiles a document which another one names."""
    found: list[Any] = attrs.Factory(list)
    plans: dict[int, Plan] = attrs.Factory(dict)
    machines: dict[object, Machine] = attrs.Factory(dict)
    """By their values: see `make_machine`."""
    unclear: bool = False
    """Whether modules or entry points could not be loaded, so that not all task ids are known."""
    told: set[str] = attrs.Factory(set)
    """The files in which broken entry points have been reported."""


@define(eq=False, slots=False)
class Work:
    """One document under compilation, filled by the passes."""

    draft: Draft
    session: Session
    siblings: Mapping[str, Spec]
    chain: tuple[str, ...]
    nodes: list[Node] = attrs.Factory(list)
    templates: list[Template] = attrs.Factory(list)
    outputs: Template | None = None
    initial: Template | None = None
    parts: dict[str, Plan] = attrs.Factory(dict)
    """The plans of `[finally]`, services and resources, by the field of Plan."""

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The indexes of nodes by name."""
        return {name: index for index, name in enumerate(self.draft.spec.nodes)}


def plan_of(work: Work) -> Plan:
    """Build the plan of a document from the passes that have run so far."""
    spec, nodes = work.draft.spec, tuple(work.nodes)
    bodies = [body for node in nodes for body in node.bodies]
    children = [body.plan for body in bodies if body.plan]
    children += [each for body in bodies for each in (body.called or {}).values()]
    children += work.parts.values()
    loops = tuple((n.index, loop) for n in nodes for loop in unbounded_loops(n.machine))
    return Plan(
        name=spec.name,
        nodes=nodes,
        spec=spec,
        fingerprint=partial(fingerprint, spec, nodes, work.parts),
        inputs=work.draft.inputs,
        state=work.draft.state,
        initial=work.initial,
        outputs=work.outputs,
        pools=spec.pools if not spec.at else work.draft.pools,
        deadline=spec.pipeline.deadline,
        max_parallel=spec.pipeline.max_parallel,
        on_failure=spec.pipeline.on_failure,
        overlap=spec.pipeline.overlap,
        env=_names(work, "env", [child.env for child in children]),
        secrets=_names(work, "secrets", [child.secrets for child in children]),
        loops=loops,
        **work.parts,
        flawed=frozenset(_flawed(work.draft)),
    )


def _flawed(draft: Draft) -> Iterator[str]:
    """Yield the nodes that could not be compiled exactly as the file means them."""
    spec = draft.spec
    if spec.broken:
        yield from (name for name in spec.nodes if not whole(spec, draft.node(name)))
    if spec.misnamed:
        yield from (name for name in spec.nodes if ambiguous(spec, name))
    yield from (name for name in draft.unclear if name is not None)
    yield from (found.node for found in draft.found if found.node is not None)


def _names(work: Work, root: str, inner: Sequence[Mapping[str, bool]]) -> Mapping[str, bool]:
    found = dict(names_set(root, work.templates))
    for names in inner:
        for name, needed in names.items():
            found[name] = found.get(name, False) or needed
    return found
