"""Hypothesis strategies for `brute`: machines of up to four steps, pipelines of up to five nodes.

Unlike those of `strategies` they may be unbounded, unreachable and contradictory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from tests.oracle.exhaustive import (
    Doc,
    edges_of,
    names_of,
    node_endings,
    outcomes,
    steps_of,
    verdicts,
)

__all__ = [
    "costly_machines",
    "costly_pipelines",
    "machines",
    "pipelines",
    "racing_pipelines",
    "reading_machines",
    "reading_pipelines",
]

NAMED = {"task": "shell", "exits": {"odd": 3, "far": 4}}
BODIES: tuple[Doc, ...] = ({"task": "probe"}, {"task": "shell"}, NAMED)
MANY = {"type": "array", "maxItems": 3, "default": [1, 2, 3]}
FLAG = {"flag": {"type": "boolean", "default": True}, "many": MANY}


def pick(draw: st.DrawFn, choices: Sequence[Any]) -> Any:
    return choices[draw(st.integers(0, len(choices) - 1))]


def chance(draw: st.DrawFn, one_in: int) -> bool:
    return pick(draw, [False] * (one_in - 1) + [True])


@st.composite
def machines(draw: st.DrawFn) -> Doc:
    """A document with the one node `n`, a machine with bounded and unbounded routes anywhere."""
    names = ["s1", "s2", "s3", "s4"][: pick(draw, (2, 2, 3, 3, 3, 4))]
    targets = [*names, *names, "done", "fail", "done:x"]
    bounded, tight = 5, chance(draw, 2)
    steps: dict[str, Doc] = {}
    for name in names:
        step: Doc = dict(pick(draw, BODIES))
        if chance(draw, 5):
            step["timeout"] = "1s"
        if chance(draw, 6):
            step["on_interrupt"] = "route"
        step["routes"] = {}
        for key in routed(draw, step, least=1):
            route: Any = pick(draw, targets)
            if route in names and bounded and (tight or chance(draw, 2)):
                then = pick(draw, names if tight else targets)
                route = {"to": route, "max": pick(draw, (1, 2, 3)), "then": then}
                bounded -= 1
            step["routes"][key] = route
        steps[name] = step
    return document({"n": {"start": pick(draw, names), "steps": steps}})


def routed(draw: st.DrawFn, step: Doc, least: int) -> list[str]:
    """Keys for the routes of a step, no two for one exit; with luck all of them."""
    left = [*outcomes(step), "*"]
    if "timeout" not in left and chance(draw, 8):
        left.append("timeout")
    if "interrupted" not in left and chance(draw, 12):
        left.append("interrupted")
    if chance(draw, 4):
        return [key_of(draw, step, outcome) for outcome in (0, "*")]
    count = least + pick(draw, range(min(4, len(left))))
    return [key_of(draw, step, left.pop(pick(draw, range(len(left))))) for _ in range(count)]


def key_of(draw: st.DrawFn, step: Doc, outcome: Any) -> str:
    ways = [name for name, code in names_of(step).items() if code == outcome]
    return str(pick(draw, [*ways, outcome]))


@st.composite
def pipelines(draw: st.DrawFn) -> Doc:
    """A document with up to five nodes: any condition, join and `when`, `cancel` or not."""
    names = ["n1", "n2", "n3", "n4", "n5"][: pick(draw, (2, 3, 3, 3, 3, 3, 4, 4, 5))]
    doc = document({name: {} for name in names})
    if chance(draw, 3):
        doc["pipeline"]["on_failure"] = "cancel"
    order, tangled = draw(st.permutations(names)), chance(draw, 3)
    ends: dict[str, list[Any]] = {}
    for index, name in enumerate(order):
        node = doc["nodes"][name]
        if tangled:
            node.update(tangle(draw, order[:index]))
        else:
            node.update(body(draw, name))
            needs = {s: need(draw, ends[s]) for s in order[:index] if chance(draw, 2)}
            extras(draw, name, node, order[:index])
            if needs:
                node |= {"needs": needs, "join": pick(draw, ("all", "all", "any"))}
        ends[name] = sorted(called(doc, name), key=repr)
    return doc


def called(doc: Doc, name: str) -> set[Any]:
    """All that `needs` may call an end of a node, but for what an expression makes fail."""
    bare = {key: value for key, value in doc["nodes"][name].items() if key != "outputs"}
    ends = node_endings({**doc, "nodes": {**doc["nodes"], name: bare}}, name)
    return {label for _, labels in ends for label in labels}


@st.composite
def reading_machines(draw: st.DrawFn) -> Doc:
    """A machine whose steps and outputs read what steps left, with a default and without."""
    doc = draw(machines())
    node = doc["nodes"]["n"]
    names = [*node["steps"]]
    for step in node["steps"].values():
        if chance(draw, 3):
            step["retry"] = {"attempts": 2}
        if not chance(draw, 3):
            step["with"] = {each: step_read(draw, each) for each in names if chance(draw, 2)}
        if chance(draw, 3):
            step["set"] = {"x": step_read(draw, pick(draw, names))}
    doc["state"] = {"x": {"initial": 0}}
    if chance(draw, 2):
        node["outputs"] = {each: step_read(draw, each) for each in names if chance(draw, 2)}
    return doc


def step_read(draw: st.DrawFn, step: str) -> str:
    return f"${{steps.{step} ?? 0}}" if chance(draw, 4) else f"${{steps.{step}}}"


@st.composite
def reading_pipelines(draw: st.DrawFn) -> Doc:
    """A pipeline whose nodes and outputs read nodes, with a default and without."""
    doc = draw(pipelines())
    nodes = doc["nodes"]
    if chance(draw, 2):
        name = pick(draw, [*nodes])
        labelled = any(isinstance(n.get("needs", {}).get(name), list) for n in nodes.values())
        if not labelled and not nodes[name].get("outputs"):
            nodes[name] = in_two_steps(draw, nodes[name])
    for name, node in nodes.items():
        if chance(draw, 3):
            continue
        before = [each for each in nodes if each not in waiting_for(doc, name)]
        read = {each: node_read(draw, each) for each in before if chance(draw, 2)}
        place: Doc = pick(draw, [*steps_of(name, node).values()])
        if chance(draw, 5) and read:
            node["when"] = pick(draw, [*read.values()])
        elif chance(draw, 5) and read and "for_each" in node:
            node["for_each"] = pick(draw, [*read.values()])
        elif chance(draw, 4):
            node["outputs"] = {"x": "${inputs.flag}", **node.get("outputs", {}), **read}
        else:
            place["with"] = {**place.get("with", {}), **read}
        if read and chance(draw, 4):
            place["set"] = {"x": pick(draw, [*read.values()])}
    doc["state"] = {"x": {"initial": 0}}
    doc["outputs"] = {each: node_read(draw, each) for each in nodes if chance(draw, 2)}
    return doc


@st.composite
def racing_pipelines(draw: st.DrawFn) -> Doc:
    """A pipeline whose nodes read and set states in all places, some of them never reached."""
    doc = draw(pipelines())
    nodes = doc["nodes"]
    doc["state"] = {"a": {"type": "boolean", "initial": True}, "b": {"initial": 0}}
    for name in [*nodes]:
        plain = not nodes[name].get("outputs") and not any(
            isinstance(other.get("needs", {}).get(name), list) for other in nodes.values()
        )
        if plain and "steps" not in nodes[name] and chance(draw, 3):
            nodes[name] = in_two_steps(draw, nodes[name])
        use_states(draw, nodes[name], [*steps_of(name, nodes[name]).values()])
    return doc


def use_states(draw: st.DrawFn, node: Doc, steps: list[Doc]) -> None:
    for step in steps:
        if chance(draw, 3):
            step["set"] = {pick(draw, ("a", "b")): pick(draw, ("${state.a}", True, "${state.b}"))}
        if chance(draw, 4):
            step["with"] = {**step.get("with", {}), "s": pick(draw, ("${state.a}", "${state.b}"))}
    if chance(draw, 6):
        node["when"] = "state.a"
    if chance(draw, 6):
        node["outputs"] = {**node.get("outputs", {}), "s": "${state.b}"}


def in_two_steps(draw: st.DrawFn, node: Doc) -> Doc:
    keys = ("task", "exits", "with", "timeout", "on_interrupt")
    first = {key: node[key] for key in keys if key in node}
    routes = {key: pick(draw, ("two", "done", "fail:x")) for key in routed(draw, first, least=1)}
    steps = {"one": {**first, "routes": routes}, "two": dict(pick(draw, BODIES))}
    kept = {key: value for key, value in node.items() if key not in (*keys, "routes")}
    return {**kept, "start": "one", "steps": steps}


def node_read(draw: st.DrawFn, name: str) -> str:
    return f"${{{name}.x ?? true}}" if chance(draw, 5) else f"${{{name}.x}}"


def waiting_for(doc: Doc, name: str) -> set[str]:
    """The node and all that wait for it."""
    found = {name}
    for _ in doc["nodes"]:
        found |= {each for each in doc["nodes"] if found & edges_of(doc, each).keys()}
    return found


def body(draw: st.DrawFn, name: str) -> Doc:
    node: Doc = dict(pick(draw, BODIES))
    if chance(draw, 2):
        ends = ("done", "fail", "done:x", "fail:x", "fail:y")
        node["routes"] = {key: pick(draw, ends) for key in routed(draw, node, least=1)}
    one_sided = ({"0": "fail"}, {"*": "done"}, {"0": name, "*": name})  # the last never ends
    if chance(draw, 4):
        node["routes"] = pick(draw, one_sided)
    return node


def tangle(draw: st.DrawFn, before: Sequence[str]) -> Doc:
    """A plain node that wants opposite things of many others."""
    wants = ("success", "failure", ["needs_review"], ["failure"], ["success", "failure"])
    needs = {source: pick(draw, wants) for source in before if not chance(draw, 3)}
    return {"task": "probe", "needs": needs, "join": pick(draw, ("all", "any"))}


def need(draw: st.DrawFn, labels: list[Any]) -> Any:
    plain = ("success", "failure", "finished", "always")
    return [pick(draw, labels)] if labels and chance(draw, 3) else pick(draw, plain)


def extras(draw: st.DrawFn, name: str, node: Doc, before: Sequence[str]) -> None:
    reads = [f"${{{source}.x{end}}}" for source in before for end in ("", " ?? 0")]
    if chance(draw, 4):
        node["deadline"] = "5s"
    if chance(draw, 4):
        node["allow_failure"] = True
    if reads and chance(draw, 4):
        node["with"] = {"value": pick(draw, reads)}
    if chance(draw, 4):
        node["when"] = pick(draw, ("inputs.flag", "inputs.flag", "1 == 1", "1 == 2", *reads))
    if chance(draw, 4):
        lists = (["a"], ["a", "b", "c"], "${inputs.many}")
        node["for_each"] = pick(draw, (*lists, "${inputs.many}", *reads))
        node["tolerate"] = pick(draw, (0, 0, 1, "50%", "100%"))
    if chance(draw, 8):
        node["outputs"] = {"x": pick(draw, ("${inputs.flag}", f"${{steps.{name} ?? 0}}", *reads))}


def document(nodes: dict[str, Doc]) -> Doc:
    return {"engine": 1, "pipeline": {"name": "case"}, "inputs": FLAG, "nodes": nodes}


# -- what runs cost --------------------------------------------------------------------------------


@st.composite
def costly_machines(draw: st.DrawFn) -> Doc:
    """A machine whose steps have timeouts, retries and delays; some are sub-pipelines."""
    doc = draw(machines())
    if chance(draw, 4):
        doc["pipelines"] = {"child": inner(draw, 2)}
    for step in doc["nodes"]["n"]["steps"].values():
        spend(draw, doc, step)
    if chance(draw, 4):
        doc["nodes"]["n"]["deadline"] = "7s"
    return doc


@st.composite
def costly_pipelines(draw: st.DrawFn) -> Doc:
    """A pipeline whose nodes have timeouts, retries, loops and sub-pipelines."""
    doc = draw(pipelines())
    if chance(draw, 2):
        doc["pipelines"] = {"child": inner(draw, 3)}
    for name, node in doc["nodes"].items():
        if "for_each" in node and "inputs" not in str(node["for_each"]):
            node["for_each"] = pick(draw, (["a", "b"], "${inputs.many}"))  # of a known length
        spend(draw, doc, node)
        loop(draw, name, node)
    relabel(doc)
    return doc


def relabel(doc: Doc) -> None:
    """Ask for no label that no end of a node bears any more."""
    for node in doc["nodes"].values():
        for source, want in node.get("needs", {}).items():
            if isinstance(want, list):
                known = called(doc, source)
                node["needs"][source] = [x for x in want if x in known] or "finished"


def inner(draw: st.DrawFn, most: int) -> Doc:
    doc = draw(pipelines())
    names = list(doc["nodes"])[:most]
    gone = set(doc["nodes"]) - set(names)
    nodes = {name: doc["nodes"][name] for name in names}
    for name, node in nodes.items():
        for key in ("with", "when", "outputs", "for_each"):
            if key == "for_each" and key in node:
                node[key] = ["a", "b"] if "inputs" not in str(node[key]) else node[key]
            elif any(other + "." in str(node.get(key)) for other in gone):
                del node[key]
        if isinstance(node.get("needs"), dict):
            node["needs"] = {s: need for s, need in node["needs"].items() if s in nodes}
        spend(draw, {}, node)
        loop(draw, name, node)
    del doc["engine"], doc["pipeline"]["name"]
    doc["nodes"] = nodes
    relabel(doc)
    if len(verdicts(doc)) < 2:  # exits that it cannot have would be refused where it is used
        doc["nodes"] = {"n1": {"task": "probe", "timeout": "1s"}}
    if chance(draw, 4):
        doc["outputs"] = {"x": "${inputs.flag}"}
    return doc


def spend(draw: st.DrawFn, doc: Doc, step: Doc) -> None:
    """Give a step a timeout and retries, or make it a sub-pipeline."""
    if doc.get("pipelines") and chance(draw, 3):
        for key in ("task", "exits", "with", "on_interrupt"):
            step.pop(key, None)
        step["pipeline"] = "child"
        keys = ("success", "failure", "error", "*", "0", "1", *["timeout"] * ("timeout" in step))
        step["routes"] = {k: v for k, v in step.get("routes", {}).items() if k in keys}
        for number, name in (("0", "success"), ("1", "failure")):
            if name in step["routes"]:
                step["routes"].pop(number, None)
        if "timeout" in step:
            step["timeout"] = pick(draw, ("3s", "400s"))
    else:
        step["timeout"] = pick(draw, ("1s", "2s", "500ms"))
    if chance(draw, 3):
        step["retry"] = [clause(draw, step) for _ in range(pick(draw, (1, 1, 2)))]
    for route in step.get("routes", {}).values():
        if isinstance(route, dict) and chance(draw, 3):
            route["delay"] = pick(draw, ("1s", "250ms"))


def clause(draw: st.DrawFn, step: Doc) -> Doc:
    found: Doc = {"attempts": pick(draw, (1, 2, 3))}
    if chance(draw, 2):
        known = [*outcomes(step), "*", *["timeout"] * ("timeout" in step)]
        found["on"] = list({str(x): x for x in (pick(draw, known), pick(draw, known))}.values())
    if chance(draw, 2):
        found |= {"delay": pick(draw, ("1s", "4s")), "factor": pick(draw, (1.0, 2.0))}
        found |= {"jitter": pick(draw, (0.0, 0.5))}
        if chance(draw, 2):
            found["max_delay"] = "5s"
    return found


def loop(draw: st.DrawFn, name: str, node: Doc) -> None:
    """Let some routes of a node lead back to it, a few times."""
    for key, target in node.get("routes", {}).items():
        if target == name or chance(draw, 4):
            then = "fail" if target == name or not isinstance(target, str) else target
            node["routes"][key] = {"to": name, "max": pick(draw, (1, 2)), "then": then}
