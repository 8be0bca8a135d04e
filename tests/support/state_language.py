"""State machines of another language, in the neutral form of the corpus, as documents of ours.

A state is a step; the name of an error becomes an exit; a choice ends with one exit a rule; the
branches of a parallel state are the nodes of a sub-pipeline, the body of a map its only node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Doc = dict[str, Any]
Graph = dict[str, Any]

NAMED = {"*": "*", "States.ALL": "*", "States.Timeout": "timeout"}
FIRST_CHOICE, FIRST_ERROR = 10, 100


def document(graph: Graph) -> Doc:
    """A whole document with the node `machine`."""
    pipelines: Doc = {}
    doc: Doc = {"engine": 1, "nodes": {"machine": _node(graph, pipelines)}}
    return doc | ({"pipelines": pipelines} if pipelines else {})


def graphs_in(graph: Graph) -> Iterator[Graph]:
    """A graph and those inside its parallel and map states."""
    yield graph
    for state in graph["nodes"].values():
        for inner in (*(state.get("branches") or ()), *_body(state)):
            yield from graphs_in(inner)


def _body(state: Doc) -> list[Graph]:
    return [state["body"]] if state.get("body") else []


def _node(graph: Graph, pipelines: Doc) -> Doc:
    names = {name: f"s{index}" for index, name in enumerate(graph["nodes"])}
    steps = {names[n]: _step(s, names, pipelines) for n, s in graph["nodes"].items()}
    return {"start": names[graph["start"]], "steps": steps}


def _step(state: Doc, names: dict[str, str], pipelines: Doc) -> Doc:
    step, routes = _work(state, pipelines), {}
    called = _failure if "pipeline" in step else _exit
    exits = {} if "pipeline" in step else _exits(state)
    for number, rule in enumerate(state.get("routes") or ()):
        exits[f"rule_{number}"] = FIRST_CHOICE + number
        routes[f"rule_{number}"] = names[rule["to"]]
    for handler in state.get("catch") or ():
        for error in handler["on"]:
            routes.setdefault(called(error), names[handler["to"]])
    routes |= _onwards(state, names)
    if routes and "*" not in routes:
        routes["*"] = "fail"
    retry = _retry(state, called)
    if "timeout" in routes or any("timeout" in clause["on"] for clause in retry):
        step["timeout"] = "1h"
    given = {"exits": exits, "routes": routes, "retry": retry}
    return step | {key: value for key, value in given.items() if value}


def _work(state: Doc, pipelines: Doc) -> Doc:
    inner = state.get("branches") or _body(state)
    if not inner:
        return {"task": "shell", "with": {"argv": ["true"]}}
    nodes = {f"b{at}": _node(graph, pipelines) for at, graph in enumerate(inner)}
    name = f"p{len(pipelines)}"
    pipelines[name] = {"nodes": nodes}
    return {"pipeline": name}


def _onwards(state: Doc, names: dict[str, str]) -> Doc:
    if state["kind"] == "fail":
        return {"success": "fail"}
    target = state.get("next") or state.get("default")
    return {"success": names[target]} if target else {}


def _exit(error: str) -> str:
    return NAMED.get(error) or "".join(c if c.isalnum() else "_" for c in error)


def _failure(error: str) -> str:
    """A sub-pipeline has one exit for all its errors."""
    return NAMED.get(error, "failure")


def _exits(state: Doc) -> Doc:
    """The errors that a state names, each an exit."""
    errors = [
        e for h in (*(state.get("catch") or ()), *(state.get("retry") or ())) for e in h["on"]
    ]
    names = dict.fromkeys(name for e in errors if (name := _exit(e)) not in ("*", "timeout"))
    return {name: FIRST_ERROR + at for at, name in enumerate(names)}


def _retry(state: Doc, called: Callable[[str], str]) -> list[Doc]:
    clauses = []
    for each in state.get("retry") or ():
        clause: Doc = {"attempts": min(each["max_retries"] + 1, 1000)}
        clause["on"] = list(dict.fromkeys(map(called, each["on"])))
        clause["delay"] = f"{each.get('delay_s', 1)}s"
        clause["factor"] = float(max(each.get("backoff", 1), 1))
        clause["max_delay"] = "1d"
        clauses.append(clause)
    return clauses
