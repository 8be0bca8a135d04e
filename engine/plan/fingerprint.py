"""Compute the hash of a plan: documents of equal meaning have equal hashes.

Comments, layout, descriptions and groups do not count, nor whether a default is written out. The order of nodes
does count, since it breaks ties. Sub-pipelines count by their own hash, tasks by their id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from engine.language.spec import NodeSpec, RouteSpec, Spec, StepSpec
from engine.plan.plan import Body, Node, Plan

__all__ = ["fingerprint", "of_nodes"]

VERSION = 1
_NO_MEANING = frozenset(
    {"description", "group", "single", "source", "at", "files", "broken"}
    | {"pipelines", "steps", "unfolded"}
)

_OF_FANS = frozenset({"for_each", "max_parallel", "tolerate"})


def fingerprint(spec: Spec, nodes: Sequence[Node], parts: Mapping[str, Plan]) -> str:
    """Return the SHA-256 of the meaning of a document, in hexadecimal."""
    meaning = {
        "version": VERSION,
        "name": spec.name,
        "pipeline": _plain(attrs.evolve(spec.pipeline, name=None)),
        "inputs": spec.inputs,
        "state": spec.state,
        "pools": spec.pools,
        "outputs": spec.outputs,
        "nodes": [_node(node, spec.nodes[node.name]) for node in nodes],
    }
    meaning |= {name: part.hash for name, part in parts.items()}
    return _hash(meaning)


def of_nodes(spec: Spec, nodes: Sequence[Node]) -> dict[str, str]:
    """Return the SHA-256 of the meaning of each node by name, sub-pipelines included."""
    return {node.name: _hash(_node(node, spec.nodes[node.name])) for node in nodes}


def _hash(meaning: Any) -> str:
    import hashlib  # a check asks for no hash, and OpenSSL takes its time

    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _node(node: Node, spec: NodeSpec) -> list[Any]:
    steps = zip(spec.steps.items(), node.bodies, strict=True)
    return [node.name, _own(node, spec), sorted(_step(*step, body) for step, body in steps)]


def _own(node: Node, spec: NodeSpec) -> Any:
    """Return the keys of a node itself, with the defaults of a fan-out written out."""
    plain = _plain(spec)
    if node.fan is None:
        return {key: value for key, value in plain.items() if key not in _OF_FANS}
    allowed = node.fan.tolerate
    tolerate = [allowed.count, str(allowed.share)]
    return plain | {"max_parallel": node.fan.max_parallel, "tolerate": tolerate}


def _step(name: str, step: StepSpec, body: Body) -> list[str]:
    child = body.plan.hash if body.plan else None
    routes = {key: _plain(_spelled_out(route)) for key, route in step.routes.items()}
    plain = _plain(step) | {"pipeline": child, "routes": routes}
    if body.called:
        plain["called"] = {" ".join(name): plan.hash for name, plan in body.called.items()}
    return [name, json.dumps(plain, sort_keys=True, default=str)]


def _spelled_out(route: RouteSpec) -> RouteSpec:
    then = "fail" if route.max is not None and route.then is None else route.then
    return attrs.evolve(route, then=then, delay=route.delay or None)


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.name not in _NO_MEANING
        }
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
