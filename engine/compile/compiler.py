"""Compile a Spec into a Plan: a fixed list of passes over one document, sub-pipelines first.

Names become indexes, exits become numbers, templates become functions, and references imply edges. All errors are
reported at once, and a document with errors has no Plan. Whether the plan is good (bounded, reachable) is decided
by `engine.rules`.
Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes", "Edges and joins", "Results",
"Expressions", "State", "Sub-pipelines", "Services", "Resources", "What is done at the end", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import attrs

from engine.base.graphs import find_cycles
from engine.compile.compilation import Compilation, DocumentCompilation, build_plan
from engine.compile.edges import add_edges
from engine.compile.expansion import expand_task_classes
from engine.compile.nodes import compile_node, find_rule
from engine.compile.pool_deadlocks import find_pool_deadlocks
from engine.compile.references import TemplateContext, compile_template
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import Diagnostics, codes
from engine.expressions.templates import parse_template
from engine.language.nesting import find_excess_nesting
from engine.language.omissions import is_complete
from engine.language.spec import Spec
from engine.plan.plan import Plan
from engine.schemas.validation import find_schema_error, validate_value
from engine.sdk.imports import TaskError
from engine.sdk.registry import Registry

__all__ = ["compile", "compile_partial"]


def compile(spec: Spec, registry: Registry) -> tuple[Plan | None, Diagnostics]:
    """Compile a spec into a plan; return None and the errors if it cannot be compiled."""
    plan, found = compile_partial(spec, registry)
    return (None if found.errors else plan), found


def compile_partial(spec: Spec, registry: Registry) -> tuple[Plan, Diagnostics]:
    """Compile a spec as far as it can be understood, and return the partial plan and all diagnostics.

    A plan with errors must not be run, but rules can check the nodes that are not in `invalid_nodes`.
    """
    session = Compilation(registry, find_excess_nesting(spec), _compile_document)
    plan = _compile_document(session, spec, spec.pipelines, spec.pools, ())
    return plan, Diagnostics.collect(session.diagnostics)


def _compile_document(
    session: Compilation,
    spec: Spec,
    siblings: Mapping[str, Spec],
    pools: Mapping[str, int],
    chain: tuple[str, ...],
) -> Plan:
    if id(spec) in session.compiled_plans:
        return session.compiled_plans[id(spec)]
    draft = DocumentDraft(spec, session.registry, {**pools, **spec.pools})
    work = DocumentCompilation(draft, session, siblings, chain)
    _import_task_modules(work)
    _expand_task_classes(work)
    for run_pass in PASSES:
        run_pass(work)
    session.diagnostics += draft.diagnostics
    plan = build_plan(work)
    session.compiled_plans[id(spec)] = plan
    return plan


# -- passes ----------------------------------------------------------------------------------------------------


def _import_task_modules(work: DocumentCompilation) -> None:
    """Import the modules that define the document's tasks."""
    for index, module in enumerate(work.draft.spec.pipeline.tasks):
        try:
            work.compilation.registry.register_module(module, work.draft.directory)
        except TaskError as error:
            place = ("pipeline", "tasks", index)
            work.draft.report(find_rule(error), error.message, place, error.help)
            work.compilation.tasks_incomplete = True


def _expand_task_classes(work: DocumentCompilation) -> None:
    """Expand the nodes whose task is a class of several steps."""
    written, session = work.draft.spec, work.compilation
    spec = expand_task_classes(written, session.registry)
    if spec is not written:
        cut = {(id(spec), name) for of, name in session.excess_nesting if of == id(written)}
        session.excess_nesting |= cut
        work.draft.spec = spec


def _check_inputs(work: DocumentCompilation) -> None:
    """Check that inputs are JSON Schemas and that their defaults conform to them."""
    for name, schema in work.draft.spec.inputs.items():
        sound = _check_schema(work.draft, ("inputs", name), schema)
        default = {key: schema[key] for key in schema.keys() & {"default"}}
        work.draft.inputs[name] = schema if sound else default
        if sound and "default" in schema:
            _check_value(work.draft, ("inputs", name), "default", schema, schema["default"])


def _compile_state(work: DocumentCompilation) -> None:
    """Check that states are JSON Schemas and that their initial values conform to them."""
    spec = work.draft.spec
    made = parse_template({name: schema["initial"] for name, schema in spec.state.items()})
    for name, value in made.evaluate({}).items():
        path, schema = ("state", name), spec.state[name]
        sound = is_complete(spec, path) and _check_schema(work.draft, path, schema)
        work.draft.state[name] = schema if sound else {}
        if sound:
            _check_value(work.draft, path, "initial", schema, value)
    work.initial_state = made if spec.state else None


