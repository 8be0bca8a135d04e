"""The worst case of small documents, by trying everything: every attempt of every run that exists.

As plain as `brute`, whose reading of the contract it shares; imports nothing from the engine.
Places are not limited here, and no time forbids anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

from tests.oracle import exhaustive
from tests.oracle.exhaustive import Doc, Ending, Outcome

__all__ = ["Cost", "node_costs", "pipeline_costs", "step_costs"]

Cost = tuple[float, ...]
"""Visits, attempts, seconds."""
ZERO: Cost = (0, 0, 0.0)
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
ASKED = 300.0


def add(*costs: Cost) -> Cost:
    return tuple(map(sum, zip(*costs, strict=True)))


def most(*costs: Cost) -> Cost:
    return tuple(map(max, zip(*costs, strict=True)))


def seconds(text: str) -> float:
    unit = text.lstrip("0123456789.")
    return float(text.removesuffix(unit)) * UNITS[unit]


# -------------------------------------------------------------------------------------- one attempt


def attempts(doc: Doc, step: Doc) -> dict[Outcome, Cost]:
    """The outcomes that can come, and what an attempt costs at most that ends so."""
    if "pipeline" not in step:
        return dict.fromkeys(exhaustive.outcomes(step), (0, 1, seconds(step["timeout"])))
    runs = pipeline_costs({**doc, **doc["pipelines"][step["pipeline"]]})
    found: dict[Outcome, Cost] = {"error": (0, 1, 0.0)}
    for status, outcome in (("succeeded", 0), ("failed", 1)):
        if status in runs:
            found[outcome] = add((0, 1, 0.0), runs[status])
    if "timeout" in step:
        found["timeout"] = add((0, 1, 0.0), most(*runs.values()))
        limit = seconds(step["timeout"])
        found = {outcome: (*cost[:2], min(cost[2], limit)) for outcome, cost in found.items()}
    return found


def serves(step: Doc, clause: Doc, outcome: Outcome) -> bool:
    called = {outcome, *(n for n, code in exhaustive.names_of(step).items() if code == outcome)}
    if "on" not in clause:
        routed = (key for key in step.get("routes", {}) if key != "*")
        return outcome not in (0, "interrupted") and not called & {
            int(k) if k.isdecimal() else k for k in routed
        }
    return bool(called & set(clause["on"])) or ("*" in clause["on"] and outcome != 0)


def wait(step: Doc, clause: Doc, retry: int, outcome: Outcome) -> float:
    """The longest wait before a retry; a task may ask for one with any outcome of its own."""
    cap = seconds(clause["max_delay"]) if "max_delay" in clause else None
    found = seconds(clause.get("delay", "0s")) * clause.get("factor", 1.0) ** (retry - 1)
    found = min(found, cap) if cap is not None else found
    found *= 1 + clause.get("jitter", 0.0)
    asks = "pipeline" not in step and outcome not in ("timeout", "interrupted")
    return max(found, ASKED if cap is None else cap) if asks else found


# ----------------------------------------------------------------------------------------- one node


def node_costs(doc: Doc, name: str, only: str | None = None) -> dict[tuple[Ending, bool], Cost]:
    """The most by ending (and whether there is an output), of all steps or of `only` one.

    Walks through every attempt: a state is the step, what was counted, and what each clause of this
    visit served.
    """
    node = doc["nodes"][name]
    steps = exhaustive.steps_of(name, node)
    tried = {step: attempts(doc, table) for step, table in steps.items()}
    found: dict[Any, dict[Any, Cost]] = {}

    def cost_from(state: Any) -> dict[Any, Cost]:
        if state not in found:
            at, counts, served = state
            best: dict[Any, Cost] = {}
            for outcome, cost in tried[at].items():
                for after, pause, goes_on, ends in moves(steps[at], at, counts, served, outcome):
                    here = add(cost, (int(ends), 0, pause)) if only in (None, at) else ZERO
                    for ending, behind in (cost_from(after) if goes_on else {after: ZERO}).items():
                        keep(best, ending, add(here, behind))
            found[state] = best
        return found[state]

    return cost_from((node.get("start", name), (), ()))


def keep(best: dict[Any, Cost], key: Any, cost: Cost) -> None:
    best[key] = most(best[key], cost) if key in best else cost


def moves(
    step: Doc, at: str, counts: Any, served: Any, outcome: Outcome
) -> Iterator[tuple[Any, float, bool, bool]]:
    """What may follow an attempt: (state or end, wait, whether it goes on, whether the visit ends)."""
    clauses = step.get("retry", [])
    for index, clause in enumerate(clauses):
        if serves(step, clause, outcome):
            count = dict(served).get(index, 0)
            if count < clause["attempts"] - 1:
                after = tuple(sorted({**dict(served), index: count + 1}.items()))
                yield (at, counts, after), wait(step, clause, count + 1, outcome), True, False
                if "pipeline" in step or outcome in ("timeout", "interrupted"):
                    return  # nothing declares it permanent
            break
    key = exhaustive.route_of(step, outcome)
    target, after = exhaustive.follow(step, at, key, dict(counts))
    if target is None or exhaustive.is_end(target):
        given = isinstance(outcome, int) and not ("pipeline" in step and outcome == 1)
        yield (exhaustive.ending(step, outcome, target), given), 0.0, False, True
        return
    taken = sum(after.values()) > sum(dict(counts).values())
    route = step["routes"][key]
    bounded = isinstance(route, dict) and "max" in route
    pause = route.get("delay", "0s") if isinstance(route, dict) and (taken or not bounded) else "0s"
    yield (target, tuple(sorted(after.items())), ()), seconds(pause), True, True


def step_costs(doc: Doc, name: str) -> dict[str, Cost]:
    """What falls to each step at most."""
    steps = exhaustive.steps_of(name, doc["nodes"][name])
    return {step: most(ZERO, *node_costs(doc, name, step).values()) for step in steps}


# ------------------------------------------------------------------------------------- a pipeline


def endings(doc: Doc, name: str) -> dict[Ending, Cost]:
    node = doc["nodes"][name]
    costs = node_costs(doc, name)
    found: dict[Ending, Cost] = {}
    if "for_each" in node:
        costs = {(ending, True): cost for ending, cost in fanned(doc, name, costs).items()}
    for (ending, _), cost in costs.items():
        keep(found, ending, cost)
    if "for_each" not in node and any(
        exhaustive.reads_output(doc, text) for text in node.get("outputs", {}).values()
    ):
        for (_, given), cost in costs.items():
            if given:
                keep(found, ("failed", frozenset({"error"})), cost)
    if "deadline" in node:
        limit = seconds(node["deadline"])
        keep(found, ("failed", frozenset({"timeout"})), most(*costs.values()))
        found = {ending: (*cost[:2], min(cost[2], limit)) for ending, cost in found.items()}
    return found


def fanned(doc: Doc, name: str, costs: dict[tuple[Ending, bool], Cost]) -> dict[Ending, Cost]:
    """The most by ending of a fan-out, all its items at once: any list, and any end of each."""
    node, found = doc["nodes"][name], {}
    items: dict[str, Cost] = {}
    for ((result, _), given), cost in costs.items():
        keep(items, result, cost)
        if given and exhaustive.unmapped(doc, node):
            keep(items, "failed", cost)
    for count in exhaustive.lengths(node):
        for results in combinations_with_replacement(sorted(items), count):
            lost = exhaustive.is_lost(node, count, results.count("failed"))
            each = [items[result] for result in results]
            whole = (*add(ZERO, *each)[:2], max([0.0, *(cost[2] for cost in each)]))
            keep(found, exhaustive.LOST if lost else exhaustive.WON, whole)
    return found


def pipeline_costs(doc: Doc) -> dict[str, Cost]:
    """By status the most that a run costs: sums of visits and attempts, seconds with places enough.

    Every order in which nodes may end is tried. When a failure cancels the run, what still runs may
    be in its last attempt.
    """
    names = list(doc["nodes"])
    costs = {name: told_apart(doc, name, endings(doc, name)) for name in names}
    found: dict[str, Cost] = {}
    todo = list(decided(doc, ("waits",) * len(names)))
    seen = set(todo)
    while todo:
        state = todo.pop()
        if "over" in state:
            keep(found, "failed", cost_of(doc, state, costs))
            continue
        if "runs" not in state:
            lost = any(isinstance(s, tuple) and s[2] for s in state)
            keep(found, "failed" if lost else "succeeded", cost_of(doc, state, costs))
        for index, name in enumerate(names):
            if state[index] != "runs":
                continue
            for end, cost in costs[name].items():
                lost = unhandled(doc, name, end)
                after = (*state[:index], (end, cost, lost), *state[index + 1 :])
                if lost and doc["pipeline"].get("on_failure") == "cancel":
                    keep(found, "failed", cost_of(doc, after, costs))
                    continue
                for new in decided(doc, after):
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
    if "outputs" in doc and "succeeded" in found:
        keep(found, "failed", found["succeeded"])
    return found


def told_apart(doc: Doc, name: str, costs: dict[Ending, Cost]) -> dict[Ending, Cost]:
    """One ending for all that every other node, and the run, takes for the same."""
    found: dict[Any, tuple[Ending, Cost]] = {}
    edges = [exhaustive.edges_of(doc, other).get(name) for other in doc["nodes"]]
    for end, cost in costs.items():
        seen = tuple(exhaustive.is_live(edge[0], end) for edge in edges if edge)
        key = (seen, unhandled(doc, name, end))
        _, before = found.get(key, (end, ZERO))
        found[key] = (end, most(before, cost))
    return dict(found.values())


def unhandled(doc: Doc, name: str, end: Ending) -> bool:
    strict = {**doc, "pipeline": {**doc["pipeline"], "on_failure": "cancel"}}
    return exhaustive.is_over(strict, name, end)


def decided(doc: Doc, state: Any) -> Iterator[Any]:
    names = list(doc["nodes"])
    plain = tuple(s[0] if isinstance(s, tuple) else s for s in state)
    if "over" in state:
        yield state
        return
    for index, name in enumerate(names):
        if state[index] == "waits":
            edges = exhaustive.edges_of(doc, name)
            if all(state[names.index(source)] not in ("waits", "runs") for source in edges):
                for choice in exhaustive.choices(doc, name, edges, plain):
                    entry = choice
                    if isinstance(choice, tuple):
                        lost = unhandled(doc, name, choice)
                        if lost and doc["pipeline"].get("on_failure") == "cancel":
                            entry = "over"
                        else:
                            entry = (choice, ZERO, lost)
                    yield from decided(doc, (*state[:index], entry, *state[index + 1 :]))
                return
    yield state


def cost_of(doc: Doc, state: Any, costs: dict[str, dict[Ending, Cost]]) -> Cost:
    names = list(doc["nodes"])
    spent: dict[str, Cost] = {}
    for name, s in zip(names, state, strict=True):
        spent[name] = (
            s[1] if isinstance(s, tuple) else most(*costs[name].values()) if s == "runs" else ZERO
        )
    total = add(*spent.values())
    return (*total[:2], max(ended(doc, name, spent) for name in names))


def ended(doc: Doc, name: str, spent: dict[str, Cost]) -> float:
    """Seconds after which a node has its result."""
    sources = exhaustive.edges_of(doc, name)
    return max([0.0, *(ended(doc, source, spent) for source in sources)]) + spent[name][2]
