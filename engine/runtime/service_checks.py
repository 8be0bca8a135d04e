"""Service checks: whether the services that nodes require work, checked before a run begins.

Each check is a node of a small run of its own, which is not stored and reports no events. The services of a
document are checked together, those of sub-pipelines too. Source: docs/language.md, "Services".
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from engine.plan.plan import Plan
from engine.record.result import Result
from engine.runtime.control import Control
from engine.runtime.options import Options
from engine.runtime.preparation import prepare
from engine.runtime.tool_calls import Execute

__all__ = ["find_failed_services", "requires_services"]


def requires_services(plan: Plan) -> bool:
    """Return whether a run of the plan requires any service."""
    return any(needed for _, needed in _iter_services_by_plan(plan))


async def find_failed_services(
    execute: Execute,
    plan: Plan,
    inputs: Mapping[str, Any],
    options: Options,
    control: Control,
) -> tuple[str, ...]:
    """Check the services and return one sentence for each that failed; `control` cancels the checks.

    A trio checkpoint.
    """
    found: list[str] = []
    chosen = Options(env=options.env, secrets=options.secrets, grace=options.grace)
    for part, needed in _iter_services_by_plan(plan):
        if needed:
            probes = _build_checks(part, needed, part is plan)
            given = inputs if part is plan else {}
            result = await execute(prepare(probes, given, chosen), control)
            found += _describe_failures(result, needed)
    return tuple(found)


def _iter_services_by_plan(plan: Plan) -> Iterator[tuple[Plan, Mapping[str, list[str]]]]:
    """Yield the plan and its sub-pipelines, each once, with the services they require and the nodes that require them."""
    for part in plan.walk_plans():
        needed: dict[str, list[str]] = defaultdict(list)
        for node in part.nodes_by_name.values():
            for name in node.requires:
                needed[name].append(node.name)
        if part.service_plan is not None:
            yield part, needed


def _build_checks(plan: Plan, needed: Mapping[str, list[str]], is_outermost: bool) -> Plan:
    """Return the plan that checks these services alone.

    That of a sub-pipeline gets no inputs, since they are not known yet.
    """
    assert plan.service_plan is not None
    nodes = [node for node in plan.service_plan.nodes if node.name in needed]
    numbered = tuple(attrs.evolve(node, index=at) for at, node in enumerate(nodes))
    return attrs.evolve(
        plan.service_plan, nodes=numbered, inputs=plan.inputs if is_outermost else {}
    )


def _describe_failures(result: Result, needed: Mapping[str, list[str]]) -> Iterator[str]:
    for name, node in result.nodes.items():
        if node.result == "succeeded":
            continue
        last = node.attempts[-1] if node.attempts else None
        why = last.error if last is not None and last.error else node.reason.message
        users = ", ".join(f"`{user}`" for user in needed[name])
        yield f"service `{name}` is not healthy: {why or node.result}; needed by {users}"
