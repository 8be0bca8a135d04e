"""Spec -> Plan: a literal list of passes over one document, sub-pipelines first.

Names become indexes, exits numbers, templates functions; references imply edges. All findings at once; a document with errors
has no Plan. Whether the plan is any good (bounded, reachable) is for `engine.rules`.
Source: LANGUAGE.md sections 2 to 9, 11 and 16 (E2xx, E502, E504, E505).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property, partial
from itertools import pairwise
from typing import Any

import attrs

from engine import codes
from engine.casts import Cast, cast_of
from engine.diagnostics import Diagnostics, Rule
from engine.draft import Draft
from engine.edges import with_edges
from engine.exits import exits_of, make_step, written_exits
from engine.expressions import Template, template
from engine.fans import fan_of
from engine.fingerprint import fingerprint
from engine.fits import fits, fits_child, fits_state
from engine.machine import Hop, Machine, Step, unbounded_loops
from engine.misnamed import ambiguous
from engine.modules import NoSuchTask, TaskError
from engine.moulds import Mould, wherever
from engine.nesting import is_file, nested_too_deep, too_deep
from engine.order import cycle_of
from engine.plan import Body, Node, Plan
from engine.pools import pool_deadlocks
from engine.references import Place, condition, is_input_of, names_set, values
from engine.registry import Registry, Task
from engine.schemas import misfits, schema_error
from engine.source import KeyPath
from engine.spec import NodeSpec, Spec, StepSpec
from engine.unfold import unfolded
from engine.usage import (
    can_be_called,
    check_child,
    check_fixed,
    check_named_resource,
    check_node,
    check_task,
    executor_of,
    misplaced,
)
from engine.written import whole

__all__ = ["compile", "outline"]

CLOSING = 30.0
"""Seconds that a node of `[finally]` has where it names no deadline."""
_CHILD_EXITS = {"success": 0, "failure": 1}


def compile(spec: Spec, registry: Registry) -> tuple[Plan | None, Diagnostics]:
    """The plan of a spec, or None with the errors that keep it from compiling."""
    plan, found = outline(spec, registry)
    return (None if found.errors else plan), found


def outline(spec: Spec, registry: Registry) -> tuple[Plan, Diagnostics]:
    """The plan as far as the spec is understood: not to be run where there are errors, but rules
    can look at what is not `flawed`."""
    session = _Session(registry, nested_too_deep(spec))
    plan = _document(session, spec, spec.pipelines, spec.pools, ())
    return plan, Diagnostics.of(session.found)


@attrs.define(eq=False)
class _Session:
    """What all documents of one compilation share: the registry, steps to cut off, findings, plans made so far."""

    registry: Registry
    too_deep: frozenset[tuple[int, str]]
    found: list[Any] = attrs.Factory(list)
    plans: dict[int, Plan] = attrs.Factory(dict)
    unclear: bool = False
    """Modules or entry points could not be loaded: which ids they have is not known."""
    told: set[str] = attrs.Factory(set)
    """The files in which broken entry points have been told."""


@attrs.define(eq=False, slots=False)
class _Work:
    """One document under way: passes read and fill it."""

    draft: Draft
    session: _Session
    siblings: Mapping[str, Spec]
    chain: tuple[str, ...]
    nodes: list[Node] = attrs.Factory(list)
    templates: list[Template] = attrs.Factory(list)
    outputs: Template | None = None
    initial: Template | None = None
    parts: dict[str, Plan] = attrs.Factory(dict)
    """What else the document holds, by the field of its Plan."""
    casts: dict[Mould | None, Cast | None] = attrs.Factory(dict)
    cast: set[int] = attrs.Factory(set)
    """The nodes that were made by a cast."""

    @cached_property
    def places(self) -> Mapping[str, int]:
        """The indexes of nodes by their names."""
        return {name: index for index, name in enumerate(self.draft.spec.nodes)}


def _document(
    session: _Session,
    spec: Spec,
    siblings: Mapping[str, Spec],
    pools: Mapping[str, int],
    chain: tuple[str, ...],
) -> Plan:
    if id(spec) in session.plans:
        return session.plans[id(spec)]
    draft = Draft(spec, session.registry, {**pools, **spec.pools})
    work = _Work(draft, session, siblings, chain)
    _modules(work)
    _unfold(work)
    for run_pass in PASSES:
        run_pass(work)
    session.found += draft.found
    plan = _plan(work)
    session.plans[id(spec)] = plan
    return plan


# -- passes ----------------------------------------------------------------------------------------------------


def _modules(work: _Work) -> None:
    """Import the modules that define the document's tasks."""
    for index, module in enumerate(work.draft.spec.pipeline.tasks):
        try:
            work.session.registry.use(module, work.draft.folder)
        except TaskError as error:
            place = ("pipeline", "tasks", index)
            work.draft.report(_rule_of(error), error.message, place, error.help)
            work.session.unclear = True


