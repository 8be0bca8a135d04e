"""Compute the worst case of a pipeline's runs, those of its sub-pipelines included.

Visits and attempts are taken over all assignments of exits; times, delays, slots and deadlines rule none out. Time
counts attempts up to their timeout, waits up to `1 + jitter` or the longest delay that a task may request, and route
delays; a deadline caps everything under it. On top of that come, uncounted, the grace period of attempts that do not
stop when they are asked to, and the machine's own time.

**Time under limits** (Graham's bound, with delays). Take the attempt that ended last, and go back from it: at
each instant before, either an attempt of the chain runs, or the chain waits for a delay, or its next attempt lacks a
slot in some limit L. All m slots of L are held then, and not by waiting attempts, for no attempt that could start is
left waiting. Running and lacking exclude each other, so the latter takes at most (W - C) / m, where W is the
seconds that slots of L are held in the whole run and C those that the chain holds. So a run takes at most the sum of
W / m over the limits, plus the longest chain if each second of an attempt counts 1 - sum of 1 / m over its own limits
(`CHAIN`) and each second of delay fully. Chains go on from a node to one it waits for, skipped ones included, at
the instant its last edge settles. An attempt of a sub-pipeline counts on a chain with the bound of the child by itself:
the time the child lacks slots of its own limits is in that bound, the time it lacks slots of limits around it is in
the W around. Limits that are never full while an attempt waits (`concurrency`) are left out. Where a pool is held by a
sub-pipeline, its seconds depend on those of the others, and the bound is that something always proceeds: the sum of
all. The `max_parallel` of a fan-out is such a limit (see `fan_outs`); its waits count where that node is on the chain.

Source: docs/language.md, "Limits", "Worst case".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property, reduce

import attrs

from engine.analysis.bounds.concurrency import cover_with_chains, max_concurrent
from engine.analysis.bounds.heaviest_runs import HeaviestRun, RunSelection, find_heaviest
from engine.analysis.bounds.machine_paths import Budget
from engine.analysis.bounds.node_costs import NodeOptions, build_cost_key, compute_options
from engine.analysis.bounds.weights import (
    CHAIN,
    SERIAL,
    TIME,
    WORK,
    SubPipelineCost,
    Weight,
    add_weights,
    cap_weight,
    take_maximum,
    weigh_visit,
)
from engine.analysis.choices import build_choices
from engine.analysis.output_types import build_output_types
from engine.plan.plan import Node, Plan, StepBody

__all__ = ["COST_BUDGET", "PipelineCosts"]

COST_BUDGET = 2_000_000
"""The maximum number of sums inspected in all machines of a plan; in one machine a tenth of it."""


class PipelineCosts:
    """The worst-case costs of one plan; limits of pools in `outside` belong to a run around it."""

    def __init__(self, plan: Plan, outside: frozenset[str]) -> None:
        self.plan, self.outside = plan, outside
        self.choices = build_choices(plan)
        self.items = [self._count_items(node) for node in plan.nodes]
        self.children = self._build_children()
        chains = cover_with_chains(plan, self.choices.order)
        widths = [self._compute_width(node) for node in plan.nodes]
        self.uses = {
            pool: max_concurrent(
                chains, [self._count_slots_held(node, pool) for node in plan.nodes]
            )
            for pool in sorted(set(self._iter_pools()))
        }
        width = max_concurrent(chains, widths)
        self.width = min(width, plan.max_parallel)
        self.crowded = width > plan.max_parallel
        self.tight = {
            pool: plan.pools[pool]
            for pool, count in self.uses.items()
            if pool not in outside and count > plan.pools[pool]
        }
        budget = Budget(COST_BUDGET, COST_BUDGET // 10)
        known: dict[object, NodeOptions] = {}
        self.options = [
            self._find_options(node, widths[node.index], budget, known) for node in plan.nodes
        ]
        self.entangled = any(self._has_interacting_pools(node) for node in plan.nodes)
        self.closing = (
            None if plan.finally_plan is None else PipelineCosts(plan.finally_plan, outside)
        )
        if self.closing is not None:  # it begins when all this has ended
            self.width = max(self.width, self.closing.width)
            self.uses = {
                pool: max(uses.get(pool, 0) for uses in (self.uses, self.closing.uses))
                for pool in {**self.uses, **self.closing.uses}
            }

    # -- the parts -----------------------------------------------------------------------------

    def _build_children(self) -> dict[int, PipelineCosts]:
        """Return the costs of all sub-pipelines, by the identity of their plans."""
        found: dict[int, PipelineCosts] = {}
        outside = self.outside | self.plan.pools.keys()
        for node in self.plan.nodes:
            for body in node.bodies:
                if body.plan is not None and id(body.plan) not in found:
                    found[id(body.plan)] = PipelineCosts(body.plan, outside)
        return found

    def _count_items(self, node: Node) -> float:
        """Return the maximum number of items of a node: 1 without a fan-out, infinity if nothing bounds it."""
        most = build_output_types(self.plan).max_items(node) if node.fan is not None else 1
        return math.inf if most is None else most

    def _max_concurrent_items(self, node: Node) -> int:
        """Return how many items of the node can run at once."""
        return 1 if node.fan is None else int(min(self.items[node.index], node.fan.max_parallel))

    def _has_waiting_items(self, node: Node) -> bool:
        """Return whether items of a fan-out wait for each other."""
        return node.fan is not None and self.items[node.index] > node.fan.max_parallel

    def inner(self, node: Node) -> Iterator[PipelineCosts]:
        yield from (self.children[id(body.plan)] for body in node.bodies if body.plan)

    def _compute_width(self, node: Node) -> int:
        width = max([1, *(child.width for child in self.inner(node))])
        return width * self._max_concurrent_items(node)

    def _iter_pools(self) -> Iterator[str]:
        for node in self.plan.nodes:
            if node.pool is not None:
                yield node.pool
            for child in self.inner(node):
                yield from (pool for pool in child.uses if pool in child.outside)

    def _count_slots_held(self, node: Node, pool: str) -> int:
        inner = [child.uses.get(pool, 0) for child in self.inner(node) if pool in child.outside]
        return max([int(node.pool == pool), *inner]) * self._max_concurrent_items(node)

    def _has_interacting_pools(self, node: Node) -> bool:
        """Return whether the seconds of a contended pool depend on those of others."""
        inner = list(self.inner(node))
        return bool(inner) and (
            self._has_waiting_items(node)
            or node.pool in self.tight
            or any(self.tight.keys() & child.uses.keys() for child in inner)
        )

    def can_block_pools(self, node: Node) -> bool:
        """Return whether a pool is held while a sub-pipeline waits for another pool."""
        return node.pool is not None and any(child.uses for child in self.inner(node))

    def _find_options(
        self, node: Node, width: int, budget: Budget, known: dict[object, NodeOptions]
    ) -> NodeOptions:
        share = self._compute_share(node)
        key = build_cost_key(self.plan, node)
        if key is None:
            return self._compute_options(node, width, budget, share)
        if (key, share) not in known:
            known[key, share] = self._compute_options(node, width, budget, share)
        return known[key, share]

    def _compute_options(self, node: Node, width: int, budget: Budget, share: float) -> NodeOptions:
        visits = [
            weigh_visit(step, body, self.load_of_body(body), share)
            for step, body in zip(node.machine.steps, node.bodies, strict=True)
        ]
        linger, items = self._compute_shutdown_time(node), self.items[node.index]
        return compute_options(self.plan, node, visits, width, budget, items, linger)

    def _compute_shutdown_time(self, node: Node) -> float:
        """Return the seconds that a node may take to end after a stop request, its children one after another."""
        return self._max_concurrent_items(node) * max(
            [0.0, *(child.shutdown_time for child in self.inner(node))]
        )

    def _compute_share(self, node: Node) -> float:
        """Return how much a second of a task counts on a chain under limits."""
        places = [self.plan.max_parallel] if self.crowded else []
        if node.pool in self.tight:
            places.append(self.tight[node.pool])
        if self._has_waiting_items(node) and node.fan is not None:
            places.append(node.fan.max_parallel)
        return max(0.0, 1 - sum(1 / each for each in places))

    def load_of_body(self, body: StepBody) -> SubPipelineCost | None:
        return None if body.plan is None else self.children[id(body.plan)].load

    # -- whole runs ----------------------------------------------------------------------------

    def heaviest_run(self, status: RunSelection) -> HeaviestRun | None:
        """Return the heaviest runs with a status; None if there are none."""
        ways = [each.alternatives for each in self.options]
        return find_heaviest(self.choices, ways, self.plan.on_failure == "cancel", status)

    @cached_property
    def load(self) -> SubPipelineCost:
        """Return the cost of a run as the run around it sees it."""
        good, bad = self.heaviest_run("succeeded"), self.heaviest_run("failed")
        succeeded = self._weigh_run(good) if good else None
        failed = self._weigh_run(bad) if bad else None
        if succeeded and self.plan.outputs is not None and not self.plan.outputs.is_constant:
            failed = take_maximum(failed, succeeded) if failed else succeeded
        exact = all(each is None or self.is_exact(each) for each in (good, bad))
        load = SubPipelineCost(
            succeeded, failed, self.width, exact, exact and self.never_waits, self.shutdown_time
        )
        return load if self.closing is None else _add_finally_load(load, self.closing.load)

    @cached_property
    def shutdown_time(self) -> float:
        """Return the seconds that a run may take to end after a stop request.

        These are those of its sub-pipelines, one after another, and those of its own `[finally]`.
        """
        inside = math.fsum(map(self._compute_shutdown_time, self.plan.nodes))
        if self.closing is None:
            return inside
        load = self.closing.load
        return inside + max(run[TIME] for run in (load.succeeded, load.failed) if run)

    def is_exact(self, most: HeaviestRun) -> bool:
        """Return whether a run exists that reaches these sums."""
        return most.exact and all(
            self.check_exactness(self.plan.nodes[node])[0] for node in most.ran
        )

    def check_exactness(self, node: Node) -> tuple[bool, bool]:
        """Return whether a node's counts, and its times, are those of an existing run."""
        loads = [child.load for child in self.inner(node)]
        own = self.options[node.index]
        exact = own.exact and all(load.exact for load in loads)
        return exact, exact and own.is_time_exact and all(load.exact_time for load in loads)

    @property
    def never_waits(self) -> bool:
        """Return whether no attempt ever waits for a slot of this run's own limits."""
        return not (self.crowded or self.tight)

    def _weigh_run(self, most: HeaviestRun) -> Weight:
        seconds = self.seconds(most)
        total = most.total
        cap = self.deadline
        chain = seconds
        if self.never_waits:  # what holds where limits around it make its attempts wait, too
            chain = total[SERIAL] if self.entangled else most.trail[0][CHAIN]
        whole = (*total[:TIME], seconds, total[SERIAL], total[WORK], chain)
        return cap_weight(whole, cap, self.width)

    @cached_property
    def deadline(self) -> float:
        """Return the seconds after which everything but `[finally]` has ended.

        The time that sub-pipelines still take after the deadline is included.
        """
        if self.plan.deadline is None:
            return math.inf
        return self.plan.deadline + math.fsum(map(self._compute_shutdown_time, self.plan.nodes))

    def seconds(self, most: HeaviestRun) -> float:
        """Return the seconds of the longest run, without regard to its deadline."""
        weight = most.trail[0]
        if self.never_waits:
            return weight[TIME]
        serial = math.inf if any(map(self.can_block_pools, self.plan.nodes)) else most.total[SERIAL]
        if self.entangled:
            return serial
        waits = most.total[WORK] / self.plan.max_parallel if self.crowded else 0.0
        for pool, places in self.tight.items():
            users = [node for node in most.ran if self.plan.nodes[node].pool == pool]
            waits += sum(self.options[node].weight[WORK] for node in users) / places
        return min(serial, weight[CHAIN] + waits)


def _add_finally_load(load: SubPipelineCost, closing: SubPipelineCost) -> SubPipelineCost:
    """Return the cost of a run followed by its `[finally]`; it fails if either does."""
    ways = [
        (one, other, add_weights(weight, last))
        for one, weight in (("succeeded", load.succeeded), ("failed", load.failed))
        for other, last in (("succeeded", closing.succeeded), ("failed", closing.failed))
        if weight is not None and last is not None
    ]
    lost = [weight for one, other, weight in ways if "failed" in (one, other)]
    won = [weight for one, other, weight in ways if "failed" not in (one, other)]
    return attrs.evolve(
        load,
        succeeded=won[0] if won else None,
        failed=reduce(take_maximum, lost) if lost else None,
        exact=load.exact and closing.exact,
        exact_time=load.exact_time and closing.exact_time and load.shutdown_time == 0,
    )
