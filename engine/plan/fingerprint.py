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
from engine.plan.plan import Node, Plan, StepBody

__all__ = ["fingerprint", "fingerprint_nodes"]

VERSION = 1
_IGNORED_FIELDS = frozenset(
    {"description", "group", "single", "source", "key_path", "files", "omitted_paths"}
    | {"pipelines", "steps", "from_task_class"}
)

_PART_KEYS = {"finally_plan": "closing", "service_plan": "probes", "resource_plan": "openings"}
"""The keys of the plans inside a plan, by its fields; hashes of stored runs depend on them."""
_FAN_OUT_FIELDS = frozenset({"for_each", "max_parallel", "tolerate"})


def fingerprint(spec: Spec, nodes: Sequence[Node], parts: Mapping[str, Plan]) -> str:
    """Return the SHA-256 of the meaning of a document, in hexadecimal."""
    meaning = {
        "version": VERSION,
        "name": spec.name,
        "pipeline": _to_plain_data(attrs.evolve(spec.pipeline, name=None)),
        "inputs": spec.inputs,
        "state": spec.state,
        "pools": spec.pools,
        "outputs": spec.outputs,
        "nodes": [_describe_node(node, spec.nodes[node.name]) for node in nodes],
    }
    meaning |= {_PART_KEYS[name]: part.hash for name, part in parts.items()}
    return _hash_meaning(meaning)


def fingerprint_nodes(spec: Spec, nodes: Sequence[Node]) -> dict[str, str]:
    """Return the SHA-256 of the meaning of each node by name, sub-pipelines included."""
    return {node.name: _hash_meaning(_describe_node(node, spec.nodes[node.name])) for node in nodes}


def _hash_meaning(meaning: Any) -> str:
    import hashlib  # a check asks for no hash, and OpenSSL takes its time

    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _describe_node(node: Node, spec: NodeSpec) -> list[Any]:
    steps = zip(spec.steps.items(), node.bodies, strict=True)
    return [
        node.name,
        _describe_own_keys(node, spec),
        sorted(_describe_step(*step, body) for step, body in steps),
    ]


def _describe_own_keys(node: Node, spec: NodeSpec) -> Any:
    """Return the keys of a node itself, with the defaults of a fan-out written out."""
    plain = _to_plain_data(spec)
    if node.fan is None:
        return {key: value for key, value in plain.items() if key not in _FAN_OUT_FIELDS}
    allowed = node.fan.tolerate
    tolerate = [allowed.count, str(allowed.share)]
    return plain | {"max_parallel": node.fan.max_parallel, "tolerate": tolerate}


def _describe_step(name: str, step: StepSpec, body: StepBody) -> list[str]:
    child = body.plan.hash if body.plan else None
    routes = {key: _to_plain_data(_with_defaults(route)) for key, route in step.routes.items()}
    plain = _to_plain_data(step) | {"pipeline": child, "routes": routes}
    if body.called_plans:
        plain["called"] = {" ".join(name): plan.hash for name, plan in body.called_plans.items()}
    return [name, json.dumps(plain, sort_keys=True, default=str)]


def _with_defaults(route: RouteSpec) -> RouteSpec:
    then = "fail" if route.max is not None and route.then is None else route.then
    return attrs.evolve(route, then=then, delay=route.delay or None)


def _to_plain_data(value: Any) -> Any:
    if attrs.has(type(value)):
        return {
            field.name: _to_plain_data(getattr(value, field.name))
            for field in attrs.fields(type(value))
            if field.name not in _IGNORED_FIELDS
        }
    if isinstance(value, dict):
        return {str(key): _to_plain_data(item) for key, item in value.items()}
    return [_to_plain_data(item) for item in value] if isinstance(value, tuple) else value
