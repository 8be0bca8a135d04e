"""Hold a compiled pipeline, resolved and frozen: a DAG of nodes, each with its machine.

Nodes and edges refer to each other by index, in file order. `Plan.graph` shows the same as a networkx DiGraph, built on
demand, so that checking a spec does not import networkx.

Source: docs/language.md, "A document", "Nodes and steps", "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from engine.base.classes import frozen, value
from engine.base.graphs import topological_order
from engine.expressions.model import Read, Template
from engine.language.spec import Spec
from engine.plan.fan_out import FanOut
from engine.plan.machine import LoopEdge, Machine, Step
from engine.sdk.task import Executor, Task
from engine.toml.key_paths import KeyPath

if TYPE_CHECKING:
    import networkx

__all__ = [
    "BASIC_CONDITIONS",
    "Callee",
    "Condition",
    "Edge",
    "Key",
    "Node",
    "Plan",
    "StepBody",
    "may_fail_to_evaluate",
]

Callee = tuple[Literal["task", "pipeline"], str]
"""The target of a tool call: a task by its id, or a pipeline by its name."""

Key = Literal["with", "set", "when", "for_each", "outputs"]
"""The key of a node or step that an expression stands under."""


Kind = Literal["success", "failure", "finished", "always", "labels"]


@frozen
class Condition:
    """The condition under which an edge is live, given the result of its source.

    `names` and `codes` are used by kind `labels` only.
    """

    kind: Kind
    names: frozenset[str] = frozenset()
    codes: frozenset[int] = frozenset()

    def holds(self, result: str, label: str | None, code: int | None, step: Step | None) -> bool:
        """Return whether the edge is live.

        `code` and `step` are the exit that gave the label and the step with that exit.
        """
        match self.kind:
            case "success":
                return result == "succeeded"
            case "failure":
                return result == "failed"
            case "finished":
                return result in ("succeeded", "failed")
            case "always":
                return result != "cancelled"
            case "labels":
                return result in ("succeeded", "failed") and self._matches_label(label, code, step)

    def _matches_label(self, label: str | None, code: int | None, step: Step | None) -> bool:
        if label in self.names:
            return True
        if code is None or step is None:
            return False
        return code in self.codes or any(step.aliases.get(name) == code for name in self.names)

    @property
    def key(self) -> object:
        """Return a cheap hashable key that identifies the condition."""
        return self if self.kind == "labels" else self.kind

    @property
    def handles_failure(self) -> bool:
        """Return whether a live edge of this kind handles the failure of its source."""
        return self.kind in ("failure", "labels")

    def __str__(self) -> str:
        if self.kind != "labels":
            return self.kind
        return ", ".join([*sorted(self.names), *map(str, sorted(self.codes))])


BASIC_CONDITIONS: Mapping[str, Condition] = {
    kind: Condition(kind) for kind in get_args(Kind) if kind != "labels"
}
"""The conditions that name no labels."""


@value
class Edge:
    """An edge: `target` waits for `source`, both by index.

    It is implied by a reference, or written in `needs` if `is_explicit` is set.
    """

    source: int
    target: int
    condition: Condition
    is_explicit: bool


@value(eq=False)
class StepBody:
    """The task or sub-pipeline that a step runs, with its table of inputs."""

    task: Task | None
    plan: Plan | None
    with_: Template
    timeout: float | None = None
    """The timeout of one attempt in seconds."""
    on_interrupt: Literal["rerun", "fail", "route"] = "rerun"
    """The reaction when the engine died during an attempt."""
    schema: Mapping[str, Any] | None = None
    """The schema of the task's inputs, checked before each attempt; None where compilation has proved it."""

    reads_resources: bool = False
    """Whether its `with` reads resources, and so is evaluated when they are open."""
    called_plans: Mapping[Callee, Plan] | None = None
    """The tasks and pipelines that the task can call as tools."""
    set: Template | None = None
    """The state values, by name, that are written when an attempt ends with an exit code."""

    needs_person: bool = attrs.field(init=False)
    """Whether the body asks a person; it then takes no slot."""

    @needs_person.default
    def _needs_person(self) -> bool:
        return self.task is not None and self.task.needs_person

    has_constant_inputs: bool = attrs.field(init=False)
    """Whether every attempt of a task receives the same inputs, known to be valid."""

    @has_constant_inputs.default
    def _has_constant_inputs(self) -> bool:
        return self.with_.is_constant and self.schema is None and self.plan is None


