"""N001: a question that the check could not decide within its budget.

Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.missing_outputs import find_missing_outputs
from engine.analysis.node_reachability import find_reachable_nodes
from engine.analysis.reads import ReadSite, span_of_site
from engine.analysis.run_outcomes import can_never_succeed, find_always_failing_nodes
from engine.analysis.step_reachability import analyse_steps, list_usable_routes
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_access_span, find_route_path, find_step_span
from engine.toml.key_paths import format_path
from engine.toml.source import Span

__all__ = ["RULE", "check"]

RULE = Rule("N001", "not-decided", "a question that the check could not decide within its limits")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each undecided node, step, bound, read and race, and whether any run can succeed if undecided."""
    source = plan.spec.source
    if not (plan.invalid_nodes or plan.loops) and can_never_succeed(plan) is None:
        node = plan.nodes[find_always_failing_nodes(plan)[0]]
        message = f"cannot decide whether any run of `{plan.name}` can succeed"
        yield _build_note(plan, message, source.key_span(plan.key_path_of(node)), node, None)
    for index in find_reachable_nodes(plan).undecided:
        node = plan.nodes[index]
        message = f"cannot decide whether any run starts `{node.name}`"
        yield _build_note(plan, message, source.key_span(plan.key_path_of(node)), node, None)
    for node in plan.nodes:
        yield from _check_node(plan, node)
    for site in find_missing_outputs(plan).undecided:
        yield _build_read_note(plan, site)
    if not plan.state:
        return
    from engine.analysis.races import find_races  # most specs have no states

    for one, other in find_races(plan).undecided:
        first, last = plan.nodes[one.node], plan.nodes[other.node]
        message = (
            f"cannot decide whether `{first.name}` and `{last.name}` race over `state.{one.name}`"
        )
        yield _build_note(plan, message, find_access_span(plan, other), last, other.step)


def _check_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if not node.machine.counters or node.name in plan.invalid_nodes:
        return
    found = analyse_steps(node.machine)
    for at in sorted(found.undecided):
        message = f"cannot decide whether any run visits `{node.name_of(at)}`"
        yield _build_note(plan, message, find_step_span(plan, node, at), node, at)
    for at in sorted(found.steps - found.undecided):
        for route in list_usable_routes(node.machine.steps[at]):
            if route.counter in found.open:
                message = f"cannot decide whether any run uses up the bound of `{route.key}`"
                span = plan.spec.source.value_span((*find_route_path(plan, node, at, route), "max"))
                yield _build_note(plan, message, span, node, at)


def _build_read_note(plan: Plan, site: ReadSite) -> Diagnostic:
    message = f"cannot decide whether `{format_path(site.read.path)}` is always there"
    node = None if site.node is None else plan.nodes[site.node]
    return _build_note(plan, message, span_of_site(plan, site), node, site.step)


def _build_note(
    plan: Plan, message: str, span: Span, node: Node | None, step: int | None
) -> Diagnostic:
    name = None if node is None else node.name
    at = None if node is None or step is None else node.name_of(step)
    return Diagnostic(RULE, message, plan.spec.source, span, None, name, at)
