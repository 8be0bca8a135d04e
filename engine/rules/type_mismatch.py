"""E502: a reference whose value can never conform to the schema it is given to.

Literal values are checked by `literal_inputs`. A `when` accepts only booleans. A mismatch is reported only where the
two schemas certainly exclude each other. Source: docs/language.md, "Edges and joins", "Expressions", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs

from engine.analysis.output_types import build_output_types
from engine.base.classes import frozen
from engine.diagnostics import Diagnostic
from engine.diagnostics.codes import TYPE_MISMATCH
from engine.expressions.model import Template
from engine.plan.plan import Node, Plan
from engine.schemas.value_types import (
    ANY,
    ValueType,
    are_disjoint,
    look_up_field,
    object_of,
    type_names,
    type_of_schema,
)
from engine.sdk.task import Task
from engine.toml.key_paths import KeyPath

__all__ = ["RULE", "check"]

RULE = TYPE_MISMATCH
_BOOLEAN_TYPE = type_of_schema({"type": "boolean"})
_LIST_TYPE = type_of_schema({"type": "array"})


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each `when`, `for_each`, and string of a `with` or `set` that can never conform."""
    takes = _AcceptedTypes()
    for node in plan.nodes:
        yield from _check_node(takes, plan, node)


def _check_node(accepted: _AcceptedTypes, plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if node.name not in plan.invalid_nodes:
        yield from _check_condition(plan, node, accepted)
        yield from _check_list(plan, node)
        for at, body in enumerate(node.bodies):
            if body.with_.reads or body.set is not None:
                yield from _check_step(plan, node, at, accepted)


def _check_condition(plan: Plan, node: Node, accepted: _AcceptedTypes) -> Iterator[Diagnostic]:
    """Report a `when` that is a single path and can never be a boolean."""
    if node.when is None or not node.when.reads or not node.when.reads[0].is_whole_expression:
        return
    text, [read] = plan.spec.nodes[node.name].when or "", node.when.reads
    path, rest = text[read.start : read.end], text[read.end :].strip().removesuffix("}")
    alone = attrs.evolve(read, start=2, end=2 + len(path))
    found = build_output_types(plan).type_of_string(f"${{{path}{rest}}}", alone, node, None)
    if accepted.are_disjoint(found, _BOOLEAN_TYPE):
        source, place = plan.spec.source, (*plan.key_path_of(node), "when")
        message = _build_message(found, _BOOLEAN_TYPE)
        advice = "a condition must be true or false: compare the value with something"
        yield Diagnostic(RULE, message, source, source.value_span(place), advice, node.name)


def _check_step(plan: Plan, node: Node, at: int, accepted: _AcceptedTypes) -> Iterator[Diagnostic]:
    body, spec = node.bodies[at], plan.spec.nodes[node.name].steps[node.name_of(at)]
    given = _InputTable(node, at, "with", spec.with_, body.plan or body.task)
    yield from _check_strings(plan, given, body.with_, accepted)
    if body.set is not None:
        yield from _check_strings(
            plan, _InputTable(node, at, "set", spec.set, plan), body.set, accepted
        )


@frozen
class _InputTable:
    """The `with` or `set` table of a step, and what receives it.

    The receiver of a `set` is the plan itself, for its state.
    """

    node: Node
    step_index: int
    key: Literal["with", "set"]
    table: Mapping[str, Any]
    receiver: Plan | Task | None

    @property
    def step_name(self) -> str:
        return self.node.name_of(self.step_index)


def _check_strings(
    plan: Plan, inputs: _InputTable, template: Template, accepted: _AcceptedTypes
) -> Iterator[Diagnostic]:
    outputs, reader = build_output_types(plan), inputs.step_index if inputs.key == "with" else None
    for path, read in {read.key_path: read for read in reversed(template.reads)}.items():
        wanted = accepted.type_at(inputs, path)
        if wanted == ANY:
            continue
        text = _get_string(inputs.table, path)
        found = outputs.type_of_string(text, read, inputs.node, reader)
        if accepted.are_disjoint(found, wanted):
            place = (*plan.key_path_of(inputs.node, inputs.step_name), inputs.key, *path)
            yield Diagnostic(
                RULE,
                _build_message(found, wanted),
                plan.spec.source,
                plan.spec.source.value_span(place),
                _build_help(found, wanted),
                inputs.node.name,
                inputs.step_name,
            )


def _check_list(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    """Report a `for_each` that can never be a list."""
    if node.fan is None:
        return
    found = build_output_types(plan).lists[node.index]
    if are_disjoint(found, _LIST_TYPE):
        place = (*plan.key_path_of(node), "for_each")
        message = _build_message(found, _LIST_TYPE)
        source = plan.spec.source
        yield Diagnostic(RULE, message, source, source.value_span(place), None, node.name, None)


def _build_message(found: ValueType, wanted: ValueType) -> str:
    gives, takes = (" or ".join(type_names(form)) for form in (found, wanted))
    if gives == takes:
        return f"this reference gives values of type {takes}, but none that is allowed here"
    return f"expected {takes}, found a reference that gives {gives}"


def _build_help(found: ValueType, wanted: ValueType) -> str | None:
    if type_names(wanted) == ("string",) and type_names(found) != ("string",):
        return "a string that is one whole `${…}` keeps the type of the value: `${string(…)}`"
    return None


def _get_string(value: Any, path: KeyPath) -> str:
    for part in path:
        value = value[part]
    assert isinstance(value, str)
    return value


class _AcceptedTypes:
    """A cache of the types that tasks, sub-pipelines and states accept."""

    def __init__(self) -> None:
        self._types: dict[tuple[int, str, KeyPath], ValueType] = {}
        self._disjoint: dict[tuple[int, int], tuple[bool, ValueType, ValueType]] = {}

    def type_at(self, inputs: _InputTable, path: KeyPath) -> ValueType:
        """Return the type accepted at a path in `with` or `set`."""
        key = (id(inputs.receiver), inputs.key, path)
        if key not in self._types:
            form = self._find_root_type(inputs)
            for part in path:
                form = look_up_field(form, part).value_type
            self._types[key] = form
        return self._types[key]

    def are_disjoint(self, found: ValueType, wanted: ValueType) -> bool:
        """Return whether the two types exclude each other."""
        key = (id(found), id(wanted))
        if key not in self._disjoint:
            # Both are stored, so that their ids are not used again.
            self._disjoint[key] = (are_disjoint(found, wanted), found, wanted)
        return self._disjoint[key][0]

    def _find_root_type(self, inputs: _InputTable) -> ValueType:
        taker = inputs.receiver
        if isinstance(taker, Plan):
            schemas = taker.inputs if inputs.key == "with" else taker.state
            return object_of({name: type_of_schema(schema) for name, schema in schemas.items()})
        if taker is None or taker.input_schema is None:
            return ANY
        return type_of_schema(taker.input_schema)