@value(eq=False, slots=False)
class Node:
    """One node; `bodies` runs parallel to `machine.steps`."""

    name: str
    index: int
    machine: Machine
    bodies: tuple[StepBody, ...]
    edges: tuple[Edge, ...] = ()
    """The incoming edges: explicit ones first, in the order of their sources."""
    join: Literal["all", "any"] = "all"
    when: Template | None = None
    outputs: Template | None = None
    deadline: float | None = None
    pool: str | None = None
    priority: int = 100
    allow_failure: bool = False
    executor: Executor | None = None
    is_when_boolean: bool = False
    """Whether the values that its `when` reads can only be true or false."""
    fan: FanOut | None = None
    """The fan-out of the node, whose body runs once for each item of a list; None without `for_each`."""
    reads_steps: bool = True
    """Whether any expression in the node reads the outputs of its steps."""
    uses: tuple[str, ...] = ()
    """The resources that its tasks use."""
    requires: tuple[str, ...] = ()
    """The services that must be available before a run begins."""
    group: str = ""
    description: str = ""

    def with_edges(self, edges: tuple[Edge, ...]) -> Node:
        """Return the same node with these incoming edges."""
        return Node(**vars(self) | {"edges": edges})

    def name_of(self, step: int) -> str:
        """Return the name of a step."""
        name = self.machine.steps[step].name
        return self.name if name is None else name

    @property
    def step_names(self) -> tuple[str, ...]:
        """Return the names of the steps, in order."""
        return tuple(map(self.name_of, range(len(self.machine.steps))))

    def templates(self) -> Iterator[tuple[int | None, Key, Template]]:
        """Yield its expressions, each with its step (None: the node itself) and its key."""
        for at, body in enumerate(self.bodies):
            yield at, "with", body.with_
            if body.set is not None:
                yield at, "set", body.set
        if self.when is not None:
            yield None, "when", self.when
        if self.fan is not None:
            yield None, "for_each", self.fan.items
        if self.outputs is not None:
            yield None, "outputs", self.outputs

    @property
    def may_fail_to_evaluate(self) -> bool:
        """Return whether evaluating an expression of the node itself may fail.

        It fails when a value that it reads is missing or of another type.
        """
        return self.start_may_fail or self.end_may_fail

    @property
    def start_may_fail(self) -> bool:
        """Return whether evaluating `when` or `for_each` may fail, before the first attempt."""
        fan = self.fan
        return self.when_may_fail or (
            fan is not None and (may_fail_to_evaluate(fan.items) or not fan.is_always_list)
        )

    @property
    def end_may_fail(self) -> bool:
        """Return whether evaluating `outputs` may fail; for an item, only that item fails then."""
        return self.fan is None and may_fail_to_evaluate(self.outputs)

    @property
    def when_may_fail(self) -> bool:
        """Return whether `when` may have a value that is neither true nor false."""
        return self.when is not None and (
            may_fail_to_evaluate(self.when) or not self.is_when_boolean
        )

    @cached_property
    def sources(self) -> Mapping[int, Edge]:
        """Return the incoming edges by their source."""
        return {edge.source: edge for edge in self.edges}

    @cached_property
    def written_edge_count(self) -> int:
        """Return how many of its edges are written in `needs`."""
        return sum(edge.is_explicit for edge in self.edges)

    def requires_edge(self, edge: Edge) -> bool:
        """Return whether the node runs only if this edge is live."""
        return self.join == "all" or not edge.is_explicit or self.written_edge_count == 1


