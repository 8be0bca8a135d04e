"""Describe what a prepared run would do, as far as it is known before it begins; nothing is run.

An expression that reads only inputs, the environment and the run is resolved; a secret is shown as `***`; every other
expression stays as it is in the spec. Source: docs/language.md, "A document", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import EngineError
from engine.expressions.model import EvaluationError
from engine.expressions.templates import parse_template
from engine.plan.plan import Node, Plan
from engine.runtime.preparation import PreparedRun

__all__ = ["describe_dry_run"]

_KNOWN_ROOTS = frozenset({"inputs", "env", "run", "secrets"})


def describe_dry_run(prepared: PreparedRun) -> dict[str, Any]:
    """Return the dry run as JSON data.

    Keys: `pipeline`, `inputs`, `services`, `resources`, `nodes` in an order in which they can start, and `finally`; each node
    has its `needs` and `steps`, each step its task and inputs. Raises EngineError if a known expression cannot be evaluated.
    """
    plan = prepared.plan
    known = prepared.values.build_scope({"id": "…", "pipeline": plan.name})
    secrets = dict.fromkeys(prepared.values.build_scope({})["secrets"], "***")
    scope = {name: known[name] for name in ("inputs", "env", "run")} | {"secrets": secrets}
    found: dict[str, Any] = prepared.redactor.redact_value(
        {"pipeline": plan.name, "inputs": dict(scope["inputs"]), **_describe_plan(plan, scope)}
    )
    return found


def _describe_plan(plan: Plan, scope: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe a plan; `scope` is None for a sub-pipeline, whose inputs are not known yet."""
    parts = {"services": plan.service_plan, "resources": plan.resource_plan}
    found: dict[str, Any] = {
        name: [_describe_node(part, node, scope) for node in part.nodes]
        for name, part in parts.items()
        if part is not None
    }
    found["nodes"] = [_describe_node(plan, plan.nodes[at], scope) for at in plan.order]
    if plan.finally_plan is not None:
        closing = plan.finally_plan
        found["finally"] = [
            _describe_node(closing, closing.nodes[at], scope) for at in closing.order
        ]
    return found


def _describe_node(plan: Plan, node: Node, scope: Mapping[str, Any] | None) -> dict[str, Any]:
    spec = plan.spec.nodes[node.name]
    more: dict[str, Any] = {
        "needs": {plan.nodes[edge.source].name: str(edge.condition) for edge in node.edges},
        "when": spec.when,
        "for_each": _resolve_known(spec.for_each, scope),
        "requires": list(node.requires),
        "uses": list(node.uses),
    }
    found = {"name": node.name} | {key: value for key, value in more.items() if value}
    found["steps"] = list(_describe_steps(plan, node, scope))
    return found


def _describe_steps(
    plan: Plan, node: Node, scope: Mapping[str, Any] | None
) -> Iterator[dict[str, Any]]:
    spec = plan.spec.nodes[node.name]
    for name, body in zip(node.step_names, node.bodies, strict=True):
        written = spec.steps[name]
        found: dict[str, Any] = {"name": name}
        if body.plan is not None:
            found |= {"pipeline": body.plan.name, "inside": _describe_plan(body.plan, None)}
        else:
            found["task"] = body.task.id if body.task else written.task
        yield found | {"with": _resolve_known(dict(written.with_), scope)}


def _resolve_known(value: Any, scope: Mapping[str, Any] | None) -> Any:
    """Return the value with each string resolved that reads only known values."""
    if isinstance(value, Mapping):
        return {key: _resolve_known(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolve_known(item, scope) for item in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    made = parse_template(value)
    if any(read.path[0] not in (_KNOWN_ROOTS if scope is not None else ()) for read in made.reads):
        return value
    try:
        return made.evaluate(scope or {})
    except EvaluationError as error:
        raise EngineError(f"`{value}` cannot be evaluated: {error}") from None
