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
    Choices,
    Lit,
    choices_of,
    common,
    ending_of,
    endings_of,
    excused,
    gives_output,
    joined,
    silences_of,
    successes_of,
    union,
)
from engine.analysis.node_reachability import decide
from engine.analysis.reads import Site, sites_at_end, sites_in
from engine.analysis.scenarios import Fates, Questions
from engine.analysis.search import TooMuch
from engine.analysis.step_outputs import END, Walk, absences, ended
from engine.analysis.step_reachability import ends_of, survey
from engine.base.classes import define, frozen
from engine.base.memo import once
from engine.plan.plan import Edge, Node, Plan

__all__ = ["EFFORT", "Missing", "Produced", "evaluated", "missing_outputs"]

EFFORT = 100_000
"""The maximum number of node inspections when searching one plan for missing outputs."""
_AT_ONCE = 1024


@frozen
class Missing:
    """A read whose output does not exist in one run.

    The run is given by the ends of its nodes, or by a trace over the steps of a node.
    """

    site: Site
    run: Fates | Walk


@frozen
class Produced:
    """The result of the analysis of all unguarded reads of a plan."""

    missing: tuple[Missing, ...]
    undecided: tuple[Site, ...]


@once
def missing_outputs(plan: Plan) -> Produced:
    """Find the reads of node and step outputs that do not exist in some run."""
    reads = _Reads(plan)
    inside = (site for node in plan.nodes for site in reads.open(node))
    for site in (*inside, *sites_at_end(plan)):
        if not site.read.guarded:
            reads.add(site)
    missing: list[Missing] = []
    undecided: list[Site] = []
    for found in (*_in_nodes(plan, reads), *_of_nodes(plan, reads), *_at_the_end(plan, reads)):
        if isinstance(found, Missing):
            missing.append(found)
        else:
            undecided.append(found)
    return Produced(tuple(missing), tuple(undecided))


@define(eq=False)
class _Reads:
    """The reads to judge, grouped by the kind of their target."""

    plan: Plan
    steps: dict[int, dict[int, list[Site]]] = attrs.Factory(dict)
    """The reads of step outputs, by node and by the step that is read."""
    nodes: dict[Edge, list[Site]] = attrs.Factory(lambda: defaultdict(list))
    """The reads of node outputs by the edge between reader and source; reads that the edge itself serves are left out."""
    outputs: dict[int, list[Site]] = attrs.Factory(lambda: defaultdict(list))
    """The reads of the pipeline's own outputs, by the node that they read."""
    _served: dict[object, bool] = attrs.Factory(dict)
    _names: dict[int, dict[str, int]] = attrs.Factory(dict)

    def open(self, node: Node) -> Iterator[Site]:
        """Yield the reads of a node, unless its edges serve them all."""
        for read in (read for *_, made in node.templates() for read in made.reads):
            source = self.plan.index.get(str(read.path[0]))
            edge = None if source is None else node.sources.get(source)
            if read.path[0] == "steps" or (edge is not None and not self._serves(edge)):
                return sites_in(node)
        return iter(())

    def add(self, site: Site) -> None:
        """Add a read to its group, if it reads an output at a place that is ever evaluated."""
        path, plan = site.read.path, self.plan
        source = plan.index.get(str(path[0]))
        if site.node is None:
            if source is not None:
                self.outputs[source].append(site)
            return
        node = plan.nodes[site.node]
        if path[0] == "steps" and len(path) > 1:
            at = self._step(node, path[1])
            if at is not None:
                self.steps.setdefault(node.index, defaultdict(list))[at].append(site)
        elif source is not None:
            edge = node.sources.get(source)
            if edge is not None and not self._serves(edge) and evaluated(node, site):
                self.nodes[edge].append(site)

    def _serves(self, edge: Edge) -> bool:
        """Return whether the edge must be live and no ending that makes it live lacks an output."""
        return self.plan.nodes[edge.target].insists(edge) and self.full(edge)

    def full(self, edge: Edge) -> bool:
        """Return whether every ending of the source that makes the edge live has an output."""
        node, condition = self.plan.nodes[edge.source], edge.condition
        if condition.kind == "always":
            return False
        key = (edge.source, condition.key)
        if key not in self._served:
            good = condition.kind == "success" and _succeeds_with_output(node)
            self._served[key] = good or all(
                gives_output(node, ending)
                for ending in endings_of(node, [condition])
                if condition.holds(
                    ending.result, ending.label, ending.code, node.machine.steps[ending.step]
                )
            )
        return self._served[key]

    def _step(self, node: Node, name: str | int) -> int | None:
        if node.index not in self._names:
            self._names[node.index] = {name: at for at, name in enumerate(node.step_names)}
        return self._names[node.index].get(str(name))


def evaluated(node: Node, site: Site) -> bool:
    """Return whether some run of a node evaluates a read in it."""
    if site.key in ("with", "set"):
        return len(node.bodies) == 1 or site.step in survey(node.machine).steps
    return site.key in ("when", "for_each") or _closes(node)


def _succeeds_with_output(node: Node) -> bool:
    """Return whether the routes alone show that every success has an output; a fan-out outputs a list."""
    return node.fan is not None or all(
        isinstance(key, int) and not (key == 1 and node.bodies[at].plan)
        for at, key in excused(node.machine)
    )


