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

from engine.analysis.choices import endings_of, excused, gives_output
from engine.analysis.reads import Site, sites_at_end, sites_in
from engine.analysis.step_reachability import Ending, ends_of, outcomes_of
from engine.base.classes import define, frozen
from engine.base.memo import once
from engine.expressions.model import BadExpression, Read
from engine.expressions.templates import is_text, template
from engine.language.invalid_names import means_either
from engine.plan.fan_out import Fan
from engine.plan.plan import Body, Condition, Node, Plan
from engine.schemas.value_types import (
    OPEN,
    Form,
    array,
    either,
    field,
    form_of,
    items,
    kinds,
    listed,
    literal,
    longest,
    not_null,
    table,
)

__all__ = ["Outputs", "Wrong", "outputs_of", "wrong_paths"]

_TEXT = form_of({"type": "string"})
_NUMBER = form_of({"type": "integer"})
_NULL = literal(None)
_NAMES = form_of({"type": "object", "additionalProperties": {"type": "string"}})
_RUN = table(
    dict.fromkeys(("id", "pipeline", "node", "step", "key"), _TEXT)
    | dict.fromkeys(("visit", "attempt"), _NUMBER)
)
_ANY_END = Condition("finished")


@frozen
class Wrong:
    """An error in the path of a read, at part `at`.

    The part is `optional`, or does not exist: `unknown` (only `known` exist), or `none` (its parent, one of `kinds`,
    has no parts).
    """

    at: int
    kind: Literal["optional", "unknown", "none"]
    known: tuple[str, ...]
    kinds: tuple[str, ...]


@once
def outputs_of(plan: Plan) -> Outputs:
    """Build the types of the references of a plan."""
    found = Outputs(plan)
    if any(map(_follows, plan.nodes)):
        # In the order of the edges, so that a long chain of references takes no deep recursion.
        for index in plan.order:
            found.follow(plan.nodes[index])
    return found


def _follows(node: Node) -> bool:
    """Return whether the output of a node depends on its inputs."""
    own = node.outputs is not None or node.fan is not None
    return own or any(map(_echoes, node.bodies))


def _echoes(body: Body) -> bool:
    return body.task is not None and body.task.output == "inputs"


@once
def wrong_paths(plan: Plan) -> tuple[tuple[Site, Wrong], ...]:
    """Check the paths of all reads, except those in invalid nodes.

    Return each faulty read with the first part of its path that may not exist.
    """
    outputs = outputs_of(plan)

    def wrong(found: Iterable[Site]) -> Iterator[tuple[Site, Wrong]]:
        return ((site, wrong) for site in found if (wrong := outputs.wrong(site)))

    sound = (node for node in plan.nodes if node.name not in plan.flawed)
    inside = (site for node in sound for site in sites_in(node))
    return (*wrong(inside), *wrong(sites_at_end(plan)))


