"""Compile a node of a Spec into a Node of a Plan: the machine and the step bodies.

A step body runs a task or a sub-pipeline, and has the tools that the task calls.
Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes", "Expressions", "Sub-pipelines".
"""

from __future__ import annotations

from functools import partial

import attrs

from engine.compile.compilation import Work, plan_of
from engine.compile.expansion import unfolded
from engine.compile.fan_outs import fan_of
from engine.compile.literal_inputs import fits, fits_child, fits_state
from engine.compile.machines import StepParts, make_machine
from engine.compile.placement import (
    can_be_called,
    check_called,
    check_child,
    check_named_resource,
    check_node,
    check_task,
    elsewhere,
    executor_of,
    misplaced,
)
from engine.compile.references import Place, condition, is_input_of, values
from engine.compile.reporter import Draft
from engine.compile.steps import written_exits
from engine.diagnostics import Rule, codes
from engine.expressions.model import Template
from engine.language.nesting import is_file, too_deep
from engine.language.spec import NodeSpec, StepSpec
from engine.plan.plan import Body, Callee, Node, Plan
from engine.sdk.imports import NoSuchTask, TaskError
from engine.sdk.task import Task
from engine.toml.key_paths import KeyPath

__all__ = ["node_of", "rule_of"]

CLOSING = 30.0
"""Default deadline, in seconds, of a node of `[finally]`."""
_CHILD_EXITS = {"success": 0, "failure": 1}


def node_of(work: Work, index: int, name: str, spec: NodeSpec) -> Node:
    """Compile one node of a document, without its edges."""
    draft, path = work.draft, work.draft.node(name)
    check_node(draft, path, spec)
    parts = [_parts(work, name, own, step) for own, step in spec.steps.items()]
    bodies = [part.body for part in parts]
    when = None
    if spec.when is not None:
        when = condition(draft, Place((*path, "when"), name, "start"), spec.when)
    outputs = None
    if spec.outputs is not None:
        outputs = values(draft, Place((*path, "outputs"), name, "end"), dict(spec.outputs))
    fan = fan_of(draft, name, spec)
    work.templates += [t for t in (when, fan.items if fan else None, outputs) if t]
    later = [made for body in bodies for made in (body.with_, body.set) if made]
    later += [outputs] if outputs else []
    return Node(
        name=name,
        index=index,
        machine=make_machine(work, name, spec, parts),
        bodies=tuple(bodies),
        join=spec.join,
        when=when,
        outputs=outputs,
        fan=fan,
        deadline=spec.deadline or (CLOSING if draft.spec.table == "finally" else None),
        pool=spec.pool,
        priority=spec.priority,
        allow_failure=spec.allow_failure,
        executor=executor_of(draft, path, spec.executor),
        when_fits=when is None or all(is_input_of("boolean", draft.spec, r) for r in when.reads),
        remembers=any(r.path[0] == "steps" for t in later for r in t.reads)
        or any(body.task is not None and body.task.remembers for body in bodies),
        uses=spec.uses,
        requires=spec.requires,
        group=spec.group,
        description=spec.description,
    )


def _parts(work: Work, node: str, name: str, spec: StepSpec) -> StepParts:
    """A step's body, its declared exits, and whether others may come (an unknown task tells nothing)."""
    path, give = work.draft.step(node, name), partial(StepParts, name, spec)
    place = Place((*path, "with"), node, "attempt", work.draft.spec.nodes[node].uses)
    with_ = values(work.draft, place, dict(spec.with_))
    work.templates.append(with_)
    make = partial(
        Body,
        with_=with_,
        timeout=spec.timeout,
        late=any(read.path[0] == "resources" for read in with_.reads),
        set=_set(work, path, node, spec),
        on_interrupt=spec.on_interrupt,
    )
    if spec.pipeline is not None:
        plan = _child(work, path, spec.pipeline)
        check_child(work.draft, path, spec, with_, plan)
        if plan:
            fits_child(work.draft, path, spec, plan)
        return give(make(None, plan), _CHILD_EXITS, plan is None)
    task = None
    if spec.task is not None:
        task = _task(work, path, spec.task, own=work.draft.spec.nodes[node].unfolded)
    if task is None or misplaced(work.draft, path, task):
        return give(make(None, None), {"success": 0}, True)
    if task.input_schema is not None:
        whole = task.id.partition("/")[0]  # of a step of a class: the class
        fits(work.draft, path, spec, task.input_schema, f"task `{whole}`")
    check_task(work.draft, path, node, spec, task)
    schema = None if with_.constant else task.input_schema
    exits = written_exits(work.draft, path, spec, task)
    called = _called(work, path, node, spec, task)
    made = make(task, None, schema=schema, called=called or None)
    return give(made, exits or task.exits, task.open or not exits)


