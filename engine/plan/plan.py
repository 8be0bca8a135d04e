"""Plan: a compiled pipeline, resolved and frozen: a DAG of nodes, each with its machine.

Nodes and edges refer to each other by index, in the order of the file. `Plan.graph` shows the same as a networkx DiGraph, built
when asked for, so that checking a spec does not import networkx. Source: LANGUAGE.md sections 1, 2 and 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import attrs

from engine.base.classes import frozen
from engine.base.graphs import topological
from engine.expressions.model import Read, Template
from engine.language.spec import Spec
from engine.plan.fan_out import Fan
from engine.plan.machine import Hop, Machine, Step
from engine.sdk.task import Executor, Task
from engine.toml.key_paths import KeyPath

if TYPE_CHECKING:
    import networkx

__all__ = ["PLAIN", "Body", "Callee", "Condition", "Edge", "Key", "Node", "Plan", "misreads"]

Callee = tuple[Literal["task", "pipeline"], str]
"""What a task runs by itself: a task by its id, or a pipeline by its name."""

Key = Literal["with", "set", "when", "for_each", "outputs"]
"""The key of a node or step that an expression stands under."""


Kind = Literal["success", "failure", "finished", "always", "labels"]


@frozen
class Condition:
    """When an edge is live, given its source's result. `names` and `codes` are used by kind `labels` alone."""

    kind: Kind
    names: frozenset[str] = frozenset()
    codes: frozenset[int] = frozenset()

    def holds(self, result: str, label: str | None, code: int | None, step: Step | None) -> bool:
        """Whether the edge is live; `code` and `step` are the exit that gave the label and the step whose exit it was."""
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
                return result in ("succeeded", "failed") and self._labelled(label, code, step)

    def _labelled(self, label: str | None, code: int | None, step: Step | None) -> bool:
        if label in self.names:
            return True
        if code is None or step is None:
            return False
        return code in self.codes or any(step.aliases.get(name) == code for name in self.names)

    @property
    def key(self) -> object:
        """What tells it from others, cheap to look up."""
        return self if self.kind == "labels" else self.kind

    @property
    def names_failure(self) -> bool:
        """Whether a live edge of this kind handles its source's failure (section 8)."""
        return self.kind in ("failure", "labels")

    def __str__(self) -> str:
        if self.kind != "labels":
            return self.kind
        return ", ".join([*sorted(self.names), *map(str, sorted(self.codes))])


PLAIN: Mapping[str, Condition] = {
    kind: Condition(kind) for kind in get_args(Kind) if kind != "labels"
}
"""The conditions that name no labels."""


@frozen
class Edge:
    """`target` waits for `source`; implied by a reference, or `written` in `needs`. Nodes by index."""

    source: int
    target: int
    condition: Condition
    written: bool


@frozen(eq=False)
class Body:
    """What a step runs: a task or a sub-pipeline, and the table it is given."""

    task: Task | None
    plan: Plan | None
    with_: Template
    timeout: float | None = None
    """Seconds of one attempt."""
    on_interrupt: Literal["rerun", "fail", "route"] = "rerun"
    """What follows when the engine died and its body with it."""
    schema: Mapping[str, Any] | None = None
    """What the task's inputs must fit, checked before each attempt; None where compiling has proved it."""

    late: bool = False
    """Whether its `with` reads resources: then it is evaluated when they are open."""
    called: Mapping[Callee, Plan] | None = None
    """What the task runs by itself."""
    set: Template | None = None
    """What is written to the state when an attempt ends with an exit code, by name."""

    asks: bool = attrs.field(init=False)
    """Whether a person is asked, who takes no place."""

    @asks.default
    def _asks(self) -> bool:
        return self.task is not None and self.task.asks

    plain: bool = attrs.field(init=False)
    """Whether every attempt of a task is given the same, known to fit."""

    @plain.default
    def _is_plain(self) -> bool:
        return self.with_.constant and self.schema is None and self.plan is None


