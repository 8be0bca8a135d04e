"""W701: a declaration that nothing uses: inputs, states, pools, pipelines, services, resources, names of exits.

An input is used if an expression reads it, or reads `inputs` as a whole; a state likewise, or if a step sets it.
Pools are shared down the tree, so that a pool of a file is used if the file or a pipeline in it uses it. The name of
an exit is used if a route, a retry or the `needs` of another node names it or its number; a step with routes and
without `"*"` is left to W304.
Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Set

from engine.base.memo import memoize
from engine.diagnostics import Diagnostic, Rule
from engine.language.spec import NodeSpec, Spec
from engine.plan.machine import Step
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_step_path, iter_templates
from engine.toml.key_paths import KeyPath

__all__ = ["RULE", "check"]

RULE = Rule("W701", "unused", "a declaration that nothing uses")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each unused declaration: inputs, states, services, resources, pools, pipelines, then exits."""
    if plan.invalid_nodes:
        return  # what is wrong there may have been meant to use it
    if plan.spec.table == "nodes":
        yield from _check_document(plan)
    asked = _find_required_labels(plan)
    for node in plan.nodes:
        yield from _check_exits(plan, node, asked[node.index])


def _check_document(plan: Plan) -> Iterator[Diagnostic]:
    for name in plan.inputs.keys() - _find_names_read(plan, "inputs", plan.inputs):
        yield _build_diagnostic(plan, ("inputs", name), f"input `{name}` is never read")
    for name in (
        plan.state.keys()
        - _find_names_read(plan, "state", plan.state)
        - set(_iter_states_set(plan.spec))
    ):
        yield _build_diagnostic(plan, ("state", name), f"state `{name}` is neither read nor set")
    users = [*_iter_nodes(plan.spec)]
    for name in plan.spec.services.keys() - {each for node in users for each in node.requires}:
        yield _build_diagnostic(plan, ("services", name), f"no node requires service `{name}`")
    for name in plan.spec.resources.keys() - {each for node in users for each in node.uses}:
        yield _build_diagnostic(plan, ("resources", name), f"no node uses resource `{name}`")
    if not plan.spec.key_path:
        yield from _check_file(plan)


def _check_file(plan: Plan) -> Iterator[Diagnostic]:
    spec = plan.spec
    pools = {node.pool for document in _iter_documents(spec) for node in _iter_nodes(document)}
    inside = (spec, *spec.pipelines.values())
    named = {each for document in inside for each in _iter_pipeline_names(document)}
    for name in spec.pools.keys() - pools:
        yield _build_diagnostic(plan, ("pools", name), f"no node uses pool `{name}`")
    unnamed = spec.pipelines.keys() - named
    for name in unnamed - set(_iter_tool_names(plan)) if unnamed else ():
        yield _build_diagnostic(plan, ("pipelines", name), f"no step runs pipeline `{name}`")


def _iter_tool_names(plan: Plan) -> Iterator[str]:
    """Yield the names of the tools that tasks call."""
    for part in plan.walk_plans():
        for body in part.all_bodies:
            yield from (name for _, name in body.called_plans or ())


def _iter_documents(spec: Spec) -> Iterator[Spec]:
    """Yield a document, the pipelines in it, and those of the files it names."""
    yield spec
    for inner in (*spec.pipelines.values(), *({} if spec.key_path else spec.files).values()):
        yield from _iter_documents(inner)


def _iter_pipeline_names(spec: Spec) -> Iterator[str]:
    for node in _iter_nodes(spec):
        yield from (step.pipeline for step in node.steps.values() if step.pipeline is not None)


def _iter_nodes(spec: Spec) -> Iterator[NodeSpec]:
    """Yield the nodes of a document, and those of `[finally]`."""
    yield from spec.nodes.values()
    yield from spec.finally_.values()


def _find_names_read(plan: Plan, root: str, known: Iterable[str]) -> set[str]:
    """Return the names of `root` that expressions read, or all if one reads `root` as a whole."""
    found: set[str] = set()
    for path in _iter_read_paths(plan) if known else ():
        if path[0] == root:
            found |= {str(path[1])} if len(path) > 1 else {*known}
    return found


def _iter_states_set(spec: Spec) -> Iterator[str]:
    for node in _iter_nodes(spec):
        yield from (state for step in node.steps.values() for state in step.set)


def _iter_read_paths(plan: Plan) -> Iterator[KeyPath]:
    """Yield the paths that expressions read."""
    for node in plan.nodes:
        for _, template in iter_templates(plan, node):
            yield from (read.path for read in template.reads)
    if plan.outputs is not None:
        yield from (read.path for read in plan.outputs.reads)
    for part in plan.parts:
        yield from _iter_read_paths(part)


def _check_exits(plan: Plan, node: Node, required: Set[str | int]) -> Iterator[Diagnostic]:
    for at, step in enumerate(node.machine.steps):
        if step.routes and step.default is None:
            continue
        own = node.name_of(at)
        for name, code in plan.spec.nodes[node.name].steps[own].exits.items():
            if _find_named_outcomes(step).isdisjoint(
                words := (name, code, str(code))
            ) and required.isdisjoint(words):
                path = (*find_step_path(plan, node, at), "exits", name)
                message = f"no route, retry or `needs` uses exit `{name}` of `{own}`"
                yield _build_diagnostic(plan, path, message, node.name, own)


def _find_required_labels(plan: Plan) -> Mapping[int, Set[str | int]]:
    """Return the labels that other nodes require of a node, by its index."""
    found: dict[int, set[str | int]] = defaultdict(set)
    for node in plan.nodes:
        for edge in node.edges:
            if edge.condition.kind == "labels":
                found[edge.source] |= edge.condition.names | edge.condition.codes
    return found


@memoize
def _find_named_outcomes(step: Step) -> Set[object]:
    """Return the outcomes that the step's own routes and retries name."""
    return {*step.routes, *(outcome for clause in step.retry for outcome in clause.on)}


def _build_diagnostic(
    plan: Plan, path: KeyPath, message: str, node: str | None = None, step: str | None = None
) -> Diagnostic:
    source, place = plan.spec.source, (*plan.spec.key_path, *path)
    return Diagnostic(RULE, message, source, source.key_span(place), "remove it", node, step)
