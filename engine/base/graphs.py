"""Graph algorithms: order, cycles and components of a graph given as adjacency lists.

Nodes are indexes from 0. All functions avoid recursion and are linear in nodes and edges, sorting and bit sets aside.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["find_cycles", "reachable_sets", "strongly_connected_components", "topological_order"]


def topological_order(waits: Sequence[Sequence[int]]) -> list[int]:
    """Return the nodes in topological order: each after those it waits for, otherwise in their own order.

    Nodes on a cycle, or that wait for one, are left out.
    """
    from heapq import heapify, heappop, heappush

    if all(max(sources, default=-1) < node for node, sources in enumerate(waits)):
        return list(range(len(waits)))
    missing = [len(set(sources)) for sources in waits]
    out: list[list[int]] = [[] for _ in waits]
    for node, sources in enumerate(waits):
        for source in set(sources):
            out[source].append(node)
    ready = [node for node, count in enumerate(missing) if not count]
    heapify(ready)
    order = []
    while ready:
        node = heappop(ready)
        order.append(node)
        for target in out[node]:
            missing[target] -= 1
            if not missing[target]:
                heappush(ready, target)
    return order


def find_cycles(waits: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield one cycle for each component of nodes that wait for each other.

    In a cycle each node waits for the next; it begins with its smallest node.
    """
    left = set(range(len(waits))) - set(topological_order(waits))
    if not left:
        return
    knot = strongly_connected_components(waits)
    reported: set[int] = set()
    for start in sorted(left):
        loops = [source for source in waits[start] if knot[source] == knot[start]]
        if loops and knot[start] not in reported:
            reported.add(knot[start])
            yield _find_cycle_from(waits, knot, start)


def _find_cycle_from(
    waits: Sequence[Sequence[int]], component: Sequence[int], node: int
) -> list[int]:
    """Return a cycle within the component of a node."""
    place: dict[int, int] = {}
    while node not in place:
        place[node] = len(place)
        node = min(source for source in waits[node] if component[source] == component[node])
    loop = list(place)[place[node] :]
    first = loop.index(min(loop))
    return loop[first:] + loop[:first]


def strongly_connected_components(adjacent: Sequence[Sequence[int]]) -> list[int]:
    """Return for each node the number of its strongly connected component.

    Components are numbered in topological order: an edge never leads to a lower number.
    """
    back: list[list[int]] = [[] for _ in adjacent]
    for node, targets in enumerate(adjacent):
        for target in targets:
            back[target].append(node)
    part = [-1] * len(adjacent)
    for number, root in enumerate(reversed(_order_by_finish(adjacent))):
        stack = [root]
        while stack:
            node = stack.pop()
            if part[node] < 0:
                part[node] = number
                stack += [source for source in back[node] if part[source] < 0]
    return part


def reachable_sets(adjacent: Sequence[Sequence[int]]) -> list[int]:
    """Return for each node the set of nodes reachable from it, itself included, as a bit mask."""
    part = strongly_connected_components(adjacent)
    found = [0] * (max(part, default=-1) + 1)
    for node in sorted(range(len(adjacent)), key=part.__getitem__, reverse=True):
        found[part[node]] |= 1 << node
        for target in adjacent[node]:  # its part has a higher number, and is done
            found[part[node]] |= found[part[target]]
    return [found[number] for number in part]


def _order_by_finish(adjacent: Sequence[Sequence[int]]) -> list[int]:
    """Return the nodes in the order in which a depth-first search finishes them."""
    seen: set[int] = set()
    done = []
    for root in range(len(adjacent)):
        stack = [(root, iter(adjacent[root]))] if root not in seen else []
        seen.add(root)
        while stack:
            node, targets = stack[-1]
            target = next((each for each in targets if each not in seen), None)
            if target is None:
                done.append(node)
                stack.pop()
            else:
                seen.add(target)
                stack.append((target, iter(adjacent[target])))
    return done