def _unfold(work: _Work) -> None:
    """Write out the nodes whose task is a class of several steps."""
    written, session = work.draft.spec, work.session
    spec = unfolded(written, session.registry)
    if spec is not written:
        cut = {(id(spec), name) for of, name in session.too_deep if of == id(written)}
        session.too_deep |= cut
        work.draft.spec = spec


def _inputs(work: _Work) -> None:
    """Inputs are JSON Schemas, and defaults fit them."""
    for name, schema in work.draft.spec.inputs.items():
        sound = _is_schema(work.draft, ("inputs", name), schema)
        default = {key: schema[key] for key in schema.keys() & {"default"}}
        work.draft.inputs[name] = schema if sound else default
        if sound and "default" in schema:
            _fits(work.draft, ("inputs", name), "default", schema, schema["default"])


def _state(work: _Work) -> None:
    """So are states, and what they begin with fits them."""
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
        message = f"`{'.'.join(path)}` is no JSON Schema: {wrong[1]}"
        draft.report(codes.WRONG_TYPE, message, (*path, *wrong[0]))
    return not wrong


def _fits(
    draft: Draft, path: tuple[str, str], key: str, schema: Mapping[str, Any], value: Any
) -> None:
    for problem in misfits(schema, value):
        message = f"the {key} of `{'.'.join(path)}` does not fit: {problem.message}"
        draft.report(codes.WRONG_TYPE, message, (*path, key, *problem.path))


def _pipelines(work: _Work) -> None:
    """Compile every pipeline of the file, used or not."""
    for name, child in work.draft.spec.pipelines.items():
        _document(work.session, child, work.siblings, work.draft.pools, (*work.chain, name))


def _bodies(work: _Work) -> None:
    """Machines and bodies of all nodes, without edges."""
    for index, (name, spec) in enumerate(work.draft.spec.nodes.items()):
        cast = work.casts.get(spec.mould)
        if cast is not None:
            work.cast.add(index)
            work.nodes.append(cast.again(work.draft, index, name, spec, work.places))
        elif spec.mould is not None and spec.mould.first == name:
            told = len(work.draft.found)
            work.nodes.append(_first(work, told, spec, _node(work, index, name, spec)))
        else:
            work.nodes.append(_node(work, index, name, spec))


def _first(work: _Work, told: int, spec: NodeSpec, node: Node) -> Node:
    """The first node of a mould, of which the others are made if nothing was found in it."""
    fillings = tuple(work.places[each] for each in spec.names)
    moulded = attrs.evolve(node, mould=spec.mould, fillings=fillings)
    cast = cast_of(work.draft, spec, moulded) if len(work.draft.found) == told else None
    work.casts[spec.mould] = cast
    return moulded if cast else node


def _edges(work: _Work) -> None:
    """What `needs` writes and references imply."""
    work.nodes[:] = with_edges(work.draft, work.nodes, work.places, work.cast)


def _cycles(work: _Work) -> None:
    """No node may wait for itself, over however many others."""
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
            else "take one of these edges out"
        )
        work.draft.report(
            codes.DEPENDENCY_CYCLE, message, work.draft.node(flow[0]), help, key=True, notes=notes
        )


def _outputs(work: _Work) -> None:
    """The pipeline's own outputs; they imply no edges."""
    outputs = work.draft.spec.outputs
    if outputs:
        work.outputs = values(work.draft, Place(("outputs",), None, "run"), dict(outputs))
        work.templates.append(work.outputs)


