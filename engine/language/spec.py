"""Spec: the content of a file as frozen values, with names still strings.

Values have the right type already (durations are seconds, short forms are spelled out), but no name is resolved:
`compiler` does that. A node written as one step has that step under its own name, so every node is a machine.
Source: docs/language.md, "A document", "Nodes and steps", "Retry", "Routes", "Edges and joins".
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal, NewType

import attrs

from engine.base.classes import frozen, value
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source

__all__ = [
    "CONDITIONS",
    "Count",
    "Delay",
    "Duration",
    "ExitCode",
    "Factor",
    "Fraction01",
    "Limit",
    "LimitsSpec",
    "NeedSpec",
    "NodeSpec",
    "PipelineSpec",
    "Priority",
    "ResourceSpec",
    "RetrySpec",
    "RouteSpec",
    "ServiceSpec",
    "Spec",
    "StepSpec",
]

Duration = NewType("Duration", float)
"""Seconds, above zero; in a file a string such as `"1m30s"`."""
Delay = NewType("Delay", float)
"""Seconds, zero or more."""
Count = NewType("Count", int)
"""A maximum number of repetitions: 1 to 1000."""
Limit = NewType("Limit", int)
"""A number of slots: 1 or more."""
ExitCode = NewType("ExitCode", int)
"""An exit code: 0 to 255."""
Priority = NewType("Priority", int)
"""A priority: 0 or more, 0 first."""
Factor = NewType("Factor", float)
"""The growth of a delay from retry to retry: 1 or more."""
Fraction01 = NewType("Fraction01", float)
"""A fraction from 0 to 1."""

NeedSpec = str | tuple[str | int, ...]
"""The condition of an edge: one of `CONDITIONS`, or labels."""

CONDITIONS = ("success", "failure", "finished", "always")


@frozen
class RetrySpec:
    """One clause of `retry`; `attempts` is the total, the first attempt included."""

    attempts: Count
    on: tuple[str | int, ...] | None = None
    delay: Delay = Delay(0.0)
    factor: Factor = Factor(1.0)
    max_delay: Delay | None = None
    jitter: Fraction01 = Fraction01(0.0)


@frozen
class RouteSpec:
    """One entry of `routes`, in its short or long form."""

    to: str
    max: Count | None = None
    then: str | None = None
    delay: Delay | None = None


@value
class StepSpec:
    """One step of a node, in which exactly one of `task` and `pipeline` is set."""

    task: str | None = None
    pipeline: str | None = None
    with_: Mapping[str, Any] = attrs.field(factory=dict)
    exits: Mapping[str, ExitCode] = attrs.field(factory=dict)
    routes: Mapping[str, RouteSpec] = attrs.field(factory=dict)
    retry: tuple[RetrySpec, ...] = ()
    timeout: Duration | None = None
    set: Mapping[str, Any] = attrs.field(factory=dict)
    on_interrupt: Literal["rerun", "fail", "route"] = "rerun"
    description: str = ""


@value
class NodeSpec:
    """One node; `single` is whether its only step is written in the node's own table."""

    steps: Mapping[str, StepSpec]
    start: str
    single: bool
    needs: Mapping[str, NeedSpec] = attrs.field(factory=dict)
    join: Literal["all", "any"] = "all"
    when: str | None = None
    deadline: Duration | None = None
    pool: str | None = None
    priority: Priority = Priority(100)
    allow_failure: bool = False
    executor: str | None = None
    group: str = ""
    outputs: Mapping[str, Any] | None = None
    for_each: str | list[Any] | None = None
    max_parallel: Limit | None = None
    tolerate: int | str | None = None
    """A number of items, or a percentage of all of them such as `"10%"`."""
    uses: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    from_task_class: bool = attrs.field(default=False, eq=False, repr=False)
    """Whether the steps come from the node's task, which is a class (see `expansion`)."""
    description: str = ""

    @property
    def is_inline(self) -> bool:
        """Whether the keys of its steps are written in the node's own table."""
        return self.single or self.from_task_class


@frozen
class PipelineSpec:
    """The `[pipeline]` table."""

    name: str | None = None
    description: str = ""
    deadline: Duration | None = None
    max_parallel: Limit = Limit(32)
    on_failure: Literal["finish", "cancel"] = "finish"
    overlap: Literal["allow", "refuse", "queue", "replace"] = "allow"
    tasks: tuple[str, ...] = ()


