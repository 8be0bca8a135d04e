"""Compile a node of a Spec into a Node of a Plan: the machine and the step bodies.

A step body runs a task or a sub-pipeline, and has the tools that the task calls.
Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes", "Expressions", "Sub-pipelines", "What is
done at the end".
"""

from __future__ import annotations

from functools import partial

import attrs

from engine.compile.compilation import DocumentCompilation, build_plan
from engine.compile.expansion import expand_task_classes
from engine.compile.fan_outs import compile_fan_out
from engine.compile.literal_inputs import (
    check_literal_inputs,
    check_literal_state,
    check_sub_pipeline_inputs,
)
from engine.compile.machines import StepParts, build_machine
from engine.compile.placement import (
    check_callable,
    check_named_resource,
    check_node,
    check_sub_pipeline,
    check_task,
    check_tool,
    report_file_tool,
    report_wrong_kind,
    resolve_executor,
)
from engine.compile.references import (
    TemplateContext,
    compile_condition,
    compile_template,
    is_input_of_type,
)
from engine.compile.reporter import DocumentDraft
from engine.compile.steps import resolve_declared_exits
from engine.diagnostics import Rule, codes
from engine.expressions.model import Template
from engine.language.nesting import describe_excess_nesting, is_pipeline_file
from engine.language.spec import NodeSpec, StepSpec
from engine.plan.plan import Callee, Node, Plan, StepBody
from engine.sdk.imports import NoSuchTask, TaskError
from engine.sdk.task import Task
from engine.toml.key_paths import KeyPath

__all__ = ["compile_node", "find_rule"]

FINALLY_DEADLINE = 30.0
"""Default deadline, in seconds, of a node of `[finally]`."""
_SUB_PIPELINE_EXITS = {"success": 0, "failure": 1}


def compile_node(work: DocumentCompilation, index: int, name: str, spec: NodeSpec) -> Node:
    """Compile one node of a document, without its edges."""
    draft, path = work.draft, work.draft.node_path(name)
    check_node(draft, path, spec)
    parts = [_compile_step_parts(work, name, own, step) for own, step in spec.steps.items()]
    bodies = [part.body for part in parts]
    when = None
    if spec.when is not None:
        when = compile_condition(draft, TemplateContext((*path, "when"), name, "start"), spec.when)
    outputs = None
    if spec.outputs is not None:
        outputs = compile_template(
            draft, TemplateContext((*path, "outputs"), name, "end"), dict(spec.outputs)
        )
    fan = compile_fan_out(draft, name, spec)
    work.templates += [t for t in (when, fan.items if fan else None, outputs) if t]
    later = [made for body in bodies for made in (body.with_, body.set) if made]
    later += [outputs] if outputs else []
    return Node(
        name=name,
        index=index,
        machine=build_machine(work, name, spec, parts),
        bodies=tuple(bodies),
        join=spec.join,
        when=when,
        outputs=outputs,
        fan=fan,
        deadline=spec.deadline or (FINALLY_DEADLINE if draft.spec.table == "finally" else None),
        pool=spec.pool,
        priority=spec.priority,
        allow_failure=spec.allow_failure,
        executor=resolve_executor(draft, path, spec.executor),
        is_when_boolean=when is None
        or all(is_input_of_type("boolean", draft.spec, r) for r in when.reads),
        reads_steps=any(r.path[0] == "steps" for t in later for r in t.reads)
        or any(body.task is not None and body.task.reads_steps for body in bodies),
        uses=spec.uses,
        requires=spec.requires,
        group=spec.group,
        description=spec.description,
    )


def _compile_step_parts(
    work: DocumentCompilation, node: str, name: str, spec: StepSpec
) -> StepParts:
    """Compile a step's body and its declared exits; a step with an unknown task may have any exit."""
    path, give = work.draft.step_path(node, name), partial(StepParts, name, spec)
    place = TemplateContext((*path, "with"), node, "attempt", work.draft.spec.nodes[node].uses)
    with_ = compile_template(work.draft, place, dict(spec.with_))
    work.templates.append(with_)
    make = partial(
        StepBody,
        with_=with_,
        timeout=spec.timeout,
        reads_resources=any(read.path[0] == "resources" for read in with_.reads),
        set=_compile_set(work, path, node, spec),
        on_interrupt=spec.on_interrupt,
    )
    if spec.pipeline is not None:
        plan = _compile_sub_pipeline(work, path, spec.pipeline)
        check_sub_pipeline(work.draft, path, spec, with_, plan)
        if plan:
            check_sub_pipeline_inputs(work.draft, path, spec, plan)
        return give(make(None, plan), _SUB_PIPELINE_EXITS, plan is None)
    task = None
    if spec.task is not None:
        task = _find_task(
            work, path, spec.task, is_step_of_class=work.draft.spec.nodes[node].from_task_class
        )
    if task is None or report_wrong_kind(work.draft, path, task):
        return give(make(None, None), {"success": 0}, True)
    if task.input_schema is not None:
        whole = task.id.partition("/")[0]  # of a step of a class: the class
        check_literal_inputs(work.draft, path, spec, task.input_schema, f"task `{whole}`")
    check_task(work.draft, path, node, spec, task)
    schema = None if with_.is_constant else task.input_schema
    exits = resolve_declared_exits(work.draft, path, spec, task)
    called = _compile_tools(work, path, node, spec, task)
    made = make(task, None, schema=schema, called_plans=called or None)
    return give(made, exits or task.exits, task.open_exits or not exits)


