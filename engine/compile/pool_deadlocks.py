"""Find sub-pipelines that wait for pools which are held until they end (E205).

An attempt that runs a sub-pipeline holds a slot of its node's pool while the nodes inside wait for slots of their
own. Pools held and pools wanted form a graph, and a cycle in it can wait forever. A pool is identified by its name
along the tree of runs, where the outermost declaration counts. So each document is checked as if it were the
outermost one, with its own pools, and a cycle reported inside is not reported again. Neither the number of slots
nor the order of the nodes makes a cycle safe.
Source: docs/language.md, "Limits".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import attrs

from engine.base.classes import frozen
from engine.base.graphs import find_cycles
from engine.base.memo import memoize
from engine.diagnostics import Diagnostic, RelatedSpan, codes
from engine.language.spec import Spec
from engine.language.structuring_errors import owner_of
from engine.plan.plan import Node, Plan
from engine.toml.key_paths import KeyPath
from engine.toml.source import Span

__all__ = ["find_pool_deadlocks"]


@frozen
class _PoolWait:
    """A node that holds a slot in one pool while its sub-pipeline waits for a slot in another.

    `path` is the location of the sub-pipeline's name.
    """

    node: str
    held_pool: str
    wanted_pool: str
    spec: Spec = attrs.field(eq=False, repr=False)
    path: KeyPath

    @property
    def span(self) -> Span:
        return self.spec.source.value_span(self.path)

    def __str__(self) -> str:
        return f"`{self.node}` holds a place in pool `{self.held_pool}` while its sub-pipeline waits for one in `{self.wanted_pool}`"


def find_pool_deadlocks(
    spec: Spec, nodes: Sequence[Node], pools: Mapping[str, int]
) -> Iterator[Diagnostic]:
    """Report each node that holds a pool wanted inside it, and each cycle of pools."""
    for held in _iter_waits(spec, nodes):
        if held.held_pool == held.wanted_pool:
            message = f"`{held.node}` holds a place in pool `{held.held_pool}` that its sub-pipeline waits for"
            yield _build_diagnostic(message, held, "remove `pool` from one of the two", ())
    inside = _find_reported_cycles_inside(nodes)
    for cycle in _iter_cycles(spec, nodes, pools):
        if frozenset(each.held_pool for each in cycle) not in inside:
            shown = " → ".join(each.held_pool for each in (*cycle, cycle[0]))
            message = f"nodes that hold a pool wait for each other's pools: {shown}"
            yield _build_diagnostic(
                message, cycle[0], "remove `pool` from one of these nodes", cycle
            )


def _build_diagnostic(
    message: str, held: _PoolWait, help: str, notes: Iterable[_PoolWait]
) -> Diagnostic:
    more = tuple(RelatedSpan(str(each), each.span) for each in notes)
    source = held.spec.source
    return Diagnostic(
        codes.POOL_DEADLOCK, message, source, held.span, help, *owner_of(held.path), more
    )


# -- pools held and pools wanted ---------------------------------------------------------------


def _iter_sub_pipelines(spec: Spec, nodes: Iterable[Node]) -> Iterator[tuple[Node, Plan, KeyPath]]:
    """Yield the sub-pipelines of a document, each with its node and the key path that names it."""
    for node in nodes:
        for at, body in enumerate(node.bodies):
            if body.plan is not None:
                steps = () if spec.nodes[node.name].single else ("steps", node.name_of(at))
                yield node, body.plan, (*spec.key_path, spec.table, node.name, *steps, "pipeline")


def _iter_waits(spec: Spec, nodes: Iterable[Node]) -> Iterator[_PoolWait]:
    for node, plan, path in _iter_sub_pipelines(spec, nodes):
        if node.pool:
            for wanted in sorted(_find_wanted_pools(plan)):
                yield _PoolWait(node.name, node.pool, wanted, spec, path)


@memoize
def _find_wanted_pools(plan: Plan) -> frozenset[str]:
    """Return the pools that the nodes of a plan, or of the plans inside it, wait for."""
    inside = [
        _find_wanted_pools(inner) for _, inner, _ in _iter_sub_pipelines(plan.spec, plan.nodes)
    ]
    inside += [_find_wanted_pools(plan.finally_plan)] if plan.finally_plan else []
    return frozenset(node.pool for node in plan.nodes if node.pool).union(*inside)


def _collect_waits(spec: Spec, nodes: Sequence[Node]) -> dict[tuple[str, str], _PoolWait]:
    """Return one wait for each pair of held and wanted pools, in the document or inside it.

    A wait in another file is located at the step that names the file.
    """
    found: dict[tuple[str, str], _PoolWait] = {}
    for held in _iter_waits(spec, nodes):
        found.setdefault((held.held_pool, held.wanted_pool), held)
    for _, plan, path in _iter_sub_pipelines(spec, nodes):
        for key, held in _collect_waits_inside(plan).items():
            here = held.spec.source is spec.source
            found.setdefault(key, held if here else attrs.evolve(held, spec=spec, path=path))
    return found


@memoize
def _collect_waits_inside(plan: Plan) -> dict[tuple[str, str], _PoolWait]:
    return _collect_waits(plan.spec, plan.nodes)


# -- cycles ------------------------------------------------------------------------------------


def _iter_cycles(
    spec: Spec, nodes: Sequence[Node], pools: Mapping[str, int]
) -> Iterator[tuple[_PoolWait, ...]]:
    """Yield cycles of two pools or more, each as the waits that hold one pool and want the next."""
    names, held = list(pools), _collect_waits(spec, nodes)
    waits = [
        [at for at, to in enumerate(names) if to != name and (name, to) in held] for name in names
    ]
    for loop in find_cycles(waits):
        around = [names[at] for at in (*loop, loop[0])]
        yield tuple(held[pair] for pair in pairwise(around))


def _find_reported_cycles_inside(nodes: Iterable[Node]) -> frozenset[frozenset[str]]:
    plans = (body.plan for node in nodes for body in node.bodies if body.plan is not None)
    return frozenset[frozenset[str]]().union(*map(_find_reported_cycles, plans))


@memoize
def _find_reported_cycles(plan: Plan) -> frozenset[frozenset[str]]:
    """Return the pools of each cycle found in a plan or inside it."""
    own = (
        frozenset(h.held_pool for h in cycle)
        for cycle in _iter_cycles(plan.spec, plan.nodes, plan.pools)
    )
    return frozenset(own) | _find_reported_cycles_inside(plan.nodes)