@frozen(eq=False, slots=False)
class Node:
    """One node; `bodies` stand beside `machine.steps`."""

    name: str
    index: int
    machine: Machine
    bodies: tuple[Body, ...]
    edges: tuple[Edge, ...] = ()
    """Incoming, written ones first, in the order of their sources."""
    join: Literal["all", "any"] = "all"
    when: Template | None = None
    outputs: Template | None = None
    deadline: float | None = None
    pool: str | None = None
    priority: int = 100
    allow_failure: bool = False
    executor: Executor | None = None
    when_fits: bool = False
    """Whether what its `when` reads can only be true or false."""
    fan: Fan | None = None
    """Its body runs once for each item of a list."""
    remembers: bool = True
    """Whether anything in it reads the outputs of its steps."""
    uses: tuple[str, ...] = ()
    """The resources that its tasks use."""
    requires: tuple[str, ...] = ()
    """The services that must be well before a run begins."""
    group: str = ""
    description: str = ""

    def with_edges(self, edges: tuple[Edge, ...]) -> Node:
        """The same node with these incoming edges."""
        return Node(**vars(self) | {"edges": edges})

    def name_of(self, step: int) -> str:
        """What a step is called."""
        name = self.machine.steps[step].name
        return self.name if name is None else name

    @property
    def step_names(self) -> tuple[str, ...]:
        """What its steps are called."""
        return tuple(map(self.name_of, range(len(self.machine.steps))))

    def templates(self) -> Iterator[tuple[int | None, Key, Template]]:
        """Its expressions, each with the step whose they are (None: the node's own) and their key."""
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
    def may_misread(self) -> bool:
        """Whether an expression of its own may turn out not to be evaluated, for what it reads is absent or of another kind."""
        return self.start_may_fail or self.end_may_fail

    @property
    def start_may_fail(self) -> bool:
        """Whether that may be so before its first attempt: of `when` or `for_each`."""
        fan = self.fan
        return self.when_may_fail or (fan is not None and (misreads(fan.items) or not fan.fits))

    @property
    def end_may_fail(self) -> bool:
        """Whether that may be so of its `outputs`; those of an item make just that one fail."""
        return self.fan is None and misreads(self.outputs)

    @property
    def when_may_fail(self) -> bool:
        """Whether its `when` may turn out to be neither true nor false."""
        return self.when is not None and (misreads(self.when) or not self.when_fits)

    @cached_property
    def sources(self) -> Mapping[int, Edge]:
        """Incoming edges by their source."""
        return {edge.source: edge for edge in self.edges}

    @cached_property
    def written(self) -> int:
        """How many of its edges `needs` writes."""
        return sum(edge.written for edge in self.edges)

    def insists(self, edge: Edge) -> bool:
        """Whether it runs only if this one of its edges is live."""
        return self.join == "all" or not edge.written or self.written == 1


_ALWAYS_THERE = frozenset({"inputs", "state", "run", "env", "secrets"})
"""What has its names before a run begins; what lies deeper in them may be absent."""


def misreads(template: Template | None) -> bool:
    """Whether it may turn out not to be evaluated, for what it reads is absent or of another kind."""
    return template is not None and any(map(_doubtful, template.reads))


def _doubtful(read: Read) -> bool:
    return not read.plain or len(read.path) > 2 or read.path[0] not in _ALWAYS_THERE


