"""The hash of a plan: equal for equal meaning, whatever the comments, the layout and the short or long form.

The order of nodes is meaning (it breaks ties); descriptions and groups are not. Sub-pipelines count by their own hash.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import attrs

from engine.plan import Node
from engine.spec import NodeSpec, Spec, StepSpec

__all__ = ["fingerprint"]

VERSION = 1
_NO_MEANING = frozenset({"description", "group", "single", "source", "at", "files", "broken", "pipelines", "steps"})


def fingerprint(spec: Spec, nodes: Sequence[Node]) -> str:
    """SHA-256 in hexadecimal of what a document means."""
    meaning = {
        "version": VERSION,
        "name": spec.name,
        "pipeline": _plain(spec.pipeline),
        "inputs": spec.inputs,
        "pools": spec.pools,
        "outputs": spec.outputs,
        "nodes": [_node(node, spec.nodes[node.name]) for node in nodes],
    }
    text = json.dumps(meaning, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _node(node: Node, spec: NodeSpec) -> list[Any]:
    steps = [_step(node, index, name, step) for index, (name, step) in enumerate(spec.steps.items())]
    return [node.name, _plain(spec), sorted(steps)]


def _step(node: Node, index: int, name: str, step: StepSpec) -> list[Any]:
    child = node.bodies[index].plan
    plain = _plain(step) | {"pipeline": child.hash if child else None}
    return [name, json.dumps(plain, sort_keys=True, default=str)]


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
