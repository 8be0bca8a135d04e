"""Find reads of outputs that may not exist, each with one run as a counter-example.

The edges of a node decide most cases: nothing can be missing where an edge must be live and every ending that makes it
live has an output, nor where the nodes that the reader waits for already guarantee the output. Both checks are linear.
So is the direct counter-example: where the node read and the reader start however others end, an ending without an
output is enough. The rest is a question to the search of `engine.analysis.node_reachability`: is there a run that
starts the reader and in which the node read is skipped, or ends without an output? For the outputs of the pipeline:
is there such a run that succeeds? Exact up to `MISSING_OUTPUT_BUDGET`. Reads in nodes that never run are not judged.

Source: docs/language.md, "Results", "Edges and joins", "Expressions", "Diagnostics".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import and_

import attrs

from engine.analysis.choices import (
    ActiveConditions,
    Choices,
    build_choices,
    build_choices_of_successful_runs,
    build_choices_with_outputs,
    find_ending,
    has_output,
    intersect_masks,
    join_holds,
    list_endings,
    list_success_routes,
    union_masks,
)
from engine.analysis.node_reachability import find_reachable_nodes
from engine.analysis.reads import ReadSite, iter_node_read_sites, iter_output_read_sites
from engine.analysis.scenarios import Scenario, ScenarioSearch
from engine.analysis.search import BudgetExceeded
from engine.analysis.step_outputs import END, Trace, after_step, find_missing_step_outputs
from engine.analysis.step_reachability import analyse_steps, reachable_endings
from engine.base.classes import define, frozen
from engine.base.memo import memoize
from engine.plan.plan import Edge, Node, Plan

__all__ = [
    "MISSING_OUTPUT_BUDGET",
    "MissingOutput",
    "OutputAnalysis",
    "find_missing_outputs",
    "may_be_evaluated",
]

MISSING_OUTPUT_BUDGET = 100_000
"""The maximum number of node inspections when searching one plan for missing outputs."""
_NODES_PER_PASS = 1024


@frozen
class MissingOutput:
    """A read whose output does not exist in one run.

    The run is given by the ends of its nodes, or by a trace over the steps of a node.
    """

    site: ReadSite
    run: Scenario | Trace


@frozen
class OutputAnalysis:
    """The result of the analysis of all unguarded reads of a plan."""

    missing: tuple[MissingOutput, ...]
    undecided: tuple[ReadSite, ...]


@memoize
def find_missing_outputs(plan: Plan) -> OutputAnalysis:
    """Find the reads of node and step outputs that do not exist in some run."""
    reads = _ReadsByTarget(plan)
    inside = (site for node in plan.nodes for site in reads.iter_unserved(node))
    for site in (*inside, *iter_output_read_sites(plan)):
        if not site.read.may_be_absent:
            reads.add(site)
    missing: list[MissingOutput] = []
    undecided: list[ReadSite] = []
    for found in (
        *_check_step_reads(plan, reads),
        *_check_node_reads(plan, reads),
        *_check_pipeline_outputs(plan, reads),
    ):
        if isinstance(found, MissingOutput):
            missing.append(found)
        else:
            undecided.append(found)
    return OutputAnalysis(tuple(missing), tuple(undecided))


@define(eq=False)
class _ReadsByTarget:
    """The reads to judge, grouped by the kind of their target."""

    plan: Plan
    steps: dict[int, dict[int, list[ReadSite]]] = attrs.Factory(dict)
    """The reads of step outputs, by node and by the step that is read."""
    nodes: dict[Edge, list[ReadSite]] = attrs.Factory(lambda: defaultdict(list))
    """The reads of node outputs, by the edge between reader and source.

    Reads that the edge itself serves are left out.
    """
    outputs: dict[int, list[ReadSite]] = attrs.Factory(lambda: defaultdict(list))
    """The reads of the pipeline's own outputs, by the node that they read."""
    _served_by_edge: dict[object, bool] = attrs.Factory(dict)
    _names: dict[int, dict[str, int]] = attrs.Factory(dict)

    def iter_unserved(self, node: Node) -> Iterator[ReadSite]:
        """Yield the reads of a node, unless its edges serve them all."""
        for read in (read for *_, made in node.templates() for read in made.reads):
            source = self.plan.index.get(str(read.path[0]))
            edge = None if source is None else node.sources.get(source)
            if read.path[0] == "steps" or (edge is not None and not self._is_served_by(edge)):
                return iter_node_read_sites(node)
        return iter(())

    def add(self, site: ReadSite) -> None:
        """Add a read to its group, if it reads an output at a place that is ever evaluated."""
        path, plan = site.read.path, self.plan
        source = plan.index.get(str(path[0]))
        if site.node is None:
            if source is not None:
                self.outputs[source].append(site)
            return
        node = plan.nodes[site.node]
        if path[0] == "steps" and len(path) > 1:
            at = self._find_step(node, path[1])
            if at is not None:
                self.steps.setdefault(node.index, defaultdict(list))[at].append(site)
        elif source is not None:
            edge = node.sources.get(source)
            if edge is not None and not self._is_served_by(edge) and may_be_evaluated(node, site):
                self.nodes[edge].append(site)

    def _is_served_by(self, edge: Edge) -> bool:
        """Return whether the edge must be live and no ending that makes it live lacks an output."""
        return self.plan.nodes[edge.target].requires_edge(edge) and self.always_has_output(edge)

    def always_has_output(self, edge: Edge) -> bool:
        """Return whether every ending of the source that makes the edge live has an output."""
        node, condition = self.plan.nodes[edge.source], edge.condition
        if condition.kind == "always":
            return False
        key = (edge.source, condition.key)
        if key not in self._served_by_edge:
            good = condition.kind == "success" and _has_output_on_success(node)
            self._served_by_edge[key] = good or all(
                has_output(node, ending)
                for ending in list_endings(node, [condition])
                if condition.holds(
                    ending.result, ending.label, ending.code, node.machine.steps[ending.step]
                )
            )
        return self._served_by_edge[key]

    def _find_step(self, node: Node, name: str | int) -> int | None:
        if node.index not in self._names:
            self._names[node.index] = {name: at for at, name in enumerate(node.step_names)}
        return self._names[node.index].get(str(name))


