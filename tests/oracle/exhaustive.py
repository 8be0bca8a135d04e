"""What routes, edges and results mean, by trying everything; for small documents. Source: docs/language.md.

Written from the contract alone and as plainly as possible: every execution of a machine or of a
pipeline is walked through, event by event. Imports nothing from the engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import combinations_with_replacement
from typing import Any

Doc = dict[str, Any]
Outcome = int | str
Ending = tuple[str, frozenset[Outcome]]
"""A result, and everything that a label in `needs` may call it."""

TASKS: dict[str, tuple[dict[str, int], list[int]]] = {
    "probe": ({"success": 0, "failure": 1, "needs_review": 2}, [0, 1, 2]),
    "shell": ({"success": 0}, [0, 1, 2, 3, 4, 7, 9]),  # any code; those not listed act as 9 does
    "pipeline": ({"success": 0, "failure": 1}, [0, 1]),
}


# ------------------------------------------------------------------------------------- one machine


def steps_of(name: str, node: Doc) -> dict[str, Doc]:
    return node.get("steps", {name: node})


def names_of(step: Doc) -> dict[str, int]:
    return {**TASKS[step.get("task", "pipeline")][0], **step.get("exits", {})}


def outcomes(step: Doc) -> list[Outcome]:
    codes = {*TASKS[step.get("task", "pipeline")][1], *step.get("exits", {}).values()}
    found = [*sorted(codes), "error", *["timeout"] * ("timeout" in step)]
    return [*found, *["interrupted"] * (step.get("on_interrupt") == "route")]


def route_of(step: Doc, outcome: Outcome) -> str | None:
    """The key of the route that an outcome takes."""
    for key in step.get("routes", {}):
        if key == str(outcome) or names_of(step).get(key) == outcome:
            return str(key)
    return "*" if "*" in step.get("routes", {}) and outcome != 0 else None


def is_end(target: str) -> bool:
    return target.partition(":")[0] in ("done", "fail")


def ending(step: Doc, outcome: Outcome, target: str | None) -> Ending:
    """The end that an outcome comes to, by an end written in a route or by default."""
    called = {outcome}
    if isinstance(outcome, int):
        named = {name for name, code in names_of(step).items() if code == outcome}
        called |= named or {str(outcome)}
    if target is None:
        return ("succeeded" if outcome == 0 else "failed"), frozenset(called)
    word, _, label = target.partition(":")
    result = "succeeded" if word == "done" else "failed"
    return result, frozenset({label} if label else called)


Hop = tuple[str, Outcome, "str | None", "str | None", bool]
"""A step, how a visit of it ends, the key of the route taken, where to, whether by its `then`."""


def hops(name: str, node: Doc) -> Iterator[Hop]:
    """Everything that can follow a visit, over all runs of a node."""
    steps = steps_of(name, node)
    start: tuple[str, tuple[Any, ...]] = (node.get("start", name), ())
    seen, todo = {start}, [start]
    while todo:
        at, counts = todo.pop()
        for outcome in outcomes(steps[at]):
            key = route_of(steps[at], outcome)
            target, after = follow(steps[at], at, key, dict(counts))
            spent = key is not None and dict(counts).get((at, key)) == most(steps[at], key)
            yield at, outcome, key, target, spent
            if target is None or is_end(target):
                continue
            state = (target, tuple(sorted(after.items())))
            if state not in seen:
                seen.add(state)
                todo.append(state)


def most(step: Doc, key: str) -> int:
    """How often a route may be taken; -1 for as often as one likes."""
    route = step["routes"][key]
    return int(route.get("max", -1)) if isinstance(route, dict) else -1


def walk(name: str, node: Doc) -> tuple[set[str], set[Ending]]:
    """The steps that runs of a node visit and the ends they come to."""
    steps, visited, ends = steps_of(name, node), set(), set()
    for at, outcome, _, target, _ in hops(name, node):
        visited.add(at)
        if target is None or is_end(target):
            ends.add(ending(steps[at], outcome, target))
    return visited, ends


def idle_routes(name: str, node: Doc) -> set[tuple[str, str, str]]:
    """Routes of visited steps that no run takes (`route`), or takes but never uses up (`max`)."""
    steps = steps_of(name, node)
    taken = {(at, key, spent) for at, _, key, _, spent in hops(name, node)}
    found = set()
    for at in {at for at, _, _ in taken}:
        for key in steps[at].get("routes", {}):
            if not {(at, key, False), (at, key, True)} & taken:
                found.add((at, key, "route"))
            elif most(steps[at], key) > 0 and (at, key, True) not in taken:
                found.add((at, key, "max"))
    return found


def follow(
    step: Doc, at: str, key: str | None, counts: dict[Any, int]
) -> tuple[str | None, dict[Any, int]]:
    if key is None:
        return None, counts
    route = step["routes"][key]
    if isinstance(route, str):
        return route, counts
    taken = counts.get((at, key), 0)
    if "max" not in route:
        return route["to"], counts
    if taken == route["max"]:
        return route.get("then", "fail"), counts
    return route["to"], {**counts, (at, key): taken + 1}


def every_target(route: Any) -> list[str]:
    if isinstance(route, str):
        return [route]
    return [route["to"], *([route.get("then", "fail")] if "max" in route else [])]


def unbounded_targets(step: Doc) -> Iterator[str]:
    for route in step.get("routes", {}).values():
        yield every_target(route)[-1]


def closure(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """What each step leads to over one edge or more."""
    found = {at: set(targets) for at, targets in graph.items()}
    for middle in graph:
        for at in graph:
            if middle in found[at]:
                found[at] |= found[middle]
    return found


def endless(name: str, node: Doc) -> list[set[str]]:
    """The sets of steps that can follow each other for ever, by the definition in section 5."""
    steps = steps_of(name, node)
    every = closure(
        graph_of(steps, lambda step: [t for r in routes(step) for t in every_target(r)])
    )
    loops = closure(graph_of(steps, lambda step: list(unbounded_targets(step))))
    start = node.get("start", name)
    reached = {start, *every[start]}
    parts: list[set[str]] = []
    for at in steps:
        if at in reached and at in loops[at] and not any(at in part for part in parts):
            parts.append({other for other in steps if other in loops[at] and at in loops[other]})
    return parts


def routes(step: Doc) -> list[Any]:
    return list(step.get("routes", {}).values())


def graph_of(steps: dict[str, Doc], targets: Any) -> dict[str, set[str]]:
    return {at: {t for t in targets(step) if t in steps} for at, step in steps.items()}


def trapped(name: str, node: Doc) -> set[str]:
    """Steps from which no end can be reached."""
    steps = steps_of(name, node)
    onwards: dict[str, set[str]] = {}
    for at, step in steps.items():
        onwards[at] = set()
        for outcome in outcomes(step):
            key = route_of(step, outcome)
            targets = ["done"] if key is None else every_target(step["routes"][key])
            onwards[at] |= {"END" if is_end(target) else target for target in targets}
    found = closure({**onwards, "END": set()})
    return {at for at in steps if "END" not in found[at]}


# ------------------------------------------------------------------------------------- a pipeline

State = tuple[Any, ...]
"""What each node is, in order: "waits", "runs", "skipped", or the Ending it has come to."""


def started(doc: Doc) -> set[str]:
    """The nodes that some execution starts, whatever the exits, each `when` and the timing."""
    doc = with_edges(doc)
    nodes = doc["nodes"]
    ends = {name: node_endings(doc, name) for name in nodes}
    found: set[str] = set()
    todo = list(decided(doc, ("waits",) * len(nodes)))
    seen = set(todo)
    while todo and len(found) < len(nodes):
        state = todo.pop()
        for index, name in enumerate(nodes):
            if state[index] != "runs":
                continue
            found.add(name)
            for end in ends[name]:
                after = (*state[:index], end, *state[index + 1 :])
                if is_over(doc, name, end):
                    continue
                for new in decided(doc, after):
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
    return found


def verdicts(doc: Doc) -> set[str]:
    """How executions can end: `succeeded`, `failed`; whatever the exits and each `when`. The first
    unhandled failure decides it, so that `on_failure` makes no difference."""
    doc = with_edges({**doc, "pipeline": {}})
    nodes = doc["nodes"]
    ends = {name: node_endings(doc, name) for name in nodes}
    found: set[str] = set()
    todo = list(decided(doc, ("waits",) * len(nodes)))
    seen = set(todo)
    while todo and len(found) < 2:
        state = todo.pop()
        if "runs" not in state:
            spoilt = any(
                isinstance(end, tuple) and is_unhandled(doc, name, end)
                for name, end in zip(nodes, state, strict=True)
            )
            found.add("failed" if spoilt else "succeeded")
            continue
        index = state.index("runs")
        name = list(nodes)[index]
        for end in ends[name]:
            for new in decided(doc, (*state[:index], end, *state[index + 1 :])):
                if new not in seen:
                    seen.add(new)
                    todo.append(new)
    return found


def node_endings(doc: Doc, name: str) -> set[Ending]:
    node = doc["nodes"][name]
    ends = fanned(doc, name) if "for_each" in node else walk(name, node)[1]
    if "deadline" in node:
        ends.add(("failed", frozenset({"timeout"})))
    if "for_each" not in node and unmapped(doc, node):
        ends.add(("failed", frozenset({"error"})))
    return ends


def unmapped(doc: Doc, node: Doc) -> bool:
    return any(reads_output(doc, text) for text in node.get("outputs", {}).values())


# -- fan-outs

WON: Ending = ("succeeded", frozenset({"success"}))
LOST: Ending = ("failed", frozenset({"failure"}))


def lengths(node: Doc) -> Iterator[int]:
    """How many items a fan-out can have: a list that is read has up to three here."""
    items = node["for_each"]
    yield from range(4) if isinstance(items, str) else [len(items)]


def is_lost(node: Doc, items: int, failed: int) -> bool:
    """Whether the node fails if so many of its items do."""
    tolerate = node.get("tolerate", 0)
    if isinstance(tolerate, str):
        return failed * 100 > items * float(tolerate.rstrip("%"))
    return failed > int(tolerate)


def fanned(doc: Doc, name: str) -> set[Ending]:
    """The ends that some list and some ends of its items bring."""
    node = doc["nodes"][name]
    results = {
        "failed" for _, has in ends_with_outputs(name, node)[1] if has and unmapped(doc, node)
    }
    results |= {result for result, _ in walk(name, node)[1]}
    return {
        LOST if is_lost(node, items, items_of.count("failed")) else WON
        for items in lengths(node)
        for items_of in combinations_with_replacement(sorted(results), items)
    }


def decided(doc: Doc, state: State) -> Iterator[State]:
    """The state once every node has decided that can, for each way their `when` may go."""
    names = list(doc["nodes"])
    for index, name in enumerate(names):
        if state[index] == "waits":
            edges = edges_of(doc, name)
            if all(state[names.index(source)] not in ("waits", "runs") for source in edges):
                for choice in choices(doc, name, edges, state):
                    if isinstance(choice, tuple) and is_over(doc, name, choice):
                        continue
                    yield from decided(doc, (*state[:index], choice, *state[index + 1 :]))
                return
    yield state


def choices(doc: Doc, name: str, edges: dict[str, Any], state: State) -> Iterator[Any]:
    """What becomes of a node whose edges have all settled."""
    node, names = doc["nodes"][name], list(doc["nodes"])
    live = {s: is_live(need, state[names.index(s)]) for s, (need, _) in edges.items()}
    written = [live[source] for source, (_, is_written) in edges.items() if is_written]
    implied = [live[source] for source, (_, is_written) in edges.items() if not is_written]
    wanted = all if node.get("join", "all") == "all" or not written else any
    if not (wanted(written) and all(implied)):
        yield "skipped"
        return
    when = node.get("when")
    if when != "1 == 2":
        yield "runs"
    if when not in (None, "1 == 1"):
        yield "skipped"
    items = node.get("for_each")
    starts = when != "1 == 2" and isinstance(items, str) and reads_output(doc, items)
    if starts or (when is not None and reads_output(doc, when)):
        yield ("failed", frozenset({"error"}))


def is_live(need: Any, state: Any) -> bool:
    if need == "always":
        return True
    if state == "skipped":
        return False
    result, called = state
    if need == "finished":
        return True
    if isinstance(need, list):
        return any(label in called for label in need)
    return bool(result == {"success": "succeeded", "failure": "failed"}[need])


def is_over(doc: Doc, name: str, end: Ending) -> bool:
    """Whether this end of a node cancels the rest of the run."""
    return doc["pipeline"].get("on_failure") == "cancel" and is_unhandled(doc, name, end)


def is_unhandled(doc: Doc, name: str, end: Ending) -> bool:
    """Whether this end of a node is a failure that nothing handles."""
    if end[0] != "failed" or doc["nodes"][name].get("allow_failure"):
        return False
    for other in doc["nodes"]:
        need = edges_of(doc, other).get(name, (None, True))[0]
        if (need == "failure" or isinstance(need, list)) and is_live(need, end):
            return False
    return True


def with_edges(doc: Doc) -> Doc:
    """A document with the edges of its nodes beside them, so that they are not read out of it again
    in each state."""
    return {**doc, "edges": {name: edges_of(doc, name) for name in doc["nodes"]}}


def edges_of(doc: Doc, name: str) -> dict[str, tuple[Any, bool]]:
    """The condition for each source of a node, and whether `needs` has it."""
    if "edges" in doc:
        return doc["edges"][name]
    node = doc["nodes"][name]
    needs = node.get("needs", {})
    written = dict.fromkeys(needs, "success") if isinstance(needs, list) else needs
    edges = {source: (need, True) for source, need in written.items()}
    for source in doc["nodes"]:
        texts = [text for text in texts_of(name, node) if f"{source}." in text]
        if texts and source not in edges:
            guarded = all("??" in text for text in texts)
            edges[source] = ("always" if guarded else "success", False)
    return edges


def texts_of(name: str, node: Doc) -> list[str]:
    texts = [node.get("when", ""), node.get("for_each"), *node.get("outputs", {}).values()]
    for step in steps_of(name, node).values():
        texts += [*step.get("with", {}).values(), *step.get("set", {}).values()]
    return [text for text in texts if isinstance(text, str)]


def reads_output(doc: Doc, text: str) -> bool:
    return "steps." in text or any(f"{name}." in text for name in doc["nodes"])


# ------------------------------------------------------------------------------- what is not there

Absent = tuple[str, str, str]
"""A node ("" for the pipeline), the place in it (a step, "when" or "outputs"), what is read."""

READ = re.compile(r"(?:^|\$\{)\s*([A-Za-z_][\w.]*)(\s*\?\?)?")


def reads_of(value: str) -> set[str]:
    """The nodes, and the steps as `steps.NAME`, that a text reads without a default."""
    found = {path for path, default in READ.findall(value) if not default}
    return {".".join(p.split(".")[: 2 if p.startswith("steps.") else 1]) for p in found}


def places_of(name: str, node: Doc) -> dict[str, set[str]]:
    """What is read in each step, in its `set`, in `when` and in `outputs`."""
    found = {}
    for at, step in steps_of(name, node).items():
        found[at] = {r for text in step.get("with", {}).values() for r in reads_of(text)}
        found[f"set {at}"] = {r for text in step.get("set", {}).values() for r in reads_of(text)}
    found["when"] = reads_of(node.get("when", ""))
    items = node.get("for_each")
    found["for_each"] = reads_of(items) if isinstance(items, str) else set()
    found["outputs"] = {r for text in node.get("outputs", {}).values() for r in reads_of(text)}
    return found


def absent_steps(name: str, node: Doc) -> set[Absent]:
    """The reads of steps that find nothing in some run of a node."""
    steps, places = steps_of(name, node), places_of(name, node)
    start: tuple[str, tuple[Any, ...], frozenset[str]] = (node.get("start", name), (), frozenset())
    seen, todo, found = {start}, [start], set()

    def read(place: str, has: frozenset[str]) -> None:
        for what in places[place]:
            if what.startswith("steps.") and what.removeprefix("steps.") not in has:
                found.add((name, place, what))

    while todo:
        at, counts, has = todo.pop()
        read(at, has)
        for outcome in outcomes(steps[at]):
            had = has | {at} if isinstance(outcome, int) else has - {at}
            if isinstance(outcome, int):
                read(f"set {at}", had)
            if outcome != 0 and "retry" in steps[at]:
                read(at, had)
            key = route_of(steps[at], outcome)
            target, after = follow(steps[at], at, key, dict(counts))
            if target is not None and not is_end(target):
                state = (target, tuple(sorted(after.items())), had)
                if state not in seen:
                    seen.add(state)
                    todo.append(state)
            elif isinstance(outcome, int):
                read("outputs", had)
    return found


def absent_nodes(doc: Doc) -> set[Absent]:
    """The reads of nodes that find nothing in some run; those of `[outputs]` in one that
    succeeds."""
    doc = with_edges(doc)
    nodes, found = list(doc["nodes"]), set()
    wanted = {r for text in doc.get("outputs", {}).values() for r in reads_of(text)}

    def read(name: str, place: str, reads: set[str], state: State) -> None:
        for what in reads & set(nodes):
            if not has_output(state[nodes.index(what)]):
                found.add((name, place, what))

    for state, starting in executions(doc):
        for name in starting:
            places = places_of(name, doc["nodes"][name])
            read(name, "when", places["when"], state)
            if state[nodes.index(name)] != "runs":
                continue
            visited, ends = ends_with_outputs(name, doc["nodes"][name])
            steps = [place for at in visited for place in (at, f"set {at}")]
            for at in ("for_each", *steps, *["outputs"] * any(has for _, has in ends)):
                read(name, at, places[at], state)
        if all(isinstance(each, tuple) or each == "skipped" for each in state):
            ends = [(name, each) for name, each in zip(nodes, state, strict=True)]
            if not any(e != "skipped" and is_unhandled(doc, n, e[0]) for n, e in ends):
                read("", "outputs", wanted, state)
    return found


def has_output(state: Any) -> bool:
    return isinstance(state, tuple) and bool(state[1])


def ends_with_outputs(name: str, node: Doc) -> tuple[set[str], set[tuple[Ending, bool]]]:
    """The steps that runs of a node visit, and the ends with: is there an output?"""
    visited, found = set(), set()
    steps = steps_of(name, node)
    todo = [(node.get("start", name), ())]
    seen: set[Any] = set(todo)
    while todo:
        at, counts = todo.pop()
        visited.add(at)
        for outcome in outcomes(steps[at]):
            key = route_of(steps[at], outcome)
            target, after = follow(steps[at], at, key, dict(counts))
            state = (target, tuple(sorted(after.items())))
            if target is None or is_end(target):
                found.add((ending(steps[at], outcome, target), isinstance(outcome, int)))
            elif state not in seen:
                seen.add(state)
                todo.append(state)
    return visited, found


def executions(doc: Doc) -> Iterator[tuple[State, set[str]]]:
    """Every state that executions come to, with the nodes whose edges have just let them run; an
    end stands with its output."""
    doc = with_edges(doc)
    names = list(doc["nodes"])
    ends: dict[str, set[tuple[Ending, bool]]] = {}
    for name, node in doc["nodes"].items():
        ends[name] = ends_with_outputs(name, node)[1]
        if "for_each" in node:
            ends[name] = {(end, True) for end in fanned(doc, name)}
        with_codes = {end for end, _ in ends[name]}
        ends[name] |= {(end, False) for end in node_endings(doc, name) - with_codes}
        if "deadline" in node:
            ends[name].add((("failed", frozenset({"timeout"})), False))
        if "for_each" not in node and unmapped(doc, node):
            ends[name].add((("failed", frozenset({"error"})), False))
    first = settle(doc, ("waits",) * len(names))
    todo, seen = list(first), set(first)
    while todo:
        state, starting = todo.pop()
        yield state, set(starting)
        for index, name in enumerate(names):
            if state[index] != "runs":
                continue
            for end in ends[name]:
                if is_over(doc, name, end[0]):
                    continue
                for new in settle(doc, (*state[:index], end, *state[index + 1 :])):
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)


def settle(doc: Doc, state: State) -> list[tuple[State, frozenset[str]]]:
    """The states once every node has decided that can, with those whose edges let them run."""
    plain = tuple(each[0] if isinstance(each, tuple) else each for each in state)
    found = []
    for after in decided(doc, plain):
        kept: list[Any] = []
        starting = set()
        for name, old, new in zip(doc["nodes"], state, after, strict=True):
            kept.append(
                old if isinstance(old, tuple) else (new, False) if isinstance(new, tuple) else new
            )
            if old == "waits" and new != "waits" and joins(doc, name, after):
                starting.add(name)
        found.append((tuple(kept), frozenset(starting)))
    return found


def joins(doc: Doc, name: str, state: State) -> bool:
    """Whether the edges of a node let it run, its `when` aside."""
    bare = {key: value for key, value in doc["nodes"][name].items() if key != "when"}
    edges = edges_of(doc, name)
    return "runs" in choices({**doc, "nodes": {**doc["nodes"], name: bare}}, name, edges, state)


# ----------------------------------------------------------------------------------- races (section 11)


def races(doc: Doc) -> dict[tuple[str, str], set[str]]:
    """By state and node, the nodes before it in the file that it races with."""
    uses = {name: states_used(doc, name) for name in doc["nodes"]}
    fans = {name: node["for_each"] for name, node in doc["nodes"].items() if "for_each" in node}
    alone = {name for name, items in fans.items() if isinstance(items, list) and len(items) < 2}
    ahead = closure({name: set(edges_of(doc, name)) for name in doc["nodes"]})
    found: dict[tuple[str, str], set[str]] = {}
    for name in (fans.keys() - alone) & started(doc):
        found |= {(state, name): {name} for state in uses[name][0]}
    for one, other in meetings(doc):
        if one not in ahead[other] and other not in ahead[one]:
            writes, others = uses[one][0], uses[other][0]
            for state in (writes & (others | uses[other][1])) | (others & uses[one][1]):
                found.setdefault((state, other), set()).add(one)
    return found


def states_used(doc: Doc, name: str) -> tuple[set[str], set[str]]:
    """The states that runs of a node write, and those they read."""
    node = doc["nodes"][name]
    visited, ends = ends_with_outputs(name, node)
    steps = [step for at, step in steps_of(name, node).items() if at in visited]
    texts = [text for s in steps for key in ("with", "set") for text in s.get(key, {}).values()]
    texts += [node.get("when", ""), node.get("for_each", "")]
    if any(has for _, has in ends):
        texts += node.get("outputs", {}).values()
    read = {state for text in texts for state in re.findall(r"state\.(\w+)", str(text))}
    return {state for step in steps for state in step.get("set", {})}, read


def meetings(doc: Doc) -> set[tuple[str, str]]:
    """The nodes of which some execution has both, in the order of the file."""
    names = list(doc["nodes"])
    return {
        (one, other)
        for state, _ in executions(doc)
        for at, one in enumerate(names)
        for other in names[at + 1 :]
        if not {state[at], state[names.index(other)]} & {"waits", "skipped"}
    }
