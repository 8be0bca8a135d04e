"""E502: a reference whose value what it is given to cannot accept; for literals see `fits`.

A `when` takes true and false alone. Told only where the two schemas exclude each other for certain.
Source: LANGUAGE.md sections 7, 9 and 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

from engine.codes import TYPE_MISMATCH
from engine.diagnostics import Diagnostic
from engine.forms import OPEN, Form, apart, field, form_of, kinds, table
from engine.outputs import outputs_of
from engine.plan import Body, Node, Plan
from engine.source import KeyPath

__all__ = ["RULE", "check"]

RULE = TYPE_MISMATCH

BOOLEAN = form_of({"type": "boolean"})


def check(plan: Plan) -> Iterator[Diagnostic]:
    """One finding for each `when` and each string of a `with` that can never fit."""
    takes = _Takes()
    for node in plan.nodes:
        if node.name not in plan.flawed:
            yield from _condition(plan, node, takes)
            for at, body in enumerate(node.bodies):
                if body.with_.reads:
                    yield from _step(plan, node, at, takes)


def _condition(plan: Plan, node: Node, takes: _Takes) -> Iterator[Diagnostic]:
    """What is wrong with a `when` that is one path."""
    if node.when is None or not node.when.reads or not node.when.reads[0].plain:
        return
    text, [read] = plan.spec.nodes[node.name].when or "", node.when.reads
    path, rest = text[read.start : read.end], text[read.end :].strip().removesuffix("}")
    alone = attrs.evolve(read, start=2, end=2 + len(path))
    found = outputs_of(plan).of_string(f"${{{path}{rest}}}", alone, node, None)
    if takes.never(found, BOOLEAN):
        source, place = plan.spec.source, (*plan.place(node), "when")
        message = _message(found, BOOLEAN)
        cure = "a condition is true or false: compare it with something"
        yield Diagnostic(RULE, message, source, source.value(place), cure, node.name)


def _step(plan: Plan, node: Node, at: int, takes: _Takes) -> Iterator[Diagnostic]:
    step, body = node.machine.steps[at].name, node.bodies[at]
    given = plan.spec.nodes[node.name].steps[step].with_
    for path, read in {read.at: read for read in reversed(body.with_.reads)}.items():
        wanted = takes.at(body, path)
        if wanted == OPEN:
            continue
        found = outputs_of(plan).of_string(_inside(given, path), read, node, at)
        if takes.never(found, wanted):
            place = (*plan.place(node, step), "with", *path)
            yield Diagnostic(
                RULE,
                _message(found, wanted),
                plan.spec.source,
                plan.spec.source.value(place),
                _cure(found, wanted),
                node.name,
                step,
            )


def _message(found: Form, wanted: Form) -> str:
    gives, takes = (" or ".join(kinds(form)) for form in (found, wanted))
    if gives == takes:
        return f"expected another {takes} than this reference can give"
    return f"expected {takes}, found a reference that gives {gives}"


def _cure(found: Form, wanted: Form) -> str | None:
    if kinds(wanted) == ("string",) and kinds(found) != ("string",):
        return "a string that is one whole `${…}` keeps the type of the value: `${string(…)}`"
    return None


def _inside(value: Any, path: KeyPath) -> str:
    for part in path:
        value = value[part]
    assert isinstance(value, str)
    return value


class _Takes:
    """What tasks and sub-pipelines accept, each place asked for once."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, KeyPath], Form] = {}
        self._apart: dict[tuple[int, int], tuple[bool, Form, Form]] = {}

    def at(self, body: Body, path: KeyPath) -> Form:
        """The form of what is given at a path in `with`."""
        owner = body.plan or body.task
        key = (id(owner), path)
        if key not in self._known:
            form = self._root(body)
            for part in path:
                form = field(form, part).form
            self._known[key] = form
        return self._known[key]

    def never(self, found: Form, wanted: Form) -> bool:
        """Whether the two exclude each other."""
        key = (id(found), id(wanted))
        if key not in self._apart:
            # Both are kept, so that their ids are not used again.
            self._apart[key] = (apart(found, wanted), found, wanted)
        return self._apart[key][0]

    def _root(self, body: Body) -> Form:
        if body.plan is not None:
            return table({name: form_of(schema) for name, schema in body.plan.inputs.items()})
        if body.task is None or body.task.input_schema is None:
            return OPEN
        return form_of(body.task.input_schema)
