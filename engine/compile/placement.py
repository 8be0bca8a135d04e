"""Check that what a node names exists and may be used there: steps, pools, resources, services, executors, tasks.

Source: docs/language.md, "Nodes and steps", "Limits", "Services", "Resources", "Sub-pipelines".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from engine.compile.literal_inputs import check_literal_inputs
from engine.compile.reporter import DocumentDraft
from engine.diagnostics import codes
from engine.expressions.model import Template
from engine.language.spec import NodeSpec, StepSpec
from engine.plan.plan import Plan
from engine.sdk.task import Executor, Task, ToolReference
from engine.toml.key_paths import KeyPath

__all__ = [
    "check_callable",
    "check_named_resource",
    "check_node",
    "check_sub_pipeline",
    "check_task",
    "check_tool",
    "report_file_tool",
    "report_wrong_kind",
    "resolve_executor",
]

_EXECUTORS: Mapping[str, Executor] = {name: name for name in get_args(Executor)}


def check_node(draft: DocumentDraft, path: KeyPath, spec: NodeSpec) -> None:
    """Check that the steps, pools, resources and services that a node names exist."""
    if not spec.single and spec.start not in spec.steps:
        message = f"there is no step `{spec.start}`"
        known = list(spec.steps)
        relies = [(*path, "steps", spec.start)]
        place = (*path, "start")
        draft.report_unknown(
            codes.UNKNOWN_NAME, message, place, spec.start, known, depends_on=relies
        )
    _check_uses_and_requires(draft, path, spec)
    if spec.pool is not None and spec.pool not in draft.pools:
        message = f"there is no pool `{spec.pool}`"
        place, known, table = (*path, "pool"), list(draft.pools), ("pools", spec.pool)
        draft.report_unknown(
            codes.UNKNOWN_NAME, message, place, spec.pool, known, depends_on=[table]
        )


def _check_uses_and_requires(draft: DocumentDraft, path: KeyPath, spec: NodeSpec) -> None:
    """Check that the resources a node uses, and the services it requires, exist."""
    for key, names, known, what in (
        ("uses", spec.uses, draft.spec.resources, "resource"),
        ("requires", spec.requires, draft.spec.services, "service"),
    ):
        for at, name in enumerate(names):
            if name not in known:
                message, relies = f"there is no {what} `{name}`", [(f"{what}s", name)]
                place = (*path, key, at)
                draft.report_unknown(
                    codes.UNKNOWN_NAME, message, place, name, list(known), depends_on=relies
                )


def resolve_executor(draft: DocumentDraft, path: KeyPath, name: str | None) -> Executor | None:
    """Return the executor with a name; report an error and return None if there is none."""
    if name is not None and name not in _EXECUTORS:
        message = f"there is no executor `{name}`"
        draft.report_unknown(
            codes.UNKNOWN_NAME, message, (*path, "executor"), name, list(_EXECUTORS)
        )
    return _EXECUTORS.get(name or "")


def check_sub_pipeline(
    draft: DocumentDraft, path: KeyPath, spec: StepSpec, with_: Template, plan: Plan | None
) -> None:
    """Check that the keys of a step can be used with a sub-pipeline."""
    _check_no_resources(draft, path, with_)
    if plan is not None and plan.service_plan is not None:
        _check_service_inputs(draft, path, plan.service_plan)
    if spec.on_interrupt != "rerun":
        message = "a sub-pipeline is never interrupted: only the attempts inside it are"
        advice = "set `on_interrupt` on its steps"
        draft.report(codes.WRONG_TYPE, message, (*path, "on_interrupt"), advice)


def check_task(draft: DocumentDraft, path: KeyPath, node: str, spec: StepSpec, task: Task) -> None:
    """Check that the keys of a step can be used with its task."""
    _check_executor(draft, node, task)
    if task.needs_person and spec.on_interrupt != "rerun":
        message = "a question is never interrupted: it stays open"
        draft.report(codes.WRONG_TYPE, message, (*path, "on_interrupt"), "remove it")


def _check_no_resources(draft: DocumentDraft, path: KeyPath, with_: Template) -> None:
    for read in with_.reads:
        if read.path[0] == "resources":
            message = "a sub-pipeline opens its own resources and takes none from outside"
            place, within = (*path, "with", *read.key_path), (read.start, read.end)
            draft.report(codes.BAD_EXPRESSION, message, place, offsets=within)


def _check_service_inputs(draft: DocumentDraft, path: KeyPath, service_plan: Plan) -> None:
    for node in service_plan.nodes:
        if any(read.path[0] == "inputs" for read in node.bodies[0].with_.reads):
            message = f"service `{node.name}` of this sub-pipeline reads inputs, which are not known before the run starts"
            help = "let it read `env` or `secrets`"
            draft.report(codes.BAD_EXPRESSION, message, (*path, "pipeline"), help)


def check_named_resource(draft: DocumentDraft, place: KeyPath, node: str, name: str) -> None:
    """Check that a resource named in a `with` is one that the node uses."""
    if name not in draft.spec.resources:
        message = f"there is no resource `{name}`"
        known, relies = list(draft.spec.resources), [("resources", name)]
        draft.report_unknown(codes.UNKNOWN_NAME, message, place, name, known, depends_on=relies)
    elif name not in draft.spec.nodes[node].uses:
        message, advice = f"`{node}` does not use resource `{name}`", f'add it: `uses = ["{name}"]`'
        draft.report(codes.UNKNOWN_NAME, message, place, advice)


def check_callable(
    draft: DocumentDraft, table: KeyPath, named: ToolReference, what: Task | Plan | None
) -> bool:
    """Report a task or pipeline that cannot be a tool; return whether it can."""
    if what is None:
        return False
    why = "asks a person: a tool cannot do that" if what.needs_person else None
    help = "remove it"
    if isinstance(what, Task) and what.open_resource is not None:
        why = "provides a resource and cannot be used as a tool"
    elif isinstance(what, Task) and _has_references(what):
        why, help = (
            "needs more than inputs",
            "use it in a pipeline of this file, and name that pipeline",
        )
    if why:
        message = f"`{named.id}` {why}"
        draft.report(codes.WRONG_TYPE, message, (*table, named.kind), help)
    return why is None


def _has_references(task: Task) -> bool:
    """Return whether the `with` of a task refers to others, which is allowed for a task of a node alone."""
    steps = task.machine.steps.values() if task.machine else ()
    return any(each.find_references is not None for each in (task, *steps))


def report_file_tool(draft: DocumentDraft, table: KeyPath, path: str) -> None:
    """Report a tool that is a pipeline in another file."""
    message = f"`{path}` is a file: a tool must be a pipeline of this file"
    help = "write `[pipelines.NAME]` with a node whose `pipeline` is that file"
    draft.report(codes.WRONG_TYPE, message, (*table, "pipeline"), help)


def check_tool(
    draft: DocumentDraft, table: KeyPath, spec: StepSpec, named: ToolReference, plan: Plan
) -> None:
    """Check that a tool always ends, and that its fixed inputs are inputs that it has."""
    if named.kind == "task" and plan.loops:
        message, help = f"`{named.id}` can repeat for ever", "set a bound in the class"
        draft.report(codes.WRONG_TYPE, message, (*table, "task"), help)
    if named.kind == "pipeline" and plan.service_plan is not None:
        _check_service_inputs(draft, table, plan.service_plan)
    written: Any = spec.with_
    for key in named.path[:-1]:
        written = written[key]
    task = plan.nodes[0].bodies[0].task if named.kind == "task" else None
    inputs = {"type": "object", "properties": plan.inputs, "additionalProperties": False}
    schema = inputs if task is None else {**(task.input_schema or {}), "required": []}
    given = StepSpec(with_=written.get("with", {}))
    check_literal_inputs(draft, table, given, schema, f"{named.kind} `{named.id}`")


def report_wrong_kind(draft: DocumentDraft, path: KeyPath, task: Task) -> bool:
    """Report a task of the wrong kind for its location; return whether it is wrong.

    A resource needs a task that gives a resource, a step needs one that does not, and a class of several steps cannot
    be the task of a single step.
    """
    wanted = draft.spec.table == "resources"
    if (task.open_resource is not None) == wanted and task.machine is None:
        return False
    if task.machine is not None:
        message = f"`{task.id}` has several steps and cannot be used as one step"
        help = "give it its own node, with `task` and without `steps`"
    elif wanted:
        message = f"`{task.id}` does not provide a resource"
        help = "a resource is an async generator function that yields once, or an async context manager"
    else:
        message = f"`{task.id}` provides a resource and cannot be a step or a service"
        help = "declare it in `[resources.NAME]`, and add `uses` to the nodes that need it"
    draft.report(codes.WRONG_TYPE, message, (*path, "task"), help)
    return True


def _check_executor(draft: DocumentDraft, node: str, task: Task) -> None:
    """Check that the task of a node can run in the node's `executor`."""
    name = draft.spec.nodes[node].executor
    can = (
        ("async",)
        if task.function is None
        else ("thread", "process")
        if task.target
        else ("thread",)
    )
    if name in _EXECUTORS and name not in can:
        message = f"`{task.id}` cannot run in executor `{name}`"
        help = "this task runs in: " + ", ".join(f"`{each}`" for each in can)
        draft.report(codes.WRONG_TYPE, message, (*draft.node_path(node), "executor"), help)