@frozen
class ServiceSpec:
    """One of `[services]`: a task that ends with exit 0 while the service is available."""

    task: str
    with_: Mapping[str, Any] = attrs.field(factory=dict)
    retry: tuple[RetrySpec, ...] = ()
    timeout: Duration = Duration(10.0)
    description: str = ""

    def to_node(self, name: str) -> NodeSpec:
        """Return the node that checks the service."""
        step = StepSpec(self.task, with_=self.with_, retry=self.retry, timeout=self.timeout)
        return NodeSpec({name: step}, name, single=True, description=self.description)


@frozen
class ResourceSpec:
    """One of `[resources]`: opened for the nodes that use it, and closed after them."""

    task: str
    with_: Mapping[str, Any] = attrs.field(factory=dict)
    description: str = ""

    def to_node(self, name: str) -> NodeSpec:
        """Return the node that would open the resource."""
        step = StepSpec(self.task, with_=self.with_)
        return NodeSpec({name: step}, name, single=True, description=self.description)


@frozen
class LimitsSpec:
    """The `[limits]` table: upper limits for the worst case of a run."""

    attempts: Limit | None = None
    duration: Duration | None = None


@frozen
class Spec:
    """One document: a file, or a `[pipelines.NAME]` table of a file, whose path is then `key_path`."""

    source: Source = attrs.field(factory=lambda: Source("", ""), eq=False, repr=False)
    key_path: KeyPath = ()
    name: str = ""
    pipeline: PipelineSpec = attrs.field(factory=PipelineSpec)
    inputs: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    state: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """JSON Schemas, each with the first value as `initial`."""
    pools: Mapping[str, Limit] = attrs.field(factory=dict)
    limits: LimitsSpec = attrs.field(factory=LimitsSpec)
    nodes: Mapping[str, NodeSpec] = attrs.field(factory=dict)
    finally_: Mapping[str, NodeSpec] = attrs.field(factory=dict)
    services: Mapping[str, ServiceSpec] = attrs.field(factory=dict)
    resources: Mapping[str, ResourceSpec] = attrs.field(factory=dict)
    outputs: Mapping[str, Any] = attrs.field(factory=dict)
    pipelines: Mapping[str, Spec] = attrs.field(factory=dict)
    files: Mapping[str, Spec] = attrs.field(factory=dict, repr=False)
    """Sub-pipelines in other files, by the path as written; filled by `loader`."""
    omitted_paths: frozenset[KeyPath] = frozenset()
    """Key paths, below the document, of the parts that the loader left out (see `omissions`)."""
    misnamed_paths: frozenset[KeyPath] = frozenset()
    """Key paths of the parts that stand under an invalid name (see `invalid_names`)."""
    table: Literal["nodes", "finally", "services", "resources"] = "nodes"
    """The table of the file that holds its nodes."""
    finished_nodes: frozenset[str] = frozenset()
    """For the nodes in `[finally]`: the nodes that have finished when these begin."""

    @cached_property
    def finally_part(self) -> Spec | None:
        """The `[finally]` nodes as a document of their own, in which names mean the same, or None."""
        if not self.finally_:
            return None
        found = self._derive_part("finally", self.finally_)
        return attrs.evolve(found, finished_nodes=frozenset(self.nodes))

    @cached_property
    def service_checks(self) -> Spec | None:
        """The services as a document whose nodes check them, or None."""
        nodes = {name: service.to_node(name) for name, service in self.services.items()}
        return attrs.evolve(self._derive_part("services", nodes), state={}) if nodes else None

    @cached_property
    def resource_openings(self) -> Spec | None:
        """The resources as a document whose nodes would open them, or None."""
        nodes = {name: resource.to_node(name) for name, resource in self.resources.items()}
        return attrs.evolve(self._derive_part("resources", nodes), state={}) if nodes else None

    def build_single_node_spec(self, name: str, node: NodeSpec) -> Spec:
        """Return a document of one node, in which files and tasks are the same as here."""
        part = self._derive_part("nodes", {name: node})
        return attrs.evolve(
            part, pipeline=PipelineSpec(), inputs={}, state={}, pools={}, resources={}
        )

    def _derive_part(self, table: Any, nodes: Mapping[str, NodeSpec]) -> Spec:
        return attrs.evolve(
            self,
            nodes=nodes,
            finally_={},
            services={},
            outputs={},
            pipelines={},
            limits=LimitsSpec(),
            table=table,
        )
