"""Describe what a prepared run would do, as far as it is known before it begins; nothing is run.

An expression that reads only inputs, the environment and the run is resolved; a secret is shown as `***`; every other
expression stays as it is in the spec. Source: docs/language.md, "A document", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import EngineError
from engine.expressions.model import EvaluationError
from engine.expressions.templates import template
from engine.plan.plan import Node, Plan
from engine.runtime.preparation import Prepared

__all__ = ["outline"]

_KNOWN = frozenset({"inputs", "env", "run", "secrets"})


def outline(prepared: Prepared) -> dict[str, Any]:
    """Return the dry run as JSON data.

    Keys: `pipeline`, `inputs`, `services`, `resources`, `nodes` in an order in which they can start, and `finally`; each node
    has its `needs` and `steps`, each step its task and inputs. Raises EngineError if a known expression cannot be evaluated.
    """
    plan = prepared.plan
    known = prepared.values.scope({"id": "…", "pipeline": plan.name})
    secrets = dict.fromkeys(prepared.values.scope({})["secrets"], "***")
    scope = {name: known[name] for name in ("inputs", "env", "run")} | {"secrets": secrets}
    found: dict[str, Any] = prepared.redactor.value(
        {"pipeline": plan.name, "inputs": dict(scope["inputs"]), **_plan(plan, scope)}
    )
    return found


def _plan(plan: Plan, scope: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe a plan; `scope` is None for a sub-pipeline, whose inputs are not known yet."""
    parts = {"services": plan.probes, "resources": plan.openings}
    found: dict[str, Any] = {
        name: [_node(part, node, scope) for node in part.nodes]
        for name, part in parts.items()
        if part is not None
    }
    found["nodes"] = [_node(plan, plan.nodes[at], scope) for at in plan.order]
    if plan.closing is not None:
        closing = plan.closing
        found["finally"] = [_node(closing, closing.nodes[at], scope) for at in closing.order]
    return found


def _node(plan: Plan, node: Node, scope: Mapping[str, Any] | None) -> dict[str, Any]:
    spec = plan.spec.nodes[node.name]
    more: dict[str, Any] = {
        "needs": {plan.nodes[edge.source].name: str(edge.condition) for edge in node.edges},
        "when": spec.when,
        "for_each": _resolved(spec.for_each, scope),
        "requires": list(node.requires),
        "uses": list(node.uses),
    }
    found = {"name": node.name} | {key: value for key, value in more.items() if value}
    found["steps"] = list(_steps(plan, node, scope))
    return found


def _steps(plan: Plan, node: Node, scope: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    spec = plan.spec.nodes[node.name]
    for name, body in zip(node.step_names, node.bodies, strict=True):
        written = spec.steps[name]
        found: dict[str, Any] = {"name": name}
        if body.plan is not None:
            found |= {"pipeline": body.plan.name, "inside": _plan(body.plan, None)}
        else:
            found["task"] = body.task.id if body.task else written.task
        yield found | {"with": _resolved(dict(written.with_), scope)}


def _resolved(value: Any, scope: Mapping[str, Any] | None) -> Any:
    """Return the value with each string resolved that reads only known values."""
    if isinstance(value, Mapping):
        return {key: _resolved(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(item, scope) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    made = template(value)
    if any(read.path[0] not in (_KNOWN if scope is not None else ()) for read in made.reads):
        return value
    try:
        return made.evaluate(scope or {})
    except EvaluationError as error:
        raise EngineError(f"`{value}` cannot be evaluated: {error}") from None