_ALWAYS_THERE = frozenset({"inputs", "state", "run", "env", "secrets"})
"""The roots whose names exist before a run begins; values deeper inside them may be missing."""


def may_fail_to_evaluate(template: Template | None) -> bool:
    """Return whether evaluating a template may fail.

    It fails when a value that it reads is missing or of another type.
    """
    return template is not None and any(map(_may_be_missing, template.reads))


def _may_be_missing(read: Read) -> bool:
    return not read.is_whole_expression or len(read.path) > 2 or read.path[0] not in _ALWAYS_THERE


@frozen(eq=False, slots=False)
class Plan:
    """One compiled pipeline; sub-pipelines are plans in the bodies of its steps."""

    name: str
    nodes: tuple[Node, ...]
    spec: Spec = attrs.field(repr=False)
    fingerprint: Callable[[], str] = attrs.field(default=str, repr=False)
    """The function that computes `hash` on demand."""
    inputs: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    state: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    initial: Template | None = None
    """The initial state of a run; None for a state without an initial value."""
    outputs: Template | None = None
    pools: Mapping[str, int] = attrs.field(factory=dict)
    deadline: float | None = None
    max_parallel: int = 32
    on_failure: Literal["finish", "cancel"] = "finish"
    overlap: Literal["allow", "refuse", "queue", "replace"] = "allow"
    env: Mapping[str, bool] = attrs.field(factory=dict)
    """The environment variables read here and in sub-pipelines, and whether each must be set."""
    secrets: Mapping[str, bool] = attrs.field(factory=dict)
    finally_plan: Plan | None = None
    """The nodes of `[finally]`, which begin when all others have ended."""
    main_plan: Plan | None = attrs.field(default=None, repr=False)
    """For the nodes of `[finally]`: the plan whose nodes have ended when they begin, and which they read."""
    service_plan: Plan | None = None
    """The services as a plan: each node checks whether one of them is available."""
    resource_plan: Plan | None = None
    """The resources as a plan: each node stands for one of them."""
    loops: tuple[tuple[int, tuple[LoopEdge, ...]], ...] = ()
    """The unbounded loops by node; a plan that has any is refused (E301)."""
    invalid_nodes: frozenset[str] = frozenset()
    """The nodes with errors in the file; what the plan holds of them may be incomplete."""

    @cached_property
    def has_cleanup(self) -> bool:
        """Return whether a cancelled run still has work to do.

        That is the case with nodes in `[finally]` or with resources, here or in a sub-pipeline.
        """
        return self.has_finally or self.has_resources

    @cached_property
    def has_resources(self) -> bool:
        """Return whether the plan uses resources, here or in a sub-pipeline."""
        used = any(node.uses for node in self.nodes_by_name.values())
        return used or any(
            body.plan is not None and body.plan.has_resources for body in self.all_bodies
        )

    @cached_property
    def has_finally(self) -> bool:
        """Return whether the plan has nodes in `[finally]`, here or in a sub-pipeline."""
        return bool(self.finally_plan) or any(
            body.plan and body.plan.has_finally for body in self.all_bodies
        )

    @property
    def all_bodies(self) -> Iterator[StepBody]:
        """Yield the bodies of all steps, those of nodes in `[finally]` included."""
        for node in (*self.nodes, *self.finally_nodes):
            yield from node.bodies

    @property
    def parts(self) -> tuple[Plan, ...]:
        """Return the other plans of the document: `[finally]`, the services and the resources."""
        return tuple(
            p for p in (self.finally_plan, self.service_plan, self.resource_plan) if p is not None
        )

    def walk_plans(self, calls: bool = True) -> Iterator[Plan]:
        """Yield the plan and all plans inside it, each once, outermost first.

        These are its parts, its sub-pipelines and, with `calls`, pipelines that tasks call as tools.
        """
        seen: set[int] = set()
        stack = [self]
        while stack:
            part = stack.pop()
            if id(part) in seen:
                continue
            seen.add(id(part))
            yield part
            stack += part.parts
            for node in part.nodes:
                for body in node.bodies:
                    if body.plan:
                        stack.append(body.plan)
                    elif calls and body.called_plans:
                        stack += (
                            plan
                            for (kind, _), plan in body.called_plans.items()
                            if kind == "pipeline"
                        )

    @cached_property
    def needs_person(self) -> bool:
        """Return whether a person is asked, here or in a sub-pipeline."""
        return any(
            body.needs_person or (body.plan is not None and body.plan.needs_person)
            for body in self.all_bodies
        )

    @cached_property
    def hash(self) -> str:
        """Return the SHA-256 of the meaning; comments, layout, descriptions and groups do not count."""
        return self.fingerprint()

    @cached_property
    def path(self) -> str:
        """Return the absolute path of the file."""
        return str(Path(self.spec.source.path).resolve())

    @cached_property
    def files(self) -> Mapping[str, str]:
        """Return the texts of the plan's file and of all files that it names, by absolute path.

        Files named by those are included.
        """
        return {part.path: part.spec.source.text for part in self.walk_plans()}

    @cached_property
    def directory(self) -> str:
        """Return the directory of the file; relative paths of built-in tasks start there."""
        return str(Path(self.spec.source.path).parent)

    @cached_property
    def nodes_by_name(self) -> Mapping[str, Node]:
        """Return all nodes by name, those of `[finally]` included."""
        return {node.name: node for node in (*self.nodes, *self.finally_nodes)}

    @property
    def finally_nodes(self) -> tuple[Node, ...]:
        """Return the nodes of `[finally]`."""
        return self.finally_plan.nodes if self.finally_plan else ()

    @property
    def finally_names(self) -> tuple[str, ...]:
        """Return the names of the nodes of `[finally]`."""
        return tuple(node.name for node in self.finally_nodes)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Return the indexes of nodes by name, without those of `[finally]`."""
        return {node.name: node.index for node in self.nodes}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Return the nodes in topological order; those on or behind a cycle are left out."""
        return tuple(
            topological_order([[edge.source for edge in node.edges] for node in self.nodes])
        )

    @cached_property
    def targets(self) -> tuple[tuple[Edge, ...], ...]:
        """Return the outgoing edges of each node, in file order."""
        out: list[list[Edge]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for edge in node.edges:
                out[edge.source].append(edge)
        return tuple(map(tuple, out))

    def descendants(self, names: Iterable[str]) -> set[int]:
        """Return the nodes of these names and all that wait for them, directly or indirectly."""
        seen = {self.index[name] for name in names}
        stack = list(seen)
        while stack:
            for edge in self.targets[stack.pop()]:
                if edge.target not in seen:
                    seen.add(edge.target)
                    stack.append(edge.target)
        return seen

    @cached_property
    def graph(self) -> networkx.DiGraph[str]:
        """Return a frozen networkx graph of the plan.

        Nodes are names with the attributes `node` and `machine`; edges have the attributes `condition` and `written`.
        """
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph(name=self.name)
        for node in self.nodes:
            graph.add_node(node.name, node=node, machine=node.machine)
        for node in self.nodes:
            for edge in node.edges:
                source = self.nodes[edge.source].name
                graph.add_edge(
                    source, node.name, condition=edge.condition, written=edge.is_explicit
                )
        frozen: networkx.DiGraph[str] = networkx.freeze(graph)
        return frozen

    def key_path_of(self, node: Node, step: str | None = None) -> KeyPath:
        """Return the key path of a node's table in the file, or of the table of one of its steps."""
        if self.finally_plan and node.name not in self.index:
            return self.finally_plan.key_path_of(node, step)
        base = (*self.spec.key_path, self.spec.table, node.name)
        spec = self.spec.nodes[node.name]
        return base if step is None or spec.is_inline else (*base, "steps", step)
