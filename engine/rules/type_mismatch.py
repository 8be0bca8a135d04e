"""E502: a reference whose value can never conform to the schema it is given to.

Literal values are checked by `literal_inputs`. A `when` accepts only booleans. A mismatch is reported only where the two schemas
certainly exclude each other.
Source: docs/language.md, "Edges and joins", "Expressions", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from engine.analysis.output_types import outputs_of
from engine.base.classes import frozen
from engine.diagnostics import Diagnostic
from engine.diagnostics.codes import TYPE_MISMATCH
from engine.expressions.model import Template
from engine.plan.plan import Node, Plan
from engine.schemas.value_types import OPEN, Form, apart, field, form_of, kinds, table
from engine.sdk.task import Task
from engine.toml.key_paths import KeyPath

__all__ = ["RULE", "check"]

RULE = TYPE_MISMATCH
_BOOLEAN = form_of({"type": "boolean"})
_LIST = form_of({"type": "array"})


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each `when`, `for_each`, and string of a `with` or `set` that can never conform."""
    takes = _Takes()
    for node in plan.nodes:
        yield from _in_node(takes, plan, node)


def _in_node(takes: _Takes, plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if node.name not in plan.flawed:
        yield from _condition(plan, node, takes)
        yield from _list(plan, node)
        for at, body in enumerate(node.bodies):
            if body.with_.reads or body.set is not None:
                yield from _step(plan, node, at, takes)


def _condition(plan: Plan, node: Node, takes: _Takes) -> Iterator[Diagnostic]:
    """Report a `when` that is a single path and can never be a boolean."""
    if node.when is None or not node.when.reads or not node.when.reads[0].plain:
        return
    text, [read] = plan.spec.nodes[node.name].when or "", node.when.reads
    path, rest = text[read.start : read.end], text[read.end :].strip().removesuffix("}")
    alone = attrs.evolve(read, start=2, end=2 + len(path))
    found = outputs_of(plan).of_string(f"${{{path}{rest}}}", alone, node, None)
    if takes.never(found, _BOOLEAN):
        source, place = plan.spec.source, (*plan.place(node), "when")
        message = _message(found, _BOOLEAN)
        cure = "a condition must be true or false: compare the value with something"
        yield Diagnostic(RULE, message, source, source.value(place), cure, node.name)


def _step(plan: Plan, node: Node, at: int, takes: _Takes) -> Iterator[Diagnostic]:
    body, spec = node.bodies[at], plan.spec.nodes[node.name].steps[node.name_of(at)]
    given = _Given(node, at, "with", spec.with_, body.plan or body.task)
    yield from _strings(plan, given, body.with_, takes)
    if body.set is not None:
        yield from _strings(plan, _Given(node, at, "set", spec.set, plan), body.set, takes)


@frozen
class _Given:
    """The `with` or `set` table of a step, and what receives it.

    The receiver of a `set` is the plan itself, for its state.
    """

    node: Node
    at: int
    key: Literal["with", "set"]
    table: Mapping[str, Any]
    taker: Plan | Task | None

    @property
    def step(self) -> str:
        return self.node.name_of(self.at)


def _strings(plan: Plan, given: _Given, made: Template, takes: _Takes) -> Iterator[Diagnostic]:
    outputs, reader = outputs_of(plan), given.at if given.key == "with" else None
    for path, read in {read.at: read for read in reversed(made.reads)}.items():
        wanted = takes.at(given, path)
        if wanted == OPEN:
            continue
        text = _inside(given.table, path)
        found = outputs.of_string(text, read, given.node, reader)
        if takes.never(found, wanted):
            place = (*plan.place(given.node, given.step), given.key, *path)
            yield Diagnostic(
                RULE,
                _message(found, wanted),
                plan.spec.source,
                plan.spec.source.value(place),
                _cure(found, wanted),
                given.node.name,
                given.step,
            )


def _list(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    """Report a `for_each` that can never be a list."""
    if node.fan is None:
        return
    found = outputs_of(plan).lists[node.index]
    if apart(found, _LIST):
        place = (*plan.place(node), "for_each")
        message = _message(found, _LIST)
        source = plan.spec.source
        yield Diagnostic(RULE, message, source, source.value(place), None, node.name, None)


def _message(found: Form, wanted: Form) -> str:
    gives, takes = (" or ".join(kinds(form)) for form in (found, wanted))
    if gives == takes:
        return f"this reference gives values of type {takes}, but none that is allowed here"
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
    """A cache of the types that tasks, sub-pipelines and states accept."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str, KeyPath], Form] = {}
        self._apart: dict[tuple[int, int], tuple[bool, Form, Form]] = {}

    def at(self, given: _Given, path: KeyPath) -> Form:
        """Return the type accepted at a path in `with` or `set`."""
        key = (id(given.taker), given.key, path)
        if key not in self._known:
            form = self._root(given)
            for part in path:
                form = field(form, part).form
            self._known[key] = form
        return self._known[key]

    def never(self, found: Form, wanted: Form) -> bool:
        """Return whether the two types exclude each other."""
        key = (id(found), id(wanted))
        if key not in self._apart:
            # Both are kept, so that their ids are not used again.
            self._apart[key] = (apart(found, wanted), found, wanted)
        return self._apart[key][0]

    def _root(self, given: _Given) -> Form:
        taker = given.taker
        if isinstance(taker, Plan):
            schemas = taker.inputs if given.key == "with" else taker.state
            return table({name: form_of(schema) for name, schema in schemas.items()})
        if taker is None or taker.input_schema is None:
            return OPEN
        return form_of(taker.input_schema)