def _check_schema(draft: DocumentDraft, path: tuple[str, str], schema: Mapping[str, Any]) -> bool:
    wrong = find_schema_error(schema)
    if wrong:
        message = f"`{'.'.join(path)}` is not a valid JSON Schema: {wrong[1]}"
        draft.report(codes.WRONG_TYPE, message, (*path, *wrong[0]))
    return not wrong


def _check_value(
    draft: DocumentDraft, path: tuple[str, str], key: str, schema: Mapping[str, Any], value: Any
) -> None:
    for problem in validate_value(schema, value):
        message = f"the {key} of `{'.'.join(path)}` does not fit: {problem.message}"
        draft.report(codes.WRONG_TYPE, message, (*path, key, *problem.path))


def _compile_pipelines(work: DocumentCompilation) -> None:
    """Compile every pipeline of the file, whether used or not."""
    for name, child in work.draft.spec.pipelines.items():
        _compile_document(
            work.compilation, child, work.siblings, work.draft.pools, (*work.pipeline_chain, name)
        )


def _compile_nodes(work: DocumentCompilation) -> None:
    """Compile the machines and step bodies of all nodes, without edges."""
    for index, (name, spec) in enumerate(work.draft.spec.nodes.items()):
        work.nodes.append(compile_node(work, index, name, spec))


def _add_edges(work: DocumentCompilation) -> None:
    """Add the edges that `needs` and references imply."""
    work.nodes[:] = add_edges(work.draft, work.nodes, work.node_indexes)


def _check_cycles(work: DocumentCompilation) -> None:
    """Report nodes that wait for themselves, directly or over other nodes."""
    waits = [[edge.source for edge in node.edges] for node in work.nodes]
    for loop in find_cycles(waits):
        flow = [work.nodes[index].name for index in (loop[0], *reversed(loop[1:]))]
        shown = " → ".join([*flow, flow[0]])
        message = (
            f"`{flow[0]}` waits for itself"
            if len(flow) == 1
            else f"nodes wait for each other: {shown}"
        )
        notes = tuple(
            (f"`{name}` waits for `{before}`", work.draft.node_path(name))
            for before, name in pairwise(flow)
        )
        help = (
            "read your own earlier output as `steps.…`"
            if len(flow) == 1
            else "remove one of these edges"
        )
        work.draft.report(
            codes.DEPENDENCY_CYCLE,
            message,
            work.draft.node_path(flow[0]),
            help,
            at_key=True,
            notes=notes,
        )


def _compile_outputs(work: DocumentCompilation) -> None:
    """Compile the pipeline's own outputs, which imply no edges."""
    outputs = work.draft.spec.outputs
    if outputs:
        work.outputs = compile_template(
            work.draft, TemplateContext(("outputs",), None, "run"), dict(outputs)
        )
        work.templates.append(work.outputs)


def _check_pool_deadlocks(work: DocumentCompilation) -> None:
    """Report sub-pipelines that wait for a pool that is held until they end."""
    work.draft.diagnostics += find_pool_deadlocks(work.draft.spec, work.nodes, work.draft.pools)


def _compile_parts(work: DocumentCompilation) -> None:
    """Compile `[finally]`, services and resources; they read what the nodes read and wait for no node."""
    own, spec = work.draft, work.draft.spec
    parts = {
        "finally_plan": spec.finally_part,
        "service_plan": spec.service_checks,
        "resource_plan": spec.resource_openings,
    }
    for name, part in parts.items():
        if part is not None:
            draft = DocumentDraft(part, own.registry, own.pools, own.inputs, own.state)
            inner = DocumentCompilation(draft, work.compilation, work.siblings, work.pipeline_chain)
            for run_pass in (_compile_nodes, _add_edges, _check_cycles, _check_pool_deadlocks):
                run_pass(inner)
            work.compilation.diagnostics += draft.diagnostics
            main_plan = build_plan(work) if part is spec.finally_part else None
            work.parts[name] = attrs.evolve(
                build_plan(inner), deadline=None, on_failure="finish", main_plan=main_plan
            )


PASSES = (
    _check_inputs,
    _compile_state,
    _compile_pipelines,
    _compile_nodes,
    _add_edges,
    _check_cycles,
    _compile_outputs,
    _check_pool_deadlocks,
    _compile_parts,
)
