"""Compile a Spec into a Plan: a fixed list of passes over one document, sub-pipelines first.

Names become indexes, exits become numbers, templates become functions, and references imply edges. All errors are
reported at once, and a document with errors has no Plan. Whether the plan is good (bounded, reachable) is decided
by `engine.rules`.
Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes", "Edges and joins", "Results",
"Expressions", "State", "Sub-pipelines", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs

from engine.base.graphs import cycle_of
from engine.compile.compilation import Session, Work, plan_of
from engine.compile.edges import with_edges
from engine.compile.expansion import unfolded
from engine.compile.nodes import node_of, rule_of
from engine.compile.pool_deadlocks import pool_deadlocks
from engine.compile.references import Place, values
from engine.compile.reporter import Draft
from engine.diagnostics import Diagnostics, codes
from engine.expressions.templates import template
from engine.language.nesting import nested_too_deep
from engine.language.omissions import whole
from engine.language.spec import Spec
from engine.plan.plan import Plan
from engine.schemas.validation import misfits, schema_error
from engine.sdk.imports import TaskError
from engine.sdk.registry import Registry

__all__ = ["compile", "outline"]


def compile(spec: Spec, registry: Registry) -> tuple[Plan | None, Diagnostics]:
    """Compile a spec into a plan; return None and the errors if it cannot be compiled."""
    plan, found = outline(spec, registry)
    return (None if found.errors else plan), found


def outline(spec: Spec, registry: Registry) -> tuple[Plan, Diagnostics]:
    """Compile a spec as far as it can be understood, and return the partial plan and all diagnostics.

    A plan with errors must not be run, but rules can check the nodes that are not in `invalid_nodes`.
    """
    session = Session(registry, nested_too_deep(spec), _document)
    plan = _document(session, spec, spec.pipelines, spec.pools, ())
    return plan, Diagnostics.of(session.found)


def _document(
    session: Session,
    spec: Spec,
    siblings: Mapping[str, Spec],
    pools: Mapping[str, int],
    chain: tuple[str, ...],
) -> Plan:
    if id(spec) in session.plans:
        return session.plans[id(spec)]
    draft = Draft(spec, session.registry, {**pools, **spec.pools})
    work = Work(draft, session, siblings, chain)
    _modules(work)
    _unfold(work)
    for run_pass in PASSES:
        run_pass(work)
    session.found += draft.found
    plan = plan_of(work)
    session.plans[id(spec)] = plan
    return plan


# -- passes ----------------------------------------------------------------------------------------------------


def _modules(work: Work) -> None:
    """Import the modules that define the document's tasks."""
    for index, module in enumerate(work.draft.spec.pipeline.tasks):
        try:
            work.session.registry.use(module, work.draft.folder)
        except TaskError as error:
            place = ("pipeline", "tasks", index)
            work.draft.report(rule_of(error), error.message, place, error.help)
            work.session.unclear = True


def _unfold(work: Work) -> None:
    """Expand the nodes whose task is a class of several steps."""
    written, session = work.draft.spec, work.session
    spec = unfolded(written, session.registry)
    if spec is not written:
        cut = {(id(spec), name) for of, name in session.too_deep if of == id(written)}
        session.too_deep |= cut
        work.draft.spec = spec


def _inputs(work: Work) -> None:
    """Check that inputs are JSON Schemas and that their defaults conform to them."""
    for name, schema in work.draft.spec.inputs.items():
        sound = _is_schema(work.draft, ("inputs", name), schema)
        default = {key: schema[key] for key in schema.keys() & {"default"}}
        work.draft.inputs[name] = schema if sound else default
        if sound and "default" in schema:
            _fits(work.draft, ("inputs", name), "default", schema, schema["default"])


def _state(work: Work) -> None:
    """Check that states are JSON Schemas and that their initial values conform to them."""
    spec = work.draft.spec
    made = template({name: schema["initial"] for name, schema in spec.state.items()})
    for name, value in made.evaluate({}).items():
        path, schema = ("state", name), spec.state[name]
        sound = whole(spec, path) and _is_schema(work.draft, path, schema)
        work.draft.state[name] = schema if sound else {}
        if sound:
            _fits(work.draft, path, "initial", schema, value)
    work.initial = made if spec.state else None


