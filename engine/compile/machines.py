"""Build the machine of a node from its steps.

Equal machines are one object, so that a fact of a machine is computed once (see `memoize`).

Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from engine.base.classes import value
from engine.compile.compilation import DocumentCompilation
from engine.compile.steps import compile_step, resolve_exits
from engine.language.spec import NodeSpec, StepSpec
from engine.plan.machine import Machine, Step
from engine.plan.plan import Plan, StepBody

__all__ = ["StepParts", "build_machine"]


@value
class StepParts:
    """The parts of a step of a machine: its table, its body, the exits that the body declares, whether others may occur."""

    name: str
    spec: StepSpec
    body: StepBody
    declared: Mapping[str, int]
    open: bool

    @property
    def can_time_out(self) -> bool:
        """Whether the outcome `timeout` can occur."""
        plan = self.body.plan
        return self.body.timeout is not None or (plan is not None and plan.deadline is not None)

    @property
    def can_be_interrupted(self) -> bool:
        """Whether the outcome `interrupted` can occur."""
        return self.body.on_interrupt == "route"

    @property
    def identity(self) -> tuple[object, ...]:
        """Everything that distinguishes its step from others, except names of steps."""
        return (
            *(tuple(self.spec.exits.items()), tuple(self.spec.routes.items()), self.spec.retry),
            *(tuple(self.declared.items()), self.open, self.can_time_out, self.can_be_interrupted),
            self.body.plan,
        )


def build_machine(
    work: DocumentCompilation, node: str, spec: NodeSpec, parts: Sequence[StepParts]
) -> Machine:
    """Return the machine of a node; if an equal one without mistakes exists already, that one."""
    known, before = work.compilation.machines, len(work.draft.diagnostics)
    key = (*_iter_names(spec), *(part.identity for part in parts))
    if key in known:
        return known[key]
    steps = tuple(_iter_steps(work, node, spec, parts))
    start = list(spec.steps).index(spec.start) if spec.start in spec.steps else 0
    counters = 1 + max((r.counter for step in steps for r in step.iter_routes()), default=-1)
    made = Machine(steps, start, counters)
    if len(work.draft.diagnostics) == before and not work.draft.spec.omitted_paths:
        known[key] = made
    return made


def _iter_names(spec: NodeSpec) -> Iterator[str]:
    """Yield the names that a machine depends on: of its start and steps, or of its only step if a route leads to it."""
    if not spec.single:
        yield from (spec.start, *spec.steps)
        return
    [(name, step)] = spec.steps.items()
    if any(name in (route.to, route.then) for route in step.routes.values()):
        yield name


def _iter_steps(
    work: DocumentCompilation, node: str, spec: NodeSpec, parts: Sequence[StepParts]
) -> Iterator[Step]:
    draft, counter = work.draft, 0
    for part in parts:
        path, name = draft.step_path(node, part.name), None if spec.single else part.name
        exits = resolve_exits(draft, path, part.spec, part.declared, part.open)
        step, counter = compile_step(
            *(
                draft,
                path,
                name,
                part.spec,
                exits,
                part.can_time_out,
                part.can_be_interrupted,
                counter,
            )
        )
        yield _restrict_to_child_exits(step, part.body.plan) if part.body.plan else step


def _restrict_to_child_exits(step: Step, plan: Plan) -> Step:
    """Return the step of a sub-pipeline, restricted to the exits that its runs can have."""
    if plan.invalid_nodes or plan.loops or step.codes is None:
        return step
    from engine.analysis.run_outcomes import possible_exit_codes

    return attrs.evolve(step, codes=step.codes & possible_exit_codes(plan))
