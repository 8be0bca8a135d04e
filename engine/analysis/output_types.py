"""Compute the types of all references of a plan: outputs of nodes, steps and pipelines, inputs, and `run`.

The output schema of a task holds after exit 0. After other exits the output may be null as well, unless the task
declares otherwise. `outputs` of nodes and of pipelines, and the result of `collect`, are tables of exactly their keys;
values in them are followed through plain references.

Source: docs/language.md, "A document", "Results", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import attrs

from engine.analysis.choices import has_output, list_endings, list_success_routes
from engine.analysis.reads import ReadSite, iter_node_read_sites, iter_output_read_sites
from engine.analysis.step_reachability import Ending, list_outcomes, reachable_endings
from engine.base.classes import define, frozen
from engine.base.memo import memoize
from engine.expressions.model import BadExpression, Read
from engine.expressions.templates import is_always_text, parse_template
from engine.language.invalid_names import is_ambiguous_root
from engine.plan.fan_out import FanOut
from engine.plan.plan import Condition, Node, Plan, StepBody
from engine.schemas.value_types import (
    ANY,
    ValueType,
    item_type,
    list_of,
    literal_type,
    look_up_field,
    max_items,
    object_of,
    tuple_of,
    type_names,
    type_of_schema,
    type_union,
    without_null,
)

__all__ = ["OutputTypes", "PathError", "build_output_types", "check_paths"]

_TEXT = type_of_schema({"type": "string"})
_NUMBER = type_of_schema({"type": "integer"})
_NULL = literal_type(None)
_NAMES = type_of_schema({"type": "object", "additionalProperties": {"type": "string"}})
_RUN = object_of(
    dict.fromkeys(("id", "pipeline", "node", "step", "key"), _TEXT)
    | dict.fromkeys(("visit", "attempt"), _NUMBER)
)
_ANY_END = Condition("finished")


@frozen
class PathError:
    """An error in the path of a read, at part `at`.

    The part is `optional`, or does not exist: `unknown` (only `known` exist), or `none` (its parent, one of `kinds`,
    has no parts).
    """

    at: int
    kind: Literal["optional", "unknown", "none"]
    known: tuple[str, ...]
    kinds: tuple[str, ...]


@memoize
def build_output_types(plan: Plan) -> OutputTypes:
    """Build the types of the references of a plan."""
    found = OutputTypes(plan)
    if any(map(_depends_on_inputs, plan.nodes)):
        # In the order of the edges, so that a long chain of references takes no deep recursion.
        for index in plan.order:
            found.record_node(plan.nodes[index])
    return found


def _depends_on_inputs(node: Node) -> bool:
    """Return whether the output of a node depends on its inputs."""
    own = node.outputs is not None or node.fan is not None
    return own or any(map(_returns_inputs, node.bodies))


def _returns_inputs(body: StepBody) -> bool:
    return body.task is not None and body.task.output_contract == "inputs"


@memoize
def check_paths(plan: Plan) -> tuple[tuple[ReadSite, PathError], ...]:
    """Check the paths of all reads, except those in invalid nodes.

    Return each faulty read with the first part of its path that may not exist.
    """
    outputs = build_output_types(plan)

    def wrong(found: Iterable[ReadSite]) -> Iterator[tuple[ReadSite, PathError]]:
        return ((site, wrong) for site in found if (wrong := outputs.check_site(site)))

    sound = (node for node in plan.nodes if node.name not in plan.invalid_nodes)
    inside = (site for node in sound for site in iter_node_read_sites(node))
    return (*wrong(inside), *wrong(iter_output_read_sites(plan)))


@define(eq=False)
class OutputTypes:
    """The types of one plan's references.

    `lists` are the types of `for_each`, `mapped` those of `outputs`, `echoed` those of steps that return their inputs.
    """

    plan: Plan
    lists: dict[int, ValueType] = attrs.Factory(dict)
    mapped: dict[int, ValueType] = attrs.Factory(dict)
    echoed: dict[tuple[int, int], ValueType] = attrs.Factory(dict)
    _forms: dict[object, ValueType] = attrs.Factory(dict)
    _known: dict[object, PathError | None] = attrs.Factory(dict)

    def record_node(self, node: Node) -> None:
        """Record the types that a node maps and echoes; the nodes that it reads must have been recorded before."""
        spec = self.plan.spec.nodes[node.name]
        if spec.for_each is not None:
            self.lists[node.index] = self._value_type(spec.for_each, node, None)
        for at, body in enumerate(node.bodies):
            if _returns_inputs(body):
                given = spec.steps[node.name_of(at)].with_
                self.echoed[node.index, at] = self._value_type(given, node, at)
        if spec.outputs is not None:
            self.mapped[node.index] = self._value_type(dict(spec.outputs), node, None)

    def type_of_pipeline(self) -> ValueType:
        """Return the type of the pipeline's output, as a step that runs the pipeline gives it."""
        if "outputs" not in self._forms:
            self._forms["outputs"] = self._value_type(dict(self.plan.spec.outputs), None, None)
        return self._forms["outputs"]

    def check_site(self, site: ReadSite) -> PathError | None:
        """Return the error in the path of a read, or None."""
        node = None if site.node is None else self.plan.nodes[site.node]
        # What a step left when it ended is what `outputs` see, so `set` sees it as these do.
        form, rest = self._resolve_root(site.read, node, None if site.key == "set" else site.step)
        if form == ANY or not rest:
            return None
        key = (id(form), rest)
        if key not in self._known:
            self._known[key] = _check_path(form, rest)
        found = self._known[key]
        return found and attrs.evolve(found, at=found.at + len(site.read.path) - len(rest))

    # -- roots -------------------------------------------------------------------------------------

    def _resolve_root(
        self, read: Read, node: Node | None, step: int | None
    ) -> tuple[ValueType, tuple[str | int, ...]]:
        root, rest = str(read.path[0]), read.path[1:]
        if is_ambiguous_root(self.plan.spec, root):
            return ANY, ()
        if (source := self.plan.index.get(root)) is not None:
            return self._node_type(self.plan.nodes[source], node), rest
        if root in ("inputs", "state"):
            return self._declared_type(root), rest
        if root == "run":
            return _RUN, rest
        if root in ("env", "secrets"):
            return _NAMES, rest
        if root == "index":
            return _NUMBER, rest
        if root == "item":
            return self._item_type(node), rest
        if root == "steps":
            return (self._step_type(node, rest[0], step), rest[1:]) if node and rest else (ANY, ())
        around = self.plan.main_plan
        if around is not None and root in around.index:
            return build_output_types(around).type_at_end(root), rest
        return ANY, ()

    def _declared_type(self, root: str) -> ValueType:
        if root not in self._forms:
            schemas = self.plan.inputs if root == "inputs" else self.plan.state
            self._forms[root] = object_of(
                {name: type_of_schema(each) for name, each in schemas.items()}
            )
        return self._forms[root]

    def _item_type(self, node: Node | None) -> ValueType:
        """Return the type of one item of a node's list."""
        key = ("item", node and node.index)
        if key not in self._forms:
            self._forms[key] = item_type(self.lists.get(node.index, ANY)) if node else ANY
        return self._forms[key]

    def max_items(self, node: Node) -> int | None:
        """Return the maximum number of items of a fan-out; None if nothing bounds it."""
        if node.fan is not None and node.fan.count is not None:
            return node.fan.count
        return max_items(self.lists.get(node.index, ANY))

    def _node_type(self, node: Node, reader: Node | None) -> ValueType:
        """Return the type of a node's output as another node reads it.

        With a reader of None, the pipeline's outputs read it.
        """
        edge = reader.sources.get(node.index) if reader else None
        needed = edge is not None and reader is not None and reader.requires_edge(edge)
        condition = edge.condition if edge is not None and needed else _ANY_END
        key = (node.index, condition.key, reader is None)
        if key not in self._forms:
            self._forms[key] = self._type_after_end(node, condition, reader is None)
        return self._forms[key]

    def type_at_end(self, name: str) -> ValueType:
        """Return the type of a node's output after all nodes have ended in any way; the output may not exist."""
        if ("last", name) not in self._forms:
            node = self.plan.nodes[self.plan.index[name]]
            self._forms["last", name] = self._type_after_end(node, _ANY_END, False)
        return self._forms["last", name]

    def _type_after_end(self, node: Node, condition: Condition, well: bool) -> ValueType:
        if node.name in self.plan.invalid_nodes:
            return ANY
        if node.fan is not None:
            return self._fan_out_type(node, node.fan, condition, well)
        if node.outputs is not None:
            return self.mapped.get(node.index, ANY)
        if self._is_single_type(node, condition):
            return self._exit_type(node, 0, True)
        good = well and not self._may_fail(node)
        found: dict[tuple[int, bool], ValueType] = {}
        for ending in list_endings(node, [condition]):
            label = (ending.result, ending.label, ending.code, node.machine.steps[ending.step])
            live = condition.kind == "always" or condition.holds(*label)
            if live and has_output(node, ending) and not (good and ending.result == "failed"):
                sort = (ending.step, ending.exit == 0)
                found[sort] = self._exit_type(node, *sort)
        return type_union(*found.values()) or ANY

    def _fan_out_type(self, node: Node, fan: FanOut, condition: Condition, well: bool) -> ValueType:
        """Return the type of the list of item outputs; null stands for items that can fail."""
        good = condition.kind == "success" or (well and not self._may_fail(node))
        found = [_NULL] if fan.tolerate.may_lose_some or not good else []
        found += [
            self._type_of_item(node, ending) if has_output(node, ending) else _NULL
            for ending in reachable_endings(node.machine, ())
            if ending.result == "succeeded"
        ]
        return list_of(type_union(*found) or ANY, self.max_items(node))

    def _type_of_item(self, node: Node, ending: Ending) -> ValueType:
        if node.outputs is not None:
            return self.mapped.get(node.index, ANY)
        return self._exit_type(node, ending.step, ending.exit == 0)

    def _is_single_type(self, node: Node, condition: Condition) -> bool:
        """Return whether the node's output has a single type, as can be seen without inspecting all ends."""
        [body, *others] = node.bodies
        exact = body.task is not None and body.task.output_contract != "checked"
        nothing = body.task is not None and body.task.output_schema is None
        return not others and (
            exact
            or nothing
            or (condition.kind == "success" and not list_success_routes(node.machine))
        )

    def _may_fail(self, node: Node) -> bool:
        """Return whether the run can succeed although the node fails."""
        edges = self.plan.targets[node.index]
        return node.allow_failure or any(edge.condition.handles_failure for edge in edges)

    def _step_type(self, node: Node, name: str | int, reader: int | None) -> ValueType:
        """Return the type of a step's output as another step of its node reads it.

        With a reader of None, the node's `outputs` read it.
        """
        names = node.step_names
        if name not in names or node.name in self.plan.invalid_nodes:
            return ANY
        at = names.index(str(name))
        return self._exit_type(node, at, not _may_end_nonzero(node, at, reader))

    def _exit_type(self, node: Node, step: int, well: bool) -> ValueType:
        """Return the type of a step's output after exit 0 or, if not `well`, after possibly other exits."""
        body = node.bodies[step]
        if body.plan is not None:
            return build_output_types(body.plan).type_of_pipeline()
        if body.task is None or body.task.output_contract == "inputs":
            return self.echoed.get((node.index, step), ANY)
        schema = body.task.output_schema
        if schema is None:
            return ANY
        key = (id(schema), well or body.task.output_contract == "exact")
        if key not in self._forms:
            form = type_of_schema(schema)
            self._forms[key] = form if key[1] else type_union(form, literal_type(None))
        return self._forms[key]

    # -- values ------------------------------------------------------------------------------------

    def _value_type(self, value: Any, node: Node | None, step: int | None) -> ValueType:
        """Return the type of a value that contains expressions."""
        if isinstance(value, Mapping):
            return object_of(
                {key: self._value_type(item, node, step) for key, item in value.items()}
            )
        if isinstance(value, list):
            return tuple_of([self._value_type(item, node, step) for item in value])
        if isinstance(value, str) and "${" in value:
            return self.type_of_text(value, node, step)
        return literal_type(value)

    def type_of_text(self, text: str, node: Node | None, step: int | None) -> ValueType:
        """Return the type of a string that contains `${…}`."""
        try:
            if is_always_text(text):
                return _TEXT
            reads = parse_template(text).reads
        except BadExpression:  # it has been reported
            return ANY
        return self.type_of_string(text, reads[0], node, step) if len(reads) == 1 else ANY

    def type_of_string(
        self, text: str, read: Read, node: Node | None, step: int | None
    ) -> ValueType:
        """Return the type of a string of which `read` is the only read, or the first."""
        before, after = text[: read.start].strip(), text[read.end :].strip()
        if before != "${" or after != "}":
            return self._mixed_type(text, read, node, step)
        form, rest = self._resolve_root(read, node, step)
        return self._type_inside(form, rest)

    def _mixed_type(self, text: str, read: Read, node: Node | None, step: int | None) -> ValueType:
        """Return the type of text, of a path with a default, or of an expression."""
        if is_always_text(text):
            return _TEXT
        before, after = text[2 : read.start].strip(), text[read.end : -1].strip()
        if before or not after.startswith("??"):
            return ANY
        form = self._type_inside(*self._resolve_root(read, node, step))
        return type_union(
            without_null(form), literal_type(parse_template("${x" + text[read.end :]).evaluate({}))
        )

    def _type_inside(self, form: ValueType, path: tuple[str | int, ...]) -> ValueType:
        key = (id(form), path, "inside")
        if key not in self._forms:
            for part in path:
                form = look_up_field(form, part).value_type
            self._forms[key] = form
        return self._forms[key]


def _check_path(form: ValueType, path: tuple[str | int, ...]) -> PathError | None:
    for at, part in enumerate(path):
        found = look_up_field(form, part)
        if found.kind != "there":
            return PathError(at, found.kind, found.known_names, type_names(form))
        form = found.value_type
    return None


def _may_end_nonzero(node: Node, at: int, reader: int | None) -> bool:
    """Return whether a step may have ended with an exit other than 0 where its output is read."""
    step = node.machine.steps[at]
    return any(
        _can_reach_after(node, at, reader, o)
        for o in list_outcomes(step)
        if o and isinstance(o, int)
    )


def _can_reach_after(node: Node, at: int, reader: int | None, outcome: int) -> bool:
    step = node.machine.steps[at]
    if reader is None or (reader == at and any(c.can_retry(outcome) for c in step.retry)):
        return True
    route = step.find_route(outcome)
    return route is not None and any(isinstance(to, int) for to in (route.to, route.then))