def may_be_evaluated(node: Node, site: ReadSite) -> bool:
    """Return whether some run of a node evaluates a read in it."""
    if site.key in ("with", "set"):
        return len(node.bodies) == 1 or site.step in analyse_steps(node.machine).steps
    return site.key in ("when", "for_each") or _can_evaluate_outputs(node)


def _has_output_on_success(node: Node) -> bool:
    """Return whether the routes alone show that every success has an output; a fan-out outputs a list."""
    return node.fan is not None or all(
        isinstance(key, int) and not (key == 1 and node.bodies[at].plan)
        for at, key in list_success_routes(node.machine)
    )


def _can_evaluate_outputs(node: Node) -> bool:
    """Return whether some run of a node evaluates its `outputs`."""
    return any(has_output(node, ending) for ending in reachable_endings(node.machine, ()))


# -- steps of one node -----------------------------------------------------------------------------


def _check_step_reads(plan: Plan, reads: _ReadsByTarget) -> Iterator[MissingOutput | ReadSite]:
    for index, by_step in reads.steps.items():
        node = plan.nodes[index]
        if node.name in plan.invalid_nodes:
            continue
        absent = find_missing_step_outputs(
            node, {at: set(map(_get_evaluation_point, found)) for at, found in by_step.items()}
        )
        for watched, found in by_step.items():
            for site in found:
                at = _get_evaluation_point(site)
                if at in absent[watched].found:
                    yield MissingOutput(site, absent[watched].found[at])
                elif at in absent[watched].undecided:
                    yield site


def _get_evaluation_point(site: ReadSite) -> int:
    if site.step is None:
        return END
    return after_step(site.step) if site.key == "set" else site.step


# -- other nodes -----------------------------------------------------------------------------------


def _check_node_reads(plan: Plan, reads: _ReadsByTarget) -> Iterator[MissingOutput | ReadSite]:
    """Check the reads of node outputs that the edge alone does not serve."""
    if not reads.nodes:
        return
    unclear = plan.descendants(plan.invalid_nodes)
    never = find_reachable_nodes(plan).never
    asked = [e for e in reads.nodes if e.target not in unclear and e.target not in never]
    served = _find_guaranteed_edges(plan, reads, asked)
    left = [edge for edge in asked if edge not in served]
    if not left:
        return
    choices = build_choices_with_outputs(plan, frozenset(edge.source for edge in left))
    questions = ScenarioSearch(plan, choices, never.keys(), MISSING_OUTPUT_BUDGET)
    steady = {} if choices.blocking else _find_always_started(choices)
    for edge in left:
        mask = _find_direct_counterexample(choices, steady, edge) if edge.source in steady else None
        if mask is not None:
            ending = find_ending(plan, choices, edge.source, mask)
            yield from _iter_findings({edge.source: ending}, reads.nodes[edge])
            continue
        links, target = choices.links[edge.target], plan.nodes[edge.target]
        skippable = edge.condition.kind == "always" or not target.requires_edge(edge)
        found = questions.find_without_output(
            links, choices.any[edge.target], edge.source, skippable
        )
        yield from _iter_findings(found, reads.nodes[edge])