def _compile_tools(
    work: DocumentCompilation, path: KeyPath, node: str, spec: StepSpec, task: Task
) -> dict[Callee, Plan]:
    """Compile the tasks and pipelines that the step's task calls as tools."""
    found: dict[Callee, Plan] = {}
    for named in task.find_references(spec.with_) if task.find_references else ():
        table = (*path, "with", *named.path[:-1])
        if named.kind == "resource":
            check_named_resource(work.draft, (*path, "with", *named.path), node, named.id)
            continue
        if named.kind == "pipeline" and is_pipeline_file(named.id):
            report_file_tool(work.draft, table, named.id)
            continue
        what = (_compile_sub_pipeline if named.kind == "pipeline" else _find_task)(
            work, table, named.id
        )
        if check_callable(work.draft, table, named, what):
            plan = what if isinstance(what, Plan) else _compile_single_task(work, named.id)
            found[named.kind, named.id] = plan
            check_tool(work.draft, table, spec, named, plan)
    return found


def _compile_single_task(work: DocumentCompilation, id: str) -> Plan:
    """Compile a pipeline of a single task, whose inputs are not known yet."""
    spec, draft = work.draft.spec, work.draft
    node = NodeSpec({"call": StepSpec(id)}, "call", single=True)
    part = expand_task_classes(spec.build_single_node_spec("call", node), draft.registry)
    inner = DocumentCompilation(
        DocumentDraft(part, draft.registry, {}),
        work.compilation,
        work.siblings,
        work.pipeline_chain,
    )
    for index, (name, each) in enumerate(part.nodes.items()):
        inner.nodes.append(
            compile_node(inner, index, name, each)
        )  # what it finds is about its inputs
    return attrs.evolve(build_plan(inner), invalid_nodes=frozenset())


def _compile_set(
    work: DocumentCompilation, path: KeyPath, node: str, spec: StepSpec
) -> Template | None:
    if not spec.set:
        return None
    check_literal_state(work.draft, path, spec)
    made = compile_template(
        work.draft, TemplateContext((*path, "set"), node, "attempt"), dict(spec.set)
    )
    work.templates.append(made)
    return made


def _find_task(
    work: DocumentCompilation, path: KeyPath, id: str, is_step_of_class: bool = False
) -> Task | None:
    """Return the task with an id, or None after reporting why there is none.

    A task of one step of a class is found only if the node itself was expanded from that class.
    """
    registry = work.compilation.registry
    place = (*path, "task")
    try:
        task = (
            registry.find(id, work.draft.directory) if is_step_of_class or "/" not in id else None
        )
    except TaskError as error:
        work.draft.report(find_rule(error), error.message, place, error.help)
        return None
    if task is None and registry.find_entry_point_errors():
        _report_broken_entry_points(work, place)
    elif task is None and not work.compilation.tasks_incomplete:
        known = list(registry.list_ids())
        work.draft.report_unknown(codes.UNKNOWN_NAME, f"there is no task `{id}`", place, id, known)
    return task


def find_rule(error: TaskError) -> Rule:
    """Return the rule under which a task's error is reported."""
    return codes.UNKNOWN_NAME if isinstance(error, NoSuchTask) else codes.BROKEN_TASK


def _report_broken_entry_points(work: DocumentCompilation, place: KeyPath) -> None:
    """Report entry points that cannot be loaded, once for each file with a task that is not found."""
    file = str(work.draft.spec.source.path)
    if file not in work.compilation.reported_files:
        work.compilation.reported_files.add(file)
        for error in work.compilation.registry.find_entry_point_errors():
            work.draft.report(codes.BROKEN_TASK, error.message, place, error.help)


def _compile_sub_pipeline(work: DocumentCompilation, path: KeyPath, name: str) -> Plan | None:
    place = (*path, "pipeline")
    if (id(work.draft.spec), name) in work.compilation.excess_nesting:
        message, help = describe_excess_nesting(name)
        work.draft.report(codes.WRONG_TYPE, message, place, help)
        return None
    if is_pipeline_file(name):
        child = work.draft.spec.files.get(name)
        return (
            work.compilation.compile_document(
                work.compilation, child, child.pipelines, child.pools, ()
            )
            if child
            else None
        )
    if name not in work.siblings:
        known = list(work.siblings)
        help = f"there is no pipeline `{name}`"
        relies = [("pipelines", name)]
        work.draft.report_unknown(codes.UNKNOWN_NAME, help, place, name, known, depends_on=relies)
        return None
    if name in work.pipeline_chain:
        shown = " → ".join([*work.pipeline_chain[work.pipeline_chain.index(name) :], name])
        work.draft.report(codes.PIPELINE_RECURSION, f"pipelines include each other: {shown}", place)
        return None
    return work.compilation.compile_document(
        work.compilation,
        work.siblings[name],
        work.siblings,
        work.draft.pools,
        (*work.pipeline_chain, name),
    )
