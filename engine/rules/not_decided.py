"""N001: a question that the check could not decide within its budget.

Source: docs/language.md, "Diagnostics".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.missing_outputs import missing_outputs
from engine.analysis.node_reachability import decide
from engine.analysis.reads import Site, span_of
from engine.analysis.run_outcomes import failing, never_succeeds
from engine.analysis.step_reachability import survey, taken_routes
from engine.diagnostics import Diagnostic, Rule
from engine.plan.plan import Node, Plan
from engine.rules.locations import access_span, route_path, step_span
from engine.toml.key_paths import show
from engine.toml.source import Span

__all__ = ["RULE", "check"]

RULE = Rule("N001", "not-decided", "a question that the check could not decide within its limits")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each undecided node, step, bound, read and race, and whether any run can succeed if undecided."""
    source = plan.spec.source
    if not (plan.flawed or plan.loops) and never_succeeds(plan) is None:
        node = plan.nodes[failing(plan)[0]]
        message = f"cannot decide whether any run of `{plan.name}` can succeed"
        yield _note(plan, message, source.key(plan.place(node)), node, None)
    for index in decide(plan).undecided:
        node = plan.nodes[index]
        message = f"cannot decide whether any run starts `{node.name}`"
        yield _note(plan, message, source.key(plan.place(node)), node, None)
    for node in plan.nodes:
        yield from _in_node(plan, node)
    for site in missing_outputs(plan).undecided:
        yield _read(plan, site)
    if not plan.state:
        return
    from engine.analysis.races import races  # most specs have no states

    for one, other in races(plan).undecided:
        first, last = plan.nodes[one.node], plan.nodes[other.node]
        message = (
            f"cannot decide whether `{first.name}` and `{last.name}` race over `state.{one.name}`"
        )
        yield _note(plan, message, access_span(plan, other), last, other.step)


def _in_node(plan: Plan, node: Node) -> Iterator[Diagnostic]:
    if not node.machine.counters or node.name in plan.flawed:
        return
    found = survey(node.machine)
    for at in sorted(found.undecided):
        message = f"cannot decide whether any run visits `{node.name_of(at)}`"
        yield _note(plan, message, step_span(plan, node, at), node, at)
    for at in sorted(found.steps - found.undecided):
        for route in taken_routes(node.machine.steps[at]):
            if route.counter in found.open:
                message = f"cannot decide whether any run uses up the bound of `{route.key}`"
                span = plan.spec.source.value((*route_path(plan, node, at, route), "max"))
                yield _note(plan, message, span, node, at)


def _read(plan: Plan, site: Site) -> Diagnostic:
    message = f"cannot decide whether `{show(site.read.path)}` is always there"
    node = None if site.node is None else plan.nodes[site.node]
    return _note(plan, message, span_of(plan, site), node, site.step)


def _note(plan: Plan, message: str, span: Span, node: Node | None, step: int | None) -> Diagnostic:
    name = None if node is None else node.name
    at = None if node is None or step is None else node.name_of(step)
    return Diagnostic(RULE, message, plan.spec.source, span, None, name, at)