def _closes(node: Node) -> bool:
    """Return whether some run of a node evaluates its `outputs`."""
    return any(gives_output(node, ending) for ending in ends_of(node.machine, ()))


# -- steps of one node -----------------------------------------------------------------------------


def _in_nodes(plan: Plan, reads: _Reads) -> Iterator[Missing | Site]:
    for index, by_step in reads.steps.items():
        node = plan.nodes[index]
        if node.name in plan.flawed:
            continue
        absent = absences(node, {at: set(map(_moment, found)) for at, found in by_step.items()})
        for watched, found in by_step.items():
            for site in found:
                at = _moment(site)
                if at in absent[watched].found:
                    yield Missing(site, absent[watched].found[at])
                elif at in absent[watched].undecided:
                    yield site


def _moment(site: Site) -> int:
    if site.step is None:
        return END
    return ended(site.step) if site.key == "set" else site.step


# -- other nodes -----------------------------------------------------------------------------------


def _of_nodes(plan: Plan, reads: _Reads) -> Iterator[Missing | Site]:
    """Check the reads of node outputs that the edge alone does not serve."""
    if not reads.nodes:
        return
    unclear = plan.behind(plan.flawed)
    never = decide(plan).never
    asked = [e for e in reads.nodes if e.target not in unclear and e.target not in never]
    served = _seen_to(plan, reads, asked)
    left = [edge for edge in asked if edge not in served]
    if not left:
        return
    choices = silences_of(plan, frozenset(edge.source for edge in left))
    questions = Questions(plan, choices, never.keys(), EFFORT)
    steady = {} if choices.stuck else _steady(choices)
    for edge in left:
        mask = _plainly(choices, steady, edge) if edge.source in steady else None
        if mask is not None:
            ending = ending_of(plan, choices, edge.source, mask)
            yield from _told({edge.source: ending}, reads.nodes[edge])
            continue
        links, target = choices.links[edge.target], plan.nodes[edge.target]
        skippable = edge.condition.kind == "always" or not target.insists(edge)
        found = questions.ask(links, choices.any[edge.target], edge.source, skippable)
        yield from _told(found, reads.nodes[edge])


def _steady(choices: Choices) -> dict[int, int]:
    """Find the nodes that start in every run in which each `when` that can be true is true.

    Return them with the conditions that they satisfy however they end.
    """
    found: dict[int, int] = {}
    for node in choices.order:
        if choices.when[node] != "never" and joined(choices.links[node], choices.any[node], found):
            found[node] = common(choices.endings[node])
    return found


def _plainly(choices: Choices, steady: Lit, edge: Edge) -> int | None:
    """Return an ending without an output after which the edge's target starts, however others end.

    None if only a search can decide.
    """
    links, silent = choices.links[edge.target], choices.silent[edge.source]
    lit = {source: steady[source] for source, *_ in links if source in steady}
    for mask in choices.endings[edge.source]:
        lit[edge.source] = mask
        if mask & silent and joined(links, choices.any[edge.target], lit):
            return mask
    return None


def _told(found: Fates | TooMuch | None, asked: Iterable[Site]) -> Iterator[Missing | Site]:
    if isinstance(found, TooMuch):
        yield from asked
    elif found is not None:
        yield from (Missing(site, found) for site in asked)


def _seen_to(plan: Plan, reads: _Reads, asked: Sequence[Edge]) -> set[Edge]:
    """Find the edges whose source certainly has an output, since every way to the target needs it.

    Sets of nodes are propagated along the edges as bits, a limited number of nodes per pass.
    """
    served: set[Edge] = set()
    sources = sorted({edge.source for edge in asked})
    for start in range(0, len(sources), _AT_ONCE):
        bits = {source: 1 << at for at, source in enumerate(sources[start : start + _AT_ONCE])}
        must: dict[int, int] = {}
        for index in choices_of(plan).order:
            must[index] = _must(plan, reads, plan.nodes[index], bits, must)
        served |= {e for e in asked if bits.get(e.source, 0) & must.get(e.target, 0)}
    return served


def _must(
    plan: Plan, reads: _Reads, node: Node, bits: Mapping[int, int], must: Mapping[int, int]
) -> int:
    """Return, as bits, the nodes that have an output wherever the edges of a node let it run."""
    sure, ways = 0, []
    for edge in node.edges:
        gives = 0
        if edge.condition.kind != "always":
            bit = bits.get(edge.source, 0)
            gives = must[edge.source] | (bit if bit and reads.full(edge) else 0)
        if node.join == "all" or not edge.written:
            sure |= gives
        else:
            ways.append(gives)
    return sure | (reduce(and_, ways) if ways else 0)


# -- the outputs of the pipeline -------------------------------------------------------------------


def _at_the_end(plan: Plan, reads: _Reads) -> Iterator[Missing | Site]:
    """Check the reads of `[outputs]` over the runs that succeed."""
    if not reads.outputs or plan.flawed:
        return
    choices = successes_of(plan, frozenset(reads.outputs))
    questions = Questions(plan, choices, decide(plan).never.keys(), EFFORT)
    sure = questions.search.sure()
    perils = sorted(choices.stuck)
    for source, asked in reads.outputs.items():
        if source in sure and not union(choices.endings[source]) & choices.silent[source]:
            continue
        links = tuple((peril, 0, False) for peril in (*perils, source))
        yield from _told(questions.ask(links, False, source, True), asked)