@define(eq=False)
class Outputs:
    """The types of one plan's references.

    `lists` are the types of `for_each`, `mapped` those of `outputs`, `echoed` those of steps that return their inputs.
    """

    plan: Plan
    lists: dict[int, Form] = attrs.Factory(dict)
    mapped: dict[int, Form] = attrs.Factory(dict)
    echoed: dict[tuple[int, int], Form] = attrs.Factory(dict)
    _forms: dict[object, Form] = attrs.Factory(dict)
    _known: dict[object, Wrong | None] = attrs.Factory(dict)

    def follow(self, node: Node) -> None:
        """Record the types that a node maps and echoes; the nodes that it reads must have been recorded before."""
        spec = self.plan.spec.nodes[node.name]
        if spec.for_each is not None:
            self.lists[node.index] = self._given(spec.for_each, node, None)
        for at, body in enumerate(node.bodies):
            if _echoes(body):
                given = spec.steps[node.name_of(at)].with_
                self.echoed[node.index, at] = self._given(given, node, at)
        if spec.outputs is not None:
            self.mapped[node.index] = self._given(dict(spec.outputs), node, None)

    def of_pipeline(self) -> Form:
        """Return the type of the pipeline's output, as a step that runs the pipeline gives it."""
        if "outputs" not in self._forms:
            self._forms["outputs"] = self._given(dict(self.plan.spec.outputs), None, None)
        return self._forms["outputs"]

    def wrong(self, site: Site) -> Wrong | None:
        """Return the error in the path of a read, or None."""
        node = None if site.node is None else self.plan.nodes[site.node]
        # What a step left when it ended is what `outputs` see, so `set` sees it as these do.
        form, rest = self._root(site.read, node, None if site.key == "set" else site.step)
        if form == OPEN or not rest:
            return None
        key = (id(form), rest)
        if key not in self._known:
            self._known[key] = _walked(form, rest)
        found = self._known[key]
        return found and attrs.evolve(found, at=found.at + len(site.read.path) - len(rest))

    # -- roots -------------------------------------------------------------------------------------

    def _root(
        self, read: Read, node: Node | None, step: int | None
    ) -> tuple[Form, tuple[str | int, ...]]:
        root, rest = str(read.path[0]), read.path[1:]
        if means_either(self.plan.spec, root):
            return OPEN, ()
        if (source := self.plan.index.get(root)) is not None:
            return self._node(self.plan.nodes[source], node), rest
        if root in ("inputs", "state"):
            return self._declared(root), rest
        if root == "run":
            return _RUN, rest
        if root in ("env", "secrets"):
            return _NAMES, rest
        if root == "index":
            return _NUMBER, rest
        if root == "item":
            return self._item(node), rest
        if root == "steps":
            return (self._step(node, rest[0], step), rest[1:]) if node and rest else (OPEN, ())
        around = self.plan.around
        if around is not None and root in around.index:
            return outputs_of(around).at_last(root), rest
        return OPEN, ()

    def _declared(self, root: str) -> Form:
        if root not in self._forms:
            schemas = self.plan.inputs if root == "inputs" else self.plan.state
            self._forms[root] = table({name: form_of(each) for name, each in schemas.items()})
        return self._forms[root]

    def _item(self, node: Node | None) -> Form:
        """Return the type of one item of a node's list."""
        key = ("item", node and node.index)
        if key not in self._forms:
            self._forms[key] = items(self.lists.get(node.index, OPEN)) if node else OPEN
        return self._forms[key]

    def most(self, node: Node) -> int | None:
        """Return the maximum number of items of a fan-out; None if nothing bounds it."""
        if node.fan is not None and node.fan.count is not None:
            return node.fan.count
        return longest(self.lists.get(node.index, OPEN))

    def _node(self, node: Node, reader: Node | None) -> Form:
        """Return the type of a node's output as another node reads it.

        With a reader of None, the pipeline's outputs read it.
        """
        edge = reader.sources.get(node.index) if reader else None
        needed = edge is not None and reader is not None and reader.insists(edge)
        condition = edge.condition if edge is not None and needed else _ANY_END
        key = (node.index, condition.key, reader is None)
        if key not in self._forms:
            self._forms[key] = self._ended(node, condition, reader is None)
        return self._forms[key]

    def at_last(self, name: str) -> Form:
        """Return the type of a node's output after all nodes have ended in any way; the output may not exist."""
        if ("last", name) not in self._forms:
            node = self.plan.nodes[self.plan.index[name]]
            self._forms["last", name] = self._ended(node, _ANY_END, False)
        return self._forms["last", name]

    def _ended(self, node: Node, condition: Condition, well: bool) -> Form:
        if node.name in self.plan.flawed:
            return OPEN
        if node.fan is not None:
            return self._fanned(node, node.fan, condition, well)
        if node.outputs is not None:
            return self.mapped.get(node.index, OPEN)
        if self._is_clear(node, condition):
            return self._exit(node, 0, True)
        good = well and not self._may_fail(node)
        found: dict[tuple[int, bool], Form] = {}
        for ending in endings_of(node, [condition]):
            label = (ending.result, ending.label, ending.code, node.machine.steps[ending.step])
            live = condition.kind == "always" or condition.holds(*label)
            if live and gives_output(node, ending) and not (good and ending.result == "failed"):
                sort = (ending.step, ending.exit == 0)
                found[sort] = self._exit(node, *sort)
        return either(*found.values()) or OPEN

    def _fanned(self, node: Node, fan: Fan, condition: Condition, well: bool) -> Form:
        """Return the type of the list of item outputs; null stands for items that can fail."""
        good = condition.kind == "success" or (well and not self._may_fail(node))
        found = [_NULL] if fan.tolerate.any or not good else []
        found += [
            self._of_item(node, ending) if gives_output(node, ending) else _NULL
            for ending in ends_of(node.machine, ())
            if ending.result == "succeeded"
        ]
        return listed(either(*found) or OPEN, self.most(node))

    def _of_item(self, node: Node, ending: Ending) -> Form:
        if node.outputs is not None:
            return self.mapped.get(node.index, OPEN)
        return self._exit(node, ending.step, ending.exit == 0)

    def _is_clear(self, node: Node, condition: Condition) -> bool:
        """Return whether the node's output has a single type, as can be seen without inspecting all ends."""
        [body, *others] = node.bodies
        exact = body.task is not None and body.task.output != "checked"
        nothing = body.task is not None and body.task.output_schema is None
        return not others and (
            exact or nothing or (condition.kind == "success" and not excused(node.machine))
        )

    def _may_fail(self, node: Node) -> bool:
        """Return whether the run can succeed although the node fails."""
        edges = self.plan.targets[node.index]
        return node.allow_failure or any(edge.condition.names_failure for edge in edges)

    def _step(self, node: Node, name: str | int, reader: int | None) -> Form:
        """Return the type of a step's output as another step of its node reads it.

        With a reader of None, the node's `outputs` read it.
        """
        names = node.step_names
        if name not in names or node.name in self.plan.flawed:
            return OPEN
        at = names.index(str(name))
        return self._exit(node, at, not _leaves_otherwise(node, at, reader))

    def _exit(self, node: Node, step: int, well: bool) -> Form:
        """Return the type of a step's output after exit 0 or, if not `well`, after possibly other exits."""
        body = node.bodies[step]
        if body.plan is not None:
            return outputs_of(body.plan).of_pipeline()
        if body.task is None or body.task.output == "inputs":
            return self.echoed.get((node.index, step), OPEN)
        schema = body.task.output_schema
        if schema is None:
            return OPEN
        key = (id(schema), well or body.task.output == "exact")
        if key not in self._forms:
            form = form_of(schema)
            self._forms[key] = form if key[1] else either(form, literal(None))
        return self._forms[key]

    # -- values ------------------------------------------------------------------------------------

    def _given(self, value: Any, node: Node | None, step: int | None) -> Form:
        """Return the type of a value that contains expressions."""
        if isinstance(value, Mapping):
            return table({key: self._given(item, node, step) for key, item in value.items()})
        if isinstance(value, list):
            return array([self._given(item, node, step) for item in value])
        if isinstance(value, str) and "${" in value:
            return self.of_text(value, node, step)
        return literal(value)

    def of_text(self, text: str, node: Node | None, step: int | None) -> Form:
        """Return the type of a string that contains `${…}`."""
        try:
            if is_text(text):
                return _TEXT
            reads = template(text).reads
        except BadExpression:  # it has been told
            return OPEN
        return self.of_string(text, reads[0], node, step) if len(reads) == 1 else OPEN

    def of_string(self, text: str, read: Read, node: Node | None, step: int | None) -> Form:
        """Return the type of a string of which `read` is the only read, or the first."""
        before, after = text[: read.start].strip(), text[read.end :].strip()
        if before != "${" or after != "}":
            return self._odd(text, read, node, step)
        form, rest = self._root(read, node, step)
        return self._inside(form, rest)

    def _odd(self, text: str, read: Read, node: Node | None, step: int | None) -> Form:
        """Return the type of text, of a path with a default, or of an expression."""
        if is_text(text):
            return _TEXT
        before, after = text[2 : read.start].strip(), text[read.end : -1].strip()
        if before or not after.startswith("??"):
            return OPEN
        form = self._inside(*self._root(read, node, step))
        return either(not_null(form), literal(template("${x" + text[read.end :]).evaluate({})))

    def _inside(self, form: Form, path: tuple[str | int, ...]) -> Form:
        key = (id(form), path, "inside")
        if key not in self._forms:
            for part in path:
                form = field(form, part).form
            self._forms[key] = form
        return self._forms[key]


def _walked(form: Form, path: tuple[str | int, ...]) -> Wrong | None:
    for at, part in enumerate(path):
        found = field(form, part)
        if found.kind != "there":
            return Wrong(at, found.kind, found.known, kinds(form))
        form = found.form
    return None


def _leaves_otherwise(node: Node, at: int, reader: int | None) -> bool:
    """Return whether a step may have ended with an exit other than 0 where its output is read."""
    step = node.machine.steps[at]
    return any(_comes(node, at, reader, o) for o in outcomes_of(step) if o and isinstance(o, int))


def _comes(node: Node, at: int, reader: int | None, outcome: int) -> bool:
    step = node.machine.steps[at]
    if reader is None or (reader == at and any(c.serves(outcome) for c in step.retry)):
        return True
    route = step.route(outcome)
    return route is not None and any(isinstance(to, int) for to in (route.to, route.then))
