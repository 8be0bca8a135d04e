"""Build the machine of a node from its steps.

Equal machines are one object, so that a fact of a machine is computed once (see `memoize`).

Source: docs/language.md, "Nodes and steps", "Outcomes", "Retry", "Routes".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from engine.compile.compilation import Work
from engine.compile.steps import exits_of, make_step
from engine.language.spec import NodeSpec, StepSpec
from engine.plan.machine import Machine, Step
from engine.plan.plan import Body, Plan

__all__ = ["StepParts", "make_machine"]


@attrs.frozen
class StepParts:
    """The parts of a step of a machine: its table, its body, the exits that the body declares, whether others may occur."""

    name: str
    spec: StepSpec
    body: Body
    declared: Mapping[str, int]
    open: bool

    @property
    def times_out(self) -> bool:
        """Whether the outcome `timeout` can occur."""
        plan = self.body.plan
        return self.body.timeout is not None or (plan is not None and plan.deadline is not None)

    @property
    def interrupts(self) -> bool:
        """Whether the outcome `interrupted` can occur."""
        return self.body.on_interrupt == "route"

    @property
    def value(self) -> tuple[object, ...]:
        """Everything that distinguishes its step from others, except names of steps."""
        return (
            *(tuple(self.spec.exits.items()), tuple(self.spec.routes.items()), self.spec.retry),
            *(tuple(self.declared.items()), self.open, self.times_out, self.interrupts),
            self.body.plan,
        )


def make_machine(work: Work, node: str, spec: NodeSpec, parts: Sequence[StepParts]) -> Machine:
    """Return the machine of a node; if an equal one without mistakes exists already, that one."""
    known, before = work.session.machines, len(work.draft.found)
    key = (*_names(spec), *(part.value for part in parts))
    if key in known:
        return known[key]
    steps = tuple(_steps(work, node, spec, parts))
    start = list(spec.steps).index(spec.start) if spec.start in spec.steps else 0
    counters = 1 + max((r.counter for step in steps for r in step.written()), default=-1)
    made = Machine(steps, start, counters)
    if len(work.draft.found) == before and not work.draft.spec.broken:
        known[key] = made
    return made


def _names(spec: NodeSpec) -> Iterator[str]:
    """Yield the names that a machine depends on: of its start and steps, or of its only step if a route leads to it."""
    if not spec.single:
        yield from (spec.start, *spec.steps)
        return
    [(name, step)] = spec.steps.items()
    if any(name in (route.to, route.then) for route in step.routes.values()):
        yield name


def _steps(work: Work, node: str, spec: NodeSpec, parts: Sequence[StepParts]) -> Iterator[Step]:
    draft, counter = work.draft, 0
    for part in parts:
        path, name = draft.step(node, part.name), None if spec.single else part.name
        exits = exits_of(draft, path, part.spec, part.declared, part.open)
        step, counter = make_step(
            *(draft, path, name, part.spec, exits, part.times_out, part.interrupts, counter)
        )
        yield _with_child_exits(step, part.body.plan) if part.body.plan else step


def _with_child_exits(step: Step, plan: Plan) -> Step:
    """Return the step of a sub-pipeline, restricted to the exits that its runs can have."""
    if plan.flawed or plan.loops or step.codes is None:
        return step
    from engine.analysis.run_outcomes import child_codes

    return attrs.evolve(step, codes=step.codes & child_codes(plan))