@frozen(eq=False, slots=False)
class Plan:
    """One pipeline; sub-pipelines are plans in the bodies of its steps."""

    name: str
    nodes: tuple[Node, ...]
    spec: Spec = attrs.field(repr=False)
    fingerprint: Callable[[], str] = attrs.field(default=str, repr=False)
    """Makes `hash`, when that is asked for."""
    inputs: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    state: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    initial: Template | None = None
    """The state that a run begins with; None where there is none."""
    outputs: Template | None = None
    pools: Mapping[str, int] = attrs.field(factory=dict)
    deadline: float | None = None
    max_parallel: int = 32
    on_failure: Literal["finish", "cancel"] = "finish"
    overlap: Literal["allow", "refuse", "queue", "replace"] = "allow"
    env: Mapping[str, bool] = attrs.field(factory=dict)
    """Environment variables that are read, here and in sub-pipelines, and whether one must be set."""
    secrets: Mapping[str, bool] = attrs.field(factory=dict)
    closing: Plan | None = None
    """The nodes of `[finally]`, that begin when all others have ended."""
    around: Plan | None = attrs.field(default=None, repr=False)
    """Of the nodes of `[finally]`: those that have ended when they begin, and that they read."""
    probes: Plan | None = None
    """Its services: each node looks whether one of them is well."""
    openings: Plan | None = None
    """Its resources: each node stands for one of them."""
    loops: tuple[tuple[int, tuple[Hop, ...]], ...] = ()
    """Unbounded loops, by node: a plan that has any is refused (E301)."""
    flawed: frozenset[str] = frozenset()
    """Nodes that are not all as the file means them, for it has errors there."""

    @cached_property
    def lingers(self) -> bool:
        """Whether a run has something to do when it is cancelled: nodes in `[finally]`, or resources, here or in a sub-pipeline."""
        return self.closes or self.opens

    @cached_property
    def opens(self) -> bool:
        """Whether it uses resources, here or in a sub-pipeline."""
        used = any(node.uses for node in self.known.values())
        return used or any(body.plan is not None and body.plan.opens for body in self.bodies)

    @cached_property
    def closes(self) -> bool:
        """Whether it has nodes in `[finally]`, here or in a sub-pipeline."""
        return bool(self.closing) or any(body.plan and body.plan.closes for body in self.bodies)

    @property
    def bodies(self) -> Iterator[Body]:
        """Those of all steps, of nodes in `[finally]` too."""
        for node in (*self.nodes, *self.closing_nodes):
            yield from node.bodies

    @property
    def parts(self) -> tuple[Plan, ...]:
        """What else the document holds: what ends a run, its services, its resources."""
        return tuple(p for p in (self.closing, self.probes, self.openings) if p is not None)

    def within(self, calls: bool = True) -> Iterator[Plan]:
        """It and all inside it, each once, outermost first: parts, sub-pipelines, and pipelines that tasks run by themselves if
        `calls`."""
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
                    elif calls and body.called:
                        stack += (
                            plan for (kind, _), plan in body.called.items() if kind == "pipeline"
                        )

    @cached_property
    def asks(self) -> bool:
        """Whether a person is asked, here or in a sub-pipeline."""
        return any(body.asks or (body.plan is not None and body.plan.asks) for body in self.bodies)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the meaning; comments, layout, descriptions and groups are not part of it."""
        return self.fingerprint()

    @cached_property
    def path(self) -> str:
        """The file it is written in, absolute."""
        return str(Path(self.spec.source.path).resolve())

    @cached_property
    def files(self) -> Mapping[str, str]:
        """The texts of its file and of those that this names, and those name, by absolute path."""
        return {part.path: part.spec.source.text for part in self.within()}

    @cached_property
    def folder(self) -> str:
        """The folder of the file: relative paths of built-in tasks start there."""
        return str(Path(self.spec.source.path).parent)

    @cached_property
    def known(self) -> Mapping[str, Node]:
        """Nodes by name, those of `[finally]` too."""
        return {node.name: node for node in (*self.nodes, *self.closing_nodes)}

    @property
    def closing_nodes(self) -> tuple[Node, ...]:
        """Those of `[finally]`."""
        return self.closing.nodes if self.closing else ()

    @property
    def closing_names(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(node.name for node in self.closing_nodes)

    @cached_property
    def index(self) -> Mapping[str, int]:
        """Nodes by name, without those of `[finally]`."""
        return {node.name: node.index for node in self.nodes}

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Every node after those it waits for; those on or behind a cycle are left out."""
        return tuple(topological([[edge.source for edge in node.edges] for node in self.nodes]))

    @cached_property
    def targets(self) -> tuple[tuple[Edge, ...], ...]:
        """Outgoing edges of each node, in the order of the file."""
        out: list[list[Edge]] = [[] for _ in self.nodes]
        for node in self.nodes:
            for edge in node.edges:
                out[edge.source].append(edge)
        return tuple(map(tuple, out))

    def behind(self, names: Iterable[str]) -> set[int]:
        """The nodes of these names and all that wait for them, over however many others."""
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
        """Nodes by name with `node` and `machine`, edges with `condition` and `written`; frozen."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph(name=self.name)
        for node in self.nodes:
            graph.add_node(node.name, node=node, machine=node.machine)
        for node in self.nodes:
            for edge in node.edges:
                source = self.nodes[edge.source].name
                graph.add_edge(source, node.name, condition=edge.condition, written=edge.written)
        frozen: networkx.DiGraph[str] = networkx.freeze(graph)
        return frozen

    def place(self, node: Node, step: str | None = None) -> KeyPath:
        """The key path of a node's table in the file, or of one of its steps'."""
        if self.closing and node.name not in self.index:
            return self.closing.place(node, step)
        base = (*self.spec.at, self.spec.table, node.name)
        spec = self.spec.nodes[node.name]
        return base if step is None or spec.flat else (*base, "steps", step)
