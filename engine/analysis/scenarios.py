"""Search for runs in which an output is missing at a read, or in which two nodes both start.

The search is that of `engine.analysis.node_reachability`. For the first question a reader is added after all nodes: it
starts where the given edges let it, and requires that the node it reads has ended without an output, or is skipped.
For the second question it requires both nodes to start.

Source: docs/language.md, "Results", "Edges and joins", "State", "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import attrs

from engine.analysis.choices import Choices, Link, ending_of, fits, joined
from engine.analysis.search import SKIPPED, Found, Search, TooMuch
from engine.analysis.step_reachability import Ending
from engine.plan.plan import Plan

__all__ = ["Fate", "Fates", "Questions"]

Fate = Ending | Literal["when", "needs"]
Fates = Mapping[int, Fate]
"""One run as far as it matters: how nodes end, or why they are skipped, in node order."""


class Questions:
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

    def ask(
        self, links: tuple[Link, ...], any: bool, source: int, skippable: bool
    ) -> Fates | TooMuch | None:
        """Find a run in which the edges `links` let the reader run and `source` has no output.

        Return None if there is none, BudgetExceeded if the search budget does not suffice.
        """
        silent = (source, self.choices.silent[source], False)
        try:
            self.any[-1] = any
            self.links[-1] = (*links, silent)
            found = self.search.run(self.reader)
            if found is None and skippable:
                self.links[-1] = links
                found = self.search.run(self.reader, (source,))
        except TooMuch as error:
            return error
        return None if found is None else self._with_cause(self._fates(found), source)

    def both(self, one: int, other: int) -> Fates | TooMuch | None:
        """Find a run that starts two nodes of which neither waits for the other.

        Return the nodes of the run that do not simply succeed; None if there is no such run, BudgetExceeded if the search
        budget does not suffice. How the two nodes end matters to no node that either waits for.
        """
        kept = {node: self.endings[node] for node in (one, other)}
        self.endings[one] = self.endings[other] = (1,)
        self.search.choices = attrs.evolve(self.choices, stuck=self.choices.stuck - {one, other})
        self.any[-1] = False
        self.links[-1] = ((one, 1, False), (other, 1, False))
        try:
            found = self.search.run(self.reader)
        except TooMuch as error:
            return error
        finally:
            self.search.choices = self.choices
            for node, endings in kept.items():
                self.endings[node] = endings
        if found is None:
            return None
        fates = self._fates(attrs.evolve(found, cone=[n for n in found.cone if n not in kept]))
        return {node: fate for node, fate in fates.items() if _odd(fate)}

    def _fates(self, found: Found) -> Fates:
        """Return the end of each node of a run that was found."""
        lit: dict[int, int] = {}
        fates: dict[int, Fate] = {}
        for node in found.cone[:-1]:
            fates[node] = self._fate(found, node, lit)
            if isinstance(fates[node], Ending):
                lit[node] = self._mask(found, node)
        return fates

    def _with_cause(self, fates: Fates, source: int) -> Fates:
        """Select the ends that explain the scenario.

        These are the end of the node that is read and of the nodes that do not simply succeed; where the node is skipped, also
        those of the nodes it waits for.
        """
        told = {source}
        if fates[source] == "needs":
            told |= {edge.source for edge in self.plan.nodes[source].edges}
        return {node: fate for node, fate in fates.items() if node in told or _odd(fate)}

    def _fate(self, found: Found, node: int, lit: Mapping[int, int]) -> Fate:
        if node in self.never:
            return "needs"
        if not joined(self.choices.links[node], self.choices.any[node], lit):
            return "needs"
        if found.picks.get(node) == SKIPPED:
            return "when"
        key = (node, self._mask(found, node))
        if key not in self._endings:
            self._endings[key] = ending_of(self.plan, self.choices, *key)
        return self._endings[key]

    def _mask(self, found: Found, node: int) -> int:
        if node in found.picks:
            return found.picks[node]
        want = found.asked.get(node, 0)
        return next(mask for mask in self.choices.endings[node] if fits(want, (mask,)))


def _odd(fate: Fate) -> bool:
    """Return whether the end of a node is not the common case.

    Common are exit 0, done, and a skip for such a reason.
    """
    if isinstance(fate, Ending):
        return fate.result == "failed" or fate.exit != 0
    return fate == "when"