def _held_pools(work: _Work) -> None:
    """A sub-pipeline must not wait for a pool that is held until it ends."""
    work.draft.found += pool_deadlocks(work.draft.spec, work.nodes, work.draft.pools)


def _parts(work: _Work) -> None:
    """What ends a run, services and resources: they see what the nodes see, and wait for none of them."""
    own, spec = work.draft, work.draft.spec
    parts = {"closing": spec.closing, "probes": spec.probes, "openings": spec.openings}
    for name, part in parts.items():
        if part is not None:
            draft = Draft(part, own.registry, own.pools, own.inputs, own.state)
            inner = _Work(draft, work.session, work.siblings, work.chain)
            for run_pass in (_bodies, _edges, _cycles, _held_pools):
                run_pass(inner)
            work.session.found += draft.found
            around = _plan(work) if part is spec.closing else None
            more: dict[str, Any] = {"deadline": None, "on_failure": "finish", "around": around}
            work.parts[name] = attrs.evolve(_plan(inner), **more)


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


# -- a node ----------------------------------------------------------------------------------------------------


def _node(work: _Work, index: int, name: str, spec: NodeSpec) -> Node:
    draft, path = work.draft, work.draft.node(name)
    check_node(draft, path, spec)
    steps, bodies = _steps(work, name, spec)
    start = list(spec.steps).index(spec.start) if spec.start in spec.steps else 0
    counters = 1 + max((r.counter for step in steps for r in step.written()), default=-1)
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
        machine=Machine(tuple(steps), start, counters),
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


def _steps(work: _Work, node: str, spec: NodeSpec) -> tuple[list[Step], list[Body]]:
    steps, bodies, counter = [], [], 0
    for name, step_spec in spec.steps.items():
        path = work.draft.step(node, name)
        body, declared, open = _body(work, path, node, step_spec)
        ends = body.plan is not None and body.plan.deadline is not None
        times_out = step_spec.timeout is not None or ends
        bodies.append(body)
        interrupts = body.on_interrupt == "route"
        exits = exits_of(work.draft, path, step_spec, declared, open)
        step, counter = make_step(
            work.draft, path, name, step_spec, exits, times_out, interrupts, counter
        )
        steps.append(_given(step, body.plan) if body.plan else step)
    return steps, bodies


def _given(step: Step, plan: Plan) -> Step:
    """The step of a sub-pipeline with the exits that its runs can give."""
    if plan.flawed or plan.loops or step.codes is None:
        return step
    from engine.verdicts import child_codes

    return attrs.evolve(step, codes=step.codes & child_codes(plan))


def _body(
    work: _Work, path: KeyPath, node: str, spec: StepSpec
) -> tuple[Body, Mapping[str, int], bool]:
    """A step's body, its declared exits, and whether others may come (an unknown task tells nothing)."""
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
        return make(None, plan), _CHILD_EXITS, plan is None
    task = _task(work, path, spec.task) if spec.task is not None else None
    if task is None or misplaced(work.draft, path, task):
        return make(None, None), {"success": 0}, True
    if task.input_schema is not None:
        whole = task.id.partition("/")[0]  # of a step of a class: the class
        fits(work.draft, path, spec, task.input_schema, f"task `{whole}`")
    check_task(work.draft, path, node, spec, task)
    schema = None if with_.constant else task.input_schema
    exits = written_exits(work.draft, path, spec, task)
    called = _called(work, path, node, spec, task)
    made = make(task, None, schema=schema, called=called or None)
    return made, exits or task.exits, task.open or not exits


def _called(work: _Work, path: KeyPath, node: str, spec: StepSpec, task: Task) -> dict[str, Plan]:
    """The plans of what the body runs by itself."""
    found: dict[str, Plan] = {}
    for named in task.names(spec.with_) if task.names else ():
        table = (*path, "with", *named.path[:-1])
        if named.kind == "resource":
            check_named_resource(work.draft, (*path, "with", *named.path), node, named.id)
            continue
        what = (_child if named.kind == "pipeline" else _task)(work, table, named.id)
        if can_be_called(work.draft, table, named, what):
            plan = what if isinstance(what, Plan) else _alone(work, named.id)
            found[f"{named.kind} {named.id}"] = plan
            check_fixed(work.draft, table, spec, named, plan)
    return found


