"""Hypothesis strategies: small and nasty documents, with a script for the oracle and inputs.

Every case compiles by construction: references and edges go backwards along a drawn order of the
nodes (not the order in the file), and in a machine only a bounded route goes backwards along a
drawn order of its steps, its `then` never, so every machine is bounded in the sense of docs/language.md,
"Routes". Labels in `needs` are those that a search over the source's machine has seen. All times
are multiples of 0.25 s, exact in floats. Not promised: the rules from E302 on (`${…}` without `??`
may read what is absent, a node may be unreachable).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from hypothesis import strategies as st

from tests.oracle.simulator import TASKS, NeverEnds, simulate

__all__ = ["STATES", "cases", "tiny_cases"]

Doc = dict[str, Any]
Case = tuple[Doc, dict[str, Any], dict[str, Any]]

NODES = ("n1", "n2", "n3", "n4", "n5", "n6")
STEPS = ("s1", "s2", "s3", "s4")
CODES = (0, 1, 2, 3, 7)
EXITS = {  # tables of `exits` that a step may have, by its body
    "shell": ({"again": 3}, {"odd": 2, "bad": 1}, {"fine": 0, "far": 7}),
    "probe": ({"again": 3}, {"bad": 1}, {"fine": 0, "far": 7, "look": 2}),
    "pipeline": ({"bad": 1}, {"fine": 0}),
}
VALUES = (
    *({"x": 1, "y": True}, {"x": 2, "y": False}, {"x": "a", "y": None}, {"x": 0.5}),
    *({"y": True}, {"x": {"y": [1, 2]}, "y": 1}, 3, None, {"x": [1, {"y": 2}], "y": True}),
)
ITEMS = (["a"], ["a", "b"], [{"x": 1, "y": False}, "${inputs.num}", 2], ["a", "b", "c", "d"])


@dataclass(frozen=True)
class Child:
    """A sub-pipeline and the statuses that runs of it have shown."""

    doc: Doc
    shown: frozenset[str]


Made = dict[str, Child]

STATES: Doc = {
    "log": {"type": "string", "maxLength": 6, "initial": "$${"},
    "n": {"type": "integer", "maximum": 3, "initial": 0},
    "on": {"type": "boolean", "initial": True},
    "any": {"initial": {"x": [1]}},
}
CLOSING = ("f1", "f2")
"""The names of nodes in `finally`."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """(doc, script, inputs): up to six nodes of up to four steps, sub-pipelines up to two deep."""
    return whole_case(draw, nodes=6, steps=4, pipelines=2)


@st.composite
def tiny_cases(draw: st.DrawFn) -> Case:
    """The same, at most three nodes of at most two steps, no sub-pipelines: made to shrink well."""
    return whole_case(draw, nodes=3, steps=2, pipelines=0)


def whole_case(draw: st.DrawFn, nodes: int, steps: int, pipelines: int) -> Case:
    # A pipeline may use those made before it; the pools of each have names of their own.
    made: Made = {}
    for name in ("p2", "p1")[: upto(draw, pipelines)]:
        child = document(draw, min(nodes, 3), min(steps, 2), made, pool=f"pool_{name}")
        made[name] = Child(child, statuses(child, made))
    doc = {"engine": 1, **document(draw, nodes, steps, made, pool="pool")}
    used = set(pipelines_of(doc, made))
    if used:
        doc["pipelines"] = {name: made[name].doc for name in made if name in used}
    inputs: dict[str, Any] = {"num": upto(draw, 3)}
    if chance(draw, 3):
        inputs["flag"] = pick(draw, (False, True))
    return doc, script_of(draw, doc), inputs


# --------------------------------------------------------------------------------- documents


def document(draw: st.DrawFn, nodes: int, steps: int, made: Made, pool: str) -> Doc:
    names = NODES[: 1 + upto(draw, nodes - 1)]
    order = draw(st.permutations(names))  # edges go along `order`, the file follows `names`
    pooled = len(names) > 1 and chance(draw, 4)
    states = some(draw, list(STATES), least=1, most=3) if chance(draw, 2) else []
    tables: dict[str, Doc] = {}
    labels: dict[str, list[list[Any]]] = {}
    for index, name in enumerate(order):
        before = {source: labels[source] for source in order[:index]}
        node = node_table(draw, name, before, steps, made, states)
        if pooled and chance(draw, 2):
            node["pool"] = pool
        tables[name] = node
        labels[name] = labels_of(name, node, made)
    doc: Doc = {"pipeline": pipeline_table(draw)}
    doc["inputs"] = {"flag": {"type": "boolean", "default": True}, "num": {"type": "integer"}}
    if states:
        doc["state"] = {name: STATES[name] for name in states}
    if any("for_each" in node for node in tables.values()):
        length = upto(draw, 3)
        doc["inputs"]["many"] = {"type": "array", "default": [1, {"x": 2}, "c"][:length]}
    if any("pool" in node for node in tables.values()):
        doc["pools"] = {pool: 1 + upto(draw, 1)}
    doc["nodes"] = {name: tables[name] for name in names}
    if chance(draw, 4):
        doc["finally"] = closing(draw, names, steps, made, states)
        if any("for_each" in node for node in doc["finally"].values()):
            doc["inputs"].setdefault("many", {"type": "array", "default": [1]})
    readable = [*names, *(f"state.{name}" for name in states)]
    outputs = {f"o{i}": text(draw, readable, bare=8) for i in range(upto(draw, 2))}
    if outputs:
        doc["outputs"] = outputs
    return doc


def pipeline_table(draw: st.DrawFn) -> Doc:
    table: Doc = {"name": "case"}
    if chance(draw, 3):
        table["max_parallel"] = 1 + upto(draw, 2)
    if chance(draw, 2):
        table["on_failure"] = pick(draw, ("finish", "cancel", "cancel"))
    if chance(draw, 6):
        table["deadline"] = pick(draw, ("2s", "3s", "5s"))
    return table


def closing(
    draw: st.DrawFn, names: Sequence[str], steps: int, made: Made, states: list[str]
) -> dict[str, Doc]:
    """The nodes of `finally`: they may read all others, and wait for each other."""
    tables: dict[str, Doc] = {}
    labels: dict[str, list[list[Any]]] = {}
    for name in CLOSING[: 1 + upto(draw, 1)]:
        tables[name] = node_table(draw, name, dict(labels), steps, made, states, names)
        labels[name] = labels_of(name, {"deadline": "30s", **tables[name]}, made)
    return tables


def node_table(
    draw: st.DrawFn,
    name: str,
    before: dict[str, list[list[Any]]],
    steps: int,
    made: Made,
    states: list[str],
    outer: Sequence[str] = (),
) -> Doc:
    node: Doc = {}
    sources = [*before, *outer]
    needs = needs_table(draw, before)
    if needs:
        node["needs"] = needs
        if chance(draw, 4):
            node["join"] = pick(draw, ("any", "any", "all"))
    if chance(draw, 3):
        node["when"] = when(draw, sources, states)
    if chance(draw, 5):
        node["priority"] = pick(draw, (1, 0, 100))
    if chance(draw, 8):
        node["allow_failure"] = True
    if chance(draw, 4):
        node["deadline"] = pick(draw, ("1s", "500ms", "2s", "3s"))
    if chance(draw, 4):
        node |= fan_out(draw, sources)
        sources, states = ["item", "index", *sources], []  # what its items set would race
    if steps > 1 and chance(draw, 2):
        node |= machine(draw, sources, steps, made, states)
    else:
        node |= step_table(draw, Place(name, [], [name], sources, 2, states), made)
    if chance(draw, 4):
        own = [f"steps.{step}" for step in steps_of(name, node)]
        other = pick(draw, ("${inputs.flag}", "n = ${inputs.num}", "$${x}"))
        own += [f"state.{state}" for state in states]
        node["outputs"] = {"x": text(draw, [*own, *sources], bare=3), "y": other}
    return node


def fan_out(draw: st.DrawFn, sources: list[str]) -> Doc:
    read = ["${inputs.many}", *(f"${{{source}.x}}" for source in sources)]
    fan: Doc = {"for_each": pick(draw, (*ITEMS, "${inputs.many}", *read))}
    if chance(draw, 3):
        fan["max_parallel"] = 1 + upto(draw, 1)
    if chance(draw, 2):
        fan["tolerate"] = pick(draw, (1, 0, "50%", "100%"))
    return fan


def needs_table(draw: st.DrawFn, before: dict[str, list[list[Any]]]) -> Any:
    """The list form or the map form, or an empty one: no `needs`."""
    sources = [source for source in before if chance(draw, 2)]
    if not chance(draw, 2):
        return sources
    return {source: condition(draw, before[source]) for source in sources}


def condition(draw: st.DrawFn, labels: list[list[Any]]) -> Any:
    if not labels or not chance(draw, 3):
        return pick(draw, ("success", "finished", "always", "failure"))
    return [pick(draw, ways) for ways in some(draw, labels, least=1, most=2)]


def when(draw: st.DrawFn, sources: list[str], states: list[str]) -> str:
    paths = ["inputs.flag", *(f"{source}.y" for source in sources)]
    paths += [f"state.{name}" for name in states]
    path = pick(draw, paths) + pick(draw, ("", "", " ?? true", " ?? false"))
    return path if chance(draw, 2) else f"${{{path}}}"


def text(draw: st.DrawFn, readable: Sequence[str], bare: int) -> str:
    """A string that reads something; one in `bare` reads an output without a default."""
    path = pick(draw, ("inputs", *readable))
    if path == "inputs":
        return pick(draw, ("${inputs.num}", "n${inputs.num}"))
    path += "" if path.startswith("state.") else pick(draw, (".x", ".x", ".y", ""))
    if not chance(draw, bare):
        path += pick(draw, (" ?? 0", " ?? 'none'", " ?? null"))
    # Into a text goes only a `y`, never an object: how one looks inside a text is not judged.
    if (".y" in path or path.startswith(("state.n", "state.log"))) and chance(draw, 2):
        return f"<${{{path}}}>"
    return f"${{{path}}}"


# --------------------------------------------------------------------------------- steps


@dataclass(frozen=True)
class Place:
    """Where a step stands: steps after it, itself and those before it, nodes before its node."""

    name: str
    later: list[str]
    back: list[str]
    sources: list[str]
    bounded: int  # how many bounded routes it may have
    states: list[str]


def machine(draw: st.DrawFn, sources: list[str], steps: int, made: Made, states: list[str]) -> Doc:
    names = list(STEPS[: 2 + upto(draw, steps - 2)])
    order = draw(st.permutations(names))
    tables: dict[str, Doc] = {}
    bounded = 3  # of the whole machine: each may be taken three times
    for index, name in enumerate(order):
        place = Place(name, order[index + 1 :], order[: index + 1], sources, bounded, states)
        tables[name] = step = step_table(draw, place, made)
        bounded -= sum("max" in r for r in step.get("routes", {}).values() if isinstance(r, dict))
    return {"start": order[0], "steps": {name: tables[name] for name in names}}


def step_table(draw: st.DrawFn, place: Place, made: Made) -> Doc:
    body = pick(draw, ("shell", "shell", "probe", *(["pipeline"] if made else [])))
    step: Doc = {"task": body} if body in TASKS else {"pipeline": pick(draw, list(made))}
    # A one-step node has no other step to read; reading its own earlier attempts is nasty enough.
    readable = [*place.sources, *(f"steps.{other}" for other in place.back)]
    readable += [f"state.{name}" for name in place.states]
    if body == "pipeline":
        step["with"] = child_inputs(draw, readable)
    elif chance(draw, 3):
        read = text(draw, readable, bare=3)
        step["with"] = {"argv": ["run", f"-{read}"]} if body == "shell" else {"value": read}
    elif body == "shell":
        step["with"] = {"argv": ["run"]}
    if place.states and not chance(draw, 3):
        names = some(draw, place.states, least=1, most=2)
        step["set"] = {name: written(draw, name, place.name, readable) for name in names}
    if chance(draw, 3):
        step["exits"] = pick(draw, EXITS[body])
    if chance(draw, 4):
        step["timeout"] = pick(draw, ("1s", "2s", "3s", "500ms"))
    if body in TASKS and chance(draw, 6):
        step["on_interrupt"] = pick(draw, ("route", "route", "rerun", "fail"))
    outcomes = outcomes_of(step, made)
    if chance(draw, 3):
        clauses = [retry_clause(draw, step, outcomes) for _ in range(1 + upto(draw, 1))]
        step["retry"] = clauses if len(clauses) > 1 or chance(draw, 3) else clauses[0]
    routes = route_table(draw, step, outcomes, place)
    if routes:
        step["routes"] = routes
    return step


def written(draw: st.DrawFn, state: str, step: str, readable: list[str]) -> Any:
    """A value for a state, most of them fit."""
    if state == "any" or chance(draw, 6):
        return text(draw, readable, bare=3)
    if state == "log":
        return pick(draw, (f"${{state.log}}{step[-1]}", "$${", "<${run.visit}.${run.attempt}"))
    if state == "n":
        path = pick(draw, readable) + pick(draw, (".x ?? 1", ".y ?? 2"))
        return pick(draw, (1, "${run.attempt}", "${inputs.num}", "${state.n}", f"${{{path}}}"))
    return pick(draw, (False, True, "${inputs.flag}", "${state.on}"))


def child_inputs(draw: st.DrawFn, readable: list[str]) -> Doc:
    nums = [1, "${run.visit}", "${run.attempt}", "${inputs.num}"]
    given = {"num": pick(draw, [*nums, *(f"${{{path}.x ?? 1}}" for path in readable)])}
    if chance(draw, 3):
        given["flag"] = pick(draw, (True, False, "${inputs.flag}"))
    return given


def retry_clause(draw: st.DrawFn, step: Doc, outcomes: list[Any]) -> Doc:
    clause: Doc = {"attempts": pick(draw, (2, 3, 1))}
    if chance(draw, 2):
        served = some(draw, outcomes, least=1, most=2)
        clause["on"] = [pick(draw, ways(step, outcome)) for outcome in served]
    if chance(draw, 2):
        clause["delay"] = pick(draw, ("500ms", "1s", "0s", "2s"))
        clause["factor"] = pick(draw, (1, 2.0))
        if chance(draw, 3):
            clause["max_delay"] = pick(draw, ("1500ms", "1s"))
    return clause


def route_table(draw: st.DrawFn, step: Doc, outcomes: list[Any], place: Place) -> Doc:
    listed = some(draw, outcomes, least=0, most=4)
    if place.later and not chance(draw, 3):
        listed = [0, *(outcome for outcome in listed if outcome != 0)]
    bounded = place.bounded
    routes: Doc = {}
    for outcome in listed or ([0] if place.later else []):
        kinds = ["end", *["later"] * bool(place.later), *["back"] * (bounded > 0)]
        # The first leads to the next step: thus all are reachable.
        kind = "next" if place.later and not routes else pick(draw, kinds)
        key = str(pick(draw, ways(step, outcome)))
        if kind == "end":
            routes[key] = end(draw, "done" if outcome == 0 else "fail")
        else:
            to = {"next": place.later[:1], "later": place.later, "back": place.back}[kind]
            routes[key] = long_form(draw, to, place.later, must=kind == "back", may=bounded > 0)
            bounded -= "max" in routes[key]
    return routes


def end(draw: st.DrawFn, usual: str) -> str:
    return pick(draw, (usual, usual, "done", "fail")) + pick(draw, ("", "", "", ":x", ":y"))


def long_form(draw: st.DrawFn, to: list[str], later: list[str], *, must: bool, may: bool) -> Any:
    """A route to a step that must or may be bounded; its `then` always goes forwards."""
    route: Doc = {"to": pick(draw, to)}
    if must or (may and chance(draw, 5)):
        route["max"] = 1 + upto(draw, 2)
        if chance(draw, 2):
            onwards = later and chance(draw, 2)
            route["then"] = pick(draw, later) if onwards else end(draw, "done")
    if chance(draw, 4):
        route["delay"] = pick(draw, ("1s", "500ms", "0s"))
    return route if len(route) > 1 or chance(draw, 4) else route["to"]


# --------------------------------------------------------------------------------- scripts


def script_of(draw: st.DrawFn, doc: Doc) -> dict[str, list[dict[str, Any]]]:
    """Entries for each task of the document, and for single items of those in fan-outs; what hangs
    is always inside something that ends."""
    script = {}
    known = {key for key, *_ in leaves(doc, doc.get("pipelines", {}))}
    for key, ends_anyway, step in leaves(doc, doc.get("pipelines", {}), items=True):
        if key not in known and not chance(draw, 2):
            continue
        breaks = step.get("on_interrupt") == "route"
        entries = [script_entry(draw, ends_anyway, breaks) for _ in range(upto(draw, 4))]
        if entries:
            script[key] = entries
    return script


def script_entry(draw: st.DrawFn, ends_anyway: bool, breaks: bool) -> dict[str, Any]:
    kinds = (0, 0, 0, 0, 0, 1, 1, 2, 3, 7, "error", *["hang"] * (2 * ends_anyway))
    kinds += ("interrupted",) * (3 * breaks)
    kind = pick(draw, kinds)
    if kind == "hang":
        return {"outcome": "hang"}
    is_word = isinstance(kind, str)
    entry: dict[str, Any] = {"outcome": kind} if is_word else {"exit": kind}
    if chance(draw, 2):
        entry["duration"] = pick(draw, (1, 0, 0.5, 1.5, 2, 3))
    if not is_word and not chance(draw, 3):
        entry["output"] = pick(draw, VALUES)
    return entry


def leaves(
    doc: Doc,
    pipelines: dict[str, Doc],
    prefix: str = "",
    ends: bool = False,
    items: bool = False,
) -> Iterator[tuple[str, bool, Doc]]:
    """Key of every task step, with `items` also of the first items of fan-outs, whether a clock
    ends its attempts, and the step."""
    ends = ends or "deadline" in doc["pipeline"]
    for name, node in all_nodes(doc).items():
        ways = [name, *(f"{name}[{at}]" for at in range(2) if items and "for_each" in node)]
        for way, (step_name, step) in product(ways, steps_of(name, node).items()):
            key = f"{prefix}{way}/{step_name}"
            step_ends = ends or name in CLOSING or "deadline" in node or "timeout" in step
            if "pipeline" in step:
                child = pipelines[step["pipeline"]]
                yield from leaves(child, pipelines, key + "/", step_ends, items)
            else:
                yield key, step_ends, step


# --------------------------------------------------------------------------------- exits, labels


def names_of(step: Doc) -> dict[str, int]:
    """Names of exits that may be written for a step: the task's own and the step's."""
    own = TASKS[step["task"]]["exits"] if "task" in step else {"success": 0, "failure": 1}
    return {**own, **step.get("exits", {})}


def outcomes_of(step: Doc, made: Made) -> list[Any]:
    """What `on` and `routes` of a step may list."""
    is_open = "task" in step and TASKS[step["task"]]["open"]
    codes = CODES if is_open else tuple(dict.fromkeys(names_of(step).values()))
    child = made[step["pipeline"]].doc if "pipeline" in step else {"pipeline": {}}
    clocked = "timeout" in step or "deadline" in child["pipeline"]
    found = [*codes, "*", "error", *["timeout"] * clocked]
    return [*found, *["interrupted"] * (step.get("on_interrupt") == "route")]


def ways(step: Doc, outcome: Any) -> list[Any]:
    """All ways to write one outcome."""
    names = [name for name, code in names_of(step).items() if code == outcome]
    return [*names, outcome] if isinstance(outcome, int) else [outcome]


def labels_of(name: str, node: Doc, made: Made) -> list[list[Any]]:
    """Every label the node can end with, each as the ways to write it.

    A search over (step, routes taken); stops looking after 500 states.
    """
    steps = steps_of(name, node)
    outcomes = {at: possible(step, made) for at, step in steps.items()}
    found: dict[str, list[Any]] = {"timeout": ["timeout"]} if "deadline" in node else {}
    todo: list[tuple[str, tuple[Any, ...]]] = [(node.get("start", name), ())]
    seen = set(todo)
    ends: set[str] = set()
    while todo and len(seen) < 500:
        at, taken = todo.pop()
        for outcome in outcomes[at]:
            target, after = follow(at, steps[at], outcome, dict(taken))
            is_end, _, label = target.partition(":")
            state = (target, tuple(sorted(after.items())))
            if is_end in ("done", "fail"):
                ends.add(is_end)
                items = [label] if label else ways(steps[at], outcome)
                found.setdefault(str(items[-1]), items)
            elif state not in seen:
                seen.add(state)
                todo.append(state)
    if "for_each" in node:
        return [*(["timeout"] for _ in found if "deadline" in node)][:1] + fan_labels(node, ends)
    return list(found.values())


def fan_labels(node: Doc, ends: set[str]) -> list[list[Any]]:
    """The labels of a fan-out whose items have such ends."""
    items, tolerate = node["for_each"], node.get("tolerate", 0)
    found = [["success"]] if isinstance(items, str) or "done" in ends else []
    lost = tolerate != "100%" and (isinstance(items, str) or tolerate != 1 or len(items) > 1)
    return [*found, ["failure"]] if lost and "fail" in ends else found


def follow(at: str, step: Doc, outcome: Any, taken: dict[Any, int]) -> tuple[str, dict[Any, int]]:
    """Where an outcome leads, and the counters after it."""
    routes = step.get("routes", {})
    keys = [key for way in ways(step, outcome) for key in routes if key == str(way)]
    keys += [key for key in routes if key == "*" and outcome != 0]
    if not keys:
        return ("done" if outcome == 0 else "fail"), taken
    route = routes[keys[0]]
    if isinstance(route, str):
        return route, taken
    times = taken.get((at, keys[0]), 0)
    if "max" in route and times >= route["max"]:
        return route.get("then", "fail"), taken
    return route["to"], {**taken, (at, keys[0]): times + 1} if "max" in route else taken


def possible(step: Doc, made: Made) -> list[Any]:
    """Outcomes that surely can come; of a sub-pipeline those that some run of it has shown."""
    if "task" in step:
        return [outcome for outcome in outcomes_of(step, made) if outcome != "*"]
    shown = made[step["pipeline"]].shown
    ends = {"succeeded": 0, "failed": 1, "cancelled": "timeout"}
    outcomes = [ends[status] for status in sorted(shown)]
    return [*outcomes, *["timeout"] * ("timeout" in step and "timeout" not in outcomes)]


def statuses(child: Doc, made: Made) -> frozenset[str]:
    """Statuses of runs of the child in each of which every attempt ends alike."""
    pipelines = {name: other.doc for name, other in made.items()}
    alike = [*({"exit": code, "duration": 0} for code in CODES), {"outcome": "error"}]
    shown = set()
    for entry in [*alike, {"outcome": "hang"}]:
        script = {key: [entry] for key, *_ in leaves(child, pipelines)}
        try:
            run = simulate({**child, "pipelines": pipelines}, script, {"num": 1})
        except NeverEnds:
            continue
        shown.add(run["status"])
    return frozenset(shown)


# --------------------------------------------------------------------------------- small helpers


def upto(draw: st.DrawFn, most: int) -> int:
    return draw(st.integers(0, most)) if most > 0 else 0


def pick(draw: st.DrawFn, choices: Sequence[Any]) -> Any:
    """One of the choices; shrinks to the first. Much faster than a `sampled_from` made anew."""
    return choices[upto(draw, len(choices) - 1)]


def chance(draw: st.DrawFn, one_in: int) -> bool:
    """True in about one of `one_in` cases; shrinks to False."""
    return upto(draw, one_in - 1) == one_in - 1


def some(draw: st.DrawFn, choices: Sequence[Any], least: int, most: int) -> list[Any]:
    """Different ones of the choices."""
    left = list(choices)
    count = least + upto(draw, min(most, len(left)) - least)
    return [left.pop(upto(draw, len(left) - 1)) for _ in range(count)]


def all_nodes(doc: Doc) -> dict[str, Doc]:
    """With those of `finally`."""
    return {**doc["nodes"], **doc.get("finally", {})}


def steps_of(name: str, node: Doc) -> dict[str, Doc]:
    return node.get("steps", {name: node})


def pipelines_of(doc: Doc, made: Made) -> Iterator[str]:
    """Names of the sub-pipelines that a document uses, itself or through others."""
    for name, node in all_nodes(doc).items():
        for step in steps_of(name, node).values():
            if "pipeline" in step:
                yield step["pipeline"]
                yield from pipelines_of(made[step["pipeline"]].doc, made)