def _is_schema(draft: Draft, path: tuple[str, str], schema: Mapping[str, Any]) -> bool:
    wrong = schema_error(schema)
    if wrong:
        message = f"`{'.'.join(path)}` is not a valid JSON Schema: {wrong[1]}"
        draft.report(codes.WRONG_TYPE, message, (*path, *wrong[0]))
    return not wrong


def _fits(
    draft: Draft, path: tuple[str, str], key: str, schema: Mapping[str, Any], value: Any
) -> None:
    for problem in misfits(schema, value):
        message = f"the {key} of `{'.'.join(path)}` does not fit: {problem.message}"
        draft.report(codes.WRONG_TYPE, message, (*path, key, *problem.path))


def _pipelines(work: Work) -> None:
    """Compile every pipeline of the file, whether used or not."""
    for name, child in work.draft.spec.pipelines.items():
        _document(work.session, child, work.siblings, work.draft.pools, (*work.chain, name))


def _bodies(work: Work) -> None:
    """Compile the machines and step bodies of all nodes, without edges."""
    for index, (name, spec) in enumerate(work.draft.spec.nodes.items()):
        work.nodes.append(node_of(work, index, name, spec))


def _edges(work: Work) -> None:
    """Add the edges that `needs` and references imply."""
    work.nodes[:] = with_edges(work.draft, work.nodes, work.places)


def _cycles(work: Work) -> None:
    """Report nodes that wait for themselves, directly or over other nodes."""
    waits = [[edge.source for edge in node.edges] for node in work.nodes]
    for loop in cycle_of(waits):
        flow = [work.nodes[index].name for index in (loop[0], *reversed(loop[1:]))]
        shown = " → ".join([*flow, flow[0]])
        message = (
            f"`{flow[0]}` waits for itself"
            if len(flow) == 1
            else f"nodes wait for each other: {shown}"
        )
        notes = tuple(
            (f"`{name}` waits for `{before}`", work.draft.node(name))
            for before, name in pairwise(flow)
        )
        help = (
            "read your own earlier output as `steps.…`"
            if len(flow) == 1
            else "remove one of these edges"
        )
        work.draft.report(
            codes.DEPENDENCY_CYCLE, message, work.draft.node(flow[0]), help, key=True, notes=notes
        )


def _outputs(work: Work) -> None:
    """Compile the pipeline's own outputs, which imply no edges."""
    outputs = work.draft.spec.outputs
    if outputs:
        work.outputs = values(work.draft, Place(("outputs",), None, "run"), dict(outputs))
        work.templates.append(work.outputs)


def _held_pools(work: Work) -> None:
    """Report sub-pipelines that wait for a pool that is held until they end."""
    work.draft.found += pool_deadlocks(work.draft.spec, work.nodes, work.draft.pools)


def _parts(work: Work) -> None:
    """Compile `[finally]`, services and resources; they read what the nodes read and wait for no node."""
    own, spec = work.draft, work.draft.spec
    parts = {"closing": spec.closing, "probes": spec.probes, "openings": spec.openings}
    for name, part in parts.items():
        if part is not None:
            draft = Draft(part, own.registry, own.pools, own.inputs, own.state)
            inner = Work(draft, work.session, work.siblings, work.chain)
            for run_pass in (_bodies, _edges, _cycles, _held_pools):
                run_pass(inner)
            work.session.found += draft.found
            around = plan_of(work) if part is spec.closing else None
            more: dict[str, Any] = {"deadline": None, "on_failure": "finish", "around": around}
            work.parts[name] = attrs.evolve(plan_of(inner), **more)


PASSES = (
    _inputs,
    _state,
    _pipelines,
    _bodies,
    _edges,
    _cycles,
    _outputs,
    _held_pools,
    _parts,
)