def _called(work: Work, path: KeyPath, node: str, spec: StepSpec, task: Task) -> dict[Callee, Plan]:
    """Compile the tasks and pipelines that the step's task calls as tools."""
    found: dict[Callee, Plan] = {}
    for named in task.names(spec.with_) if task.names else ():
        table = (*path, "with", *named.path[:-1])
        if named.kind == "resource":
            check_named_resource(work.draft, (*path, "with", *named.path), node, named.id)
            continue
        if named.kind == "pipeline" and is_file(named.id):
            elsewhere(work.draft, table, named.id)
            continue
        what = (_child if named.kind == "pipeline" else _task)(work, table, named.id)
        if can_be_called(work.draft, table, named, what):
            plan = what if isinstance(what, Plan) else _alone(work, named.id)
            found[named.kind, named.id] = plan
            check_called(work.draft, table, spec, named, plan)
    return found


def _alone(work: Work, id: str) -> Plan:
    """Compile a pipeline of a single task, whose inputs are not known yet."""
    spec, draft = work.draft.spec, work.draft
    node = NodeSpec({"call": StepSpec(id)}, "call", single=True)
    part = unfolded(spec.of_one("call", node), draft.registry)
    inner = Work(Draft(part, draft.registry, {}), work.session, work.siblings, work.chain)
    for index, (name, each) in enumerate(part.nodes.items()):
        inner.nodes.append(node_of(inner, index, name, each))  # what it finds is about its inputs
    return attrs.evolve(plan_of(inner), flawed=frozenset())


def _set(work: Work, path: KeyPath, node: str, spec: StepSpec) -> Template | None:
    if not spec.set:
        return None
    fits_state(work.draft, path, spec)
    made = values(work.draft, Place((*path, "set"), node, "attempt"), dict(spec.set))
    work.templates.append(made)
    return made


def _task(work: Work, path: KeyPath, id: str, own: bool = False) -> Task | None:
    """Return the task with an id, or None after reporting why there is none.

    A task of one step of a class is found only if the node itself was expanded from that class.
    """
    registry = work.session.registry
    place = (*path, "task")
    try:
        task = registry.find(id, work.draft.folder) if own or "/" not in id else None
    except TaskError as error:
        work.draft.report(rule_of(error), error.message, place, error.help)
        return None
    if task is None and registry.broken():
        _tell_broken(work, place)
    elif task is None and not work.session.unclear:
        known = list(registry.ids())
        work.draft.unknown(codes.UNKNOWN_NAME, f"there is no task `{id}`", place, id, known)
    return task


def rule_of(error: TaskError) -> Rule:
    """Return the rule under which a task's error is reported."""
    return codes.UNKNOWN_NAME if isinstance(error, NoSuchTask) else codes.BROKEN_TASK


def _tell_broken(work: Work, place: KeyPath) -> None:
    """Report entry points that cannot be loaded, once for each file with a task that is not found."""
    file = str(work.draft.spec.source.path)
    if file not in work.session.told:
        work.session.told.add(file)
        for error in work.session.registry.broken():
            work.draft.report(codes.BROKEN_TASK, error.message, place, error.help)


def _child(work: Work, path: KeyPath, name: str) -> Plan | None:
    place = (*path, "pipeline")
    if (id(work.draft.spec), name) in work.session.too_deep:
        message, help = too_deep(name)
        work.draft.report(codes.WRONG_TYPE, message, place, help)
        return None
    if is_file(name):
        child = work.draft.spec.files.get(name)
        return (
            work.session.compile(work.session, child, child.pipelines, child.pools, ())
            if child
            else None
        )
    if name not in work.siblings:
        known = list(work.siblings)
        help = f"there is no pipeline `{name}`"
        relies = [("pipelines", name)]
        work.draft.unknown(codes.UNKNOWN_NAME, help, place, name, known, relies=relies)
        return None
    if name in work.chain:
        shown = " → ".join([*work.chain[work.chain.index(name) :], name])
        work.draft.report(codes.PIPELINE_RECURSION, f"pipelines include each other: {shown}", place)
        return None
    return work.session.compile(
        work.session, work.siblings[name], work.siblings, work.draft.pools, (*work.chain, name)
    )
