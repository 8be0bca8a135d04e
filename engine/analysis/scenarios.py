"""Search for runs in which an output is missing at a read, or in which two nodes both start.

The search is that of `engine.analysis.search`. For the first question a reader is added after all nodes: it
starts where the given edges let it, and requires that the node it reads has ended without an output, or is skipped.
For the second question it requires both nodes to start.

Source: docs/language.md, "Results", "Edges and joins", "State", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import attrs

from engine.analysis.choices import Choices, IncomingEdge, find_ending, is_satisfiable, join_holds
from engine.analysis.search import SKIPPED, BudgetExceeded, RunAssignment, Search
from engine.analysis.step_reachability import Ending
from engine.plan.plan import Plan

__all__ = ["NodeEnd", "Scenario", "ScenarioSearch"]

NodeEnd = Ending | Literal["when", "needs"]
Scenario = Mapping[int, NodeEnd]
"""One run as far as it matters: how nodes end, or why they are skipped, in node order."""


class ScenarioSearch:
    """One search with a reader that is not part of the plan; it comes after all nodes."""

    def __init__(self, plan: Plan, choices: Choices, never: Collection[int], effort: int) -> None:
        self.plan, self.never = plan, never
        self.reader = len(plan.nodes)
        self.links = [*choices.links, ()]
        self.any = [*choices.any, False]
        self.endings = [*choices.endings, (0,)]
        self.choices = attrs.evolve(
            choices,
            order=[*choices.order, self.reader],
            links=self.links,
            any=self.any,
            when=[*choices.when, "none"],
            endings=self.endings,
        )
        self._endings: dict[tuple[int, int], Ending] = {}
        self.search = Search(plan, self.choices, effort, skipped=set(never))

    def find_without_output(
        self, links: tuple[IncomingEdge, ...], any: bool, source: int, skippable: bool
    ) -> Scenario | BudgetExceeded | None:
        """Find a run in which the edges `links` let the reader run and `source` has no output.

        Return None if there is none, BudgetExceeded if the search budget does not suffice.
        """
        silent = (source, self.choices.no_output_bit[source], False)
        try:
            self.any[-1] = any
            self.links[-1] = (*links, silent)
            found = self.search.find_run(self.reader)
            if found is None and skippable:
                self.links[-1] = links
                found = self.search.find_run(self.reader, (source,))
        except BudgetExceeded as error:
            return error
        return None if found is None else self._select_relevant(self._build_scenario(found), source)

    def find_concurrent(self, one: int, other: int) -> Scenario | BudgetExceeded | None:
        """Find a run that starts two nodes of which neither waits for the other.

        Return the nodes of the run that do not simply succeed; None if there is no such run, BudgetExceeded if the
        search budget does not suffice. How the two nodes end matters to no node that either waits for.
        """
        kept = {node: self.endings[node] for node in (one, other)}
        self.endings[one] = self.endings[other] = (1,)
        self.search.choices = attrs.evolve(
            self.choices, blocking=self.choices.blocking - {one, other}
        )
        self.any[-1] = False
        self.links[-1] = ((one, 1, False), (other, 1, False))
        try:
            found = self.search.find_run(self.reader)
        except BudgetExceeded as error:
            return error
        finally:
            self.search.choices = self.choices
            for node, endings in kept.items():
                self.endings[node] = endings
        if found is None:
            return None
        ends = self._build_scenario(
            attrs.evolve(found, ancestors=[n for n in found.ancestors if n not in kept])
        )
        return {node: end for node, end in ends.items() if _is_notable(end)}

    def _build_scenario(self, found: RunAssignment) -> Scenario:
        """Return the end of each node of a run that was found."""
        lit: dict[int, int] = {}
        ends: dict[int, NodeEnd] = {}
        for node in found.ancestors[:-1]:
            ends[node] = self._find_node_end(found, node, lit)
            if isinstance(ends[node], Ending):
                lit[node] = self._find_mask(found, node)
        return ends

    def _select_relevant(self, ends: Scenario, source: int) -> Scenario:
        """Select the ends that explain the scenario.

        These are the end of the node that is read and of the nodes that do not simply succeed; where the node is
        skipped, also those of the nodes it waits for.
        """
        relevant = {source}
        if ends[source] == "needs":
            relevant |= {edge.source for edge in self.plan.nodes[source].edges}
        return {node: end for node, end in ends.items() if node in relevant or _is_notable(end)}

    def _find_node_end(self, found: RunAssignment, node: int, lit: Mapping[int, int]) -> NodeEnd:
        if node in self.never:
            return "needs"
        if not join_holds(self.choices.links[node], self.choices.any[node], lit):
            return "needs"
        if found.chosen_endings.get(node) == SKIPPED:
            return "when"
        key = (node, self._find_mask(found, node))
        if key not in self._endings:
            self._endings[key] = find_ending(self.plan, self.choices, *key)
        return self._endings[key]

    def _find_mask(self, found: RunAssignment, node: int) -> int:
        if node in found.chosen_endings:
            return found.chosen_endings[node]
        want = found.required.get(node, 0)
        return next(mask for mask in self.choices.endings[node] if is_satisfiable(want, (mask,)))


def _is_notable(end: NodeEnd) -> bool:
    """Return whether the end of a node is not the common case.

    Common are exit 0, done, and a skip for such a reason.
    """
    if isinstance(end, Ending):
        return end.result == "failed" or end.exit != 0
    return end == "when"