def _find_always_started(choices: Choices) -> dict[int, int]:
    """Find the nodes that start in every run in which each `when` that can be true is true.

    Return them with the conditions that they satisfy however they end.
    """
    found: dict[int, int] = {}
    for node in choices.order:
        if choices.when[node] != "never" and join_holds(
            choices.links[node], choices.any[node], found
        ):
            found[node] = intersect_masks(choices.endings[node])
    return found


def _find_direct_counterexample(
    choices: Choices, steady: ActiveConditions, edge: Edge
) -> int | None:
    """Return the mask of an ending without an output after which the edge's target starts, however others end.

    None if only a search can decide.
    """
    links, silent = choices.links[edge.target], choices.no_output_bit[edge.source]
    lit = {source: steady[source] for source, *_ in links if source in steady}
    for mask in choices.endings[edge.source]:
        lit[edge.source] = mask
        if mask & silent and join_holds(links, choices.any[edge.target], lit):
            return mask
    return None


def _iter_findings(
    found: Scenario | BudgetExceeded | None, asked: Iterable[ReadSite]
) -> Iterator[MissingOutput | ReadSite]:
    if isinstance(found, BudgetExceeded):
        yield from asked
    elif found is not None:
        yield from (MissingOutput(site, found) for site in asked)


def _find_guaranteed_edges(plan: Plan, reads: _ReadsByTarget, asked: Sequence[Edge]) -> set[Edge]:
    """Find the edges whose source certainly has an output, since every way to the target needs it.

    Sets of nodes are propagated along the edges as bits, a limited number of nodes per pass.
    """
    served: set[Edge] = set()
    sources = sorted({edge.source for edge in asked})
    for start in range(0, len(sources), _NODES_PER_PASS):
        bits = {
            source: 1 << at for at, source in enumerate(sources[start : start + _NODES_PER_PASS])
        }
        must: dict[int, int] = {}
        for index in build_choices(plan).order:
            must[index] = _find_guaranteed_nodes(plan, reads, plan.nodes[index], bits, must)
        served |= {e for e in asked if bits.get(e.source, 0) & must.get(e.target, 0)}
    return served


def _find_guaranteed_nodes(
    plan: Plan, reads: _ReadsByTarget, node: Node, bits: Mapping[int, int], must: Mapping[int, int]
) -> int:
    """Return, as bits, the nodes that have an output wherever the edges of a node let it run."""
    sure, ways = 0, []
    for edge in node.edges:
        gives = 0
        if edge.condition.kind != "always":
            bit = bits.get(edge.source, 0)
            gives = must[edge.source] | (bit if bit and reads.always_has_output(edge) else 0)
        if node.join == "all" or not edge.is_explicit:
            sure |= gives
        else:
            ways.append(gives)
    return sure | (reduce(and_, ways) if ways else 0)


# -- the outputs of the pipeline -------------------------------------------------------------------


def _check_pipeline_outputs(
    plan: Plan, reads: _ReadsByTarget
) -> Iterator[MissingOutput | ReadSite]:
    """Check the reads of `[outputs]` over the runs that succeed."""
    if not reads.outputs or plan.invalid_nodes:
        return
    choices = build_choices_of_successful_runs(plan, frozenset(reads.outputs))
    questions = ScenarioSearch(
        plan, choices, find_reachable_nodes(plan).never.keys(), MISSING_OUTPUT_BUDGET
    )
    sure = questions.search.find_guaranteed()
    perils = sorted(choices.blocking)
    for source, asked in reads.outputs.items():
        if (
            source in sure
            and not union_masks(choices.endings[source]) & choices.no_output_bit[source]
        ):
            continue
        links = tuple((peril, 0, False) for peril in (*perils, source))
        yield from _iter_findings(questions.find_without_output(links, False, source, True), asked)