def _alone(work: _Work, id: str) -> Plan:
    """A pipeline of one task, whose inputs are not known yet."""
    spec, draft = work.draft.spec, work.draft
    node = NodeSpec({"call": StepSpec(id)}, "call", single=True)
    part = unfolded(spec.of_one("call", node), draft.registry)
    inner = _Work(Draft(part, draft.registry, {}), work.session, work.siblings, work.chain)
    _bodies(inner)  # what it finds is about its inputs
    return attrs.evolve(_plan(inner), flawed=frozenset())


def _set(work: _Work, path: KeyPath, node: str, spec: StepSpec) -> Template | None:
    if not spec.set:
        return None
    fits_state(work.draft, path, spec)
    made = values(work.draft, Place((*path, "set"), node, "attempt"), dict(spec.set))
    work.templates.append(made)
    return made


def _task(work: _Work, path: KeyPath, id: str) -> Task | None:
    registry = work.session.registry
    place = (*path, "task")
    try:
        task = registry.find(id, work.draft.folder)
    except TaskError as error:
        work.draft.report(_rule_of(error), error.message, place, error.help)
        return None
    if task is None and registry.broken():
        _tell_broken(work, place)
    elif task is None and not work.session.unclear:
        known = list(registry.ids())
        work.draft.unknown(codes.UNKNOWN_NAME, f"there is no task `{id}`", place, id, known)
    return task


def _rule_of(error: TaskError) -> Rule:
    return codes.UNKNOWN_NAME if isinstance(error, NoSuchTask) else codes.BROKEN_TASK


def _tell_broken(work: _Work, place: KeyPath) -> None:
    """Once a file: what entry points cannot be loaded, where a task is not found for it."""
    file = str(work.draft.spec.source.path)
    if file not in work.session.told:
        work.session.told.add(file)
        for error in work.session.registry.broken():
            work.draft.report(codes.BROKEN_TASK, error.message, place, error.help)


def _child(work: _Work, path: KeyPath, name: str) -> Plan | None:
    place = (*path, "pipeline")
    if (id(work.draft.spec), name) in work.session.too_deep:
        message, help = too_deep(name)
        work.draft.report(codes.WRONG_TYPE, message, place, help)
        return None
    if is_file(name):
        child = work.draft.spec.files.get(name)
        return _document(work.session, child, child.pipelines, child.pools, ()) if child else None
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
    return _document(
        work.session, work.siblings[name], work.siblings, work.draft.pools, (*work.chain, name)
    )


# -- the plan --------------------------------------------------------------------------------------------------


def _plan(work: _Work) -> Plan:
    spec, nodes = work.draft.spec, tuple(work.nodes)
    bodies = [body for node in nodes for body in node.bodies]
    children = [body.plan for body in bodies if body.plan]
    children += [each for body in bodies for each in (body.called or {}).values()]
    children += work.parts.values()
    loops = tuple(wherever(((node.mould, node) for node in nodes), _loops))
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


def _loops(node: Node) -> Iterator[tuple[int, tuple[Hop, ...]]]:
    return ((node.index, loop) for loop in unbounded_loops(node.machine))


def _flawed(draft: Draft) -> Iterator[str]:
    """The nodes that are not all as the file means them."""
    spec = draft.spec
    if spec.broken:
        yield from (name for name in spec.nodes if not whole(spec, draft.node(name)))
    if spec.misnamed:
        yield from (name for name in spec.nodes if ambiguous(spec, name))
    yield from (name for name in draft.unclear if name is not None)
    yield from (found.node for found in draft.found if found.node is not None)


def _names(work: _Work, root: str, inner: Sequence[Mapping[str, bool]]) -> Mapping[str, bool]:
    found = dict(names_set(root, work.templates))
    for names in inner:
        for name, needed in names.items():
            found[name] = found.get(name, False) or needed
    return found
