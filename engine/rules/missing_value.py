"""E501: a reference to a value that is missing in some run.

Source: docs/language.md, "Edges and joins", "Results", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.missing_outputs import MissingOutput, find_missing_outputs
from engine.analysis.output_types import check_paths
from engine.analysis.reads import ReadSite, iter_read_sites, span_of_site
from engine.analysis.scenarios import Scenario
from engine.analysis.step_outputs import Trace
from engine.analysis.step_reachability import Ending
from engine.diagnostics import Diagnostic, RelatedSpan, Rule
from engine.plan.plan import Node, Plan
from engine.rules.locations import find_step_span
from engine.rules.scenario_notes import MAX_SHOWN, build_scenario_notes, describe_end
from engine.toml.key_paths import format_path

__all__ = ["RULE", "check"]

RULE = Rule("E501", "missing-value", "a reference to a value that some runs do not have")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each read that may find no output, or an output without the field."""
    for site in iter_read_sites(plan) if plan.spec.finished_nodes else ():
        if site.read.path[0] in plan.spec.finished_nodes and not site.read.may_be_absent:
            message = f"a run may be cancelled before `{site.read.path[0]}` has an output"
            yield _build_diagnostic(plan, site, message, ())
    missing = find_missing_outputs(plan).missing
    reported = {id(each.site.read) for each in missing}
    yield from (_report_missing_output(plan, each) for each in missing)
    for site, wrong in check_paths(plan):
        if wrong.kind == "optional" and not (site.read.may_be_absent or id(site.read) in reported):
            inside, part = site.read.path[: wrong.at], site.read.path[wrong.at]
            message = f"`{format_path(inside)}` does not always have `{part}`: its schema allows it"
            yield _build_diagnostic(plan, site, f"{message}, but does not require it", ())


def _report_missing_output(plan: Plan, missing: MissingOutput) -> Diagnostic:
    site, run = missing.site, missing.run
    if isinstance(run, tuple):
        assert site.node is not None
        node = plan.nodes[site.node]
        return _build_diagnostic(
            plan,
            site,
            _describe_step_trace(node, site, run),
            tuple(_iter_trace_notes(plan, node, run)),
        )
    return _build_diagnostic(
        plan, site, _describe_node_scenario(plan, site, run), tuple(build_scenario_notes(plan, run))
    )


def _build_diagnostic(
    plan: Plan, site: ReadSite, message: str, notes: tuple[RelatedSpan, ...]
) -> Diagnostic:
    node = None if site.node is None else plan.nodes[site.node]
    step = None if node is None or site.step is None else node.name_of(site.step)
    advice = f"give a default, `${{{format_path(site.read.path)} ?? '…'}}`"
    more = _suggest_edge(plan, site)
    name = None if node is None else node.name
    place = span_of_site(plan, site)
    help = f"{advice}, or {more}" if more else advice
    return Diagnostic(RULE, message, plan.spec.source, place, help, name, step, notes)


def _suggest_edge(plan: Plan, site: ReadSite) -> str | None:
    """Suggest to wait for the node's success, if that helps."""
    source = plan.index.get(str(site.read.path[0]))
    if source is None or site.node is None:
        return None
    edge = plan.nodes[site.node].sources[source]
    if edge.condition.kind == "success":
        return None
    return f'wait for its success: `{plan.nodes[source].name} = "success"` in `needs`'


# -- nodes -----------------------------------------------------------------------------------------


def _describe_node_scenario(plan: Plan, site: ReadSite, scenario: Scenario) -> str:
    read = plan.index[str(site.read.path[0])]
    name, end = plan.nodes[read].name, scenario[read]
    others = [describe_end(plan, node, other) for node, other in scenario.items() if node != read][
        :MAX_SHOWN
    ]
    tail = ", and the run still succeeds" if site.node is None else ""
    if isinstance(end, Ending):
        bare = (
            ""
            if end.label in ("error", "timeout", "interrupted") or end.exit
            else " without an exit code"
        )
        when = " and ".join([f"it ends with `{end.label}`{bare}", *others])
        return f"`{name}` has no output when {when}{tail}"
    why = "its `when` is false" if end == "when" else " and ".join(others)
    return f"`{name}` has no output when it is skipped{f', as {why}' if why else ''}{tail}"


# -- steps -----------------------------------------------------------------------------------------


def _describe_step_trace(node: Node, site: ReadSite, trace: Trace) -> str:
    name = str(site.read.path[1])
    own = site.step is not None and node.name_of(site.step) == name
    if own and site.key == "with":
        return f"`{name}` does not have its own output yet when its first attempt starts"
    hops = [f"`{node.name_of(at)}` ends with `{_find_label(node, at, o)}`" for at, o in trace]
    visited = any(node.name_of(at) == name for at, _ in trace)
    if not hops:
        return f"`{name}` has not run when the node starts here"
    more = f"after {len(hops) - MAX_SHOWN} others " if len(hops) > MAX_SHOWN else ""
    path = ", then ".join(hops[-MAX_SHOWN:])
    return f"`{name}` has {'no output' if visited else 'not run'} when {more}{path}"


def _find_label(node: Node, at: int, outcome: int | str) -> str:
    return node.machine.steps[at].describe_outcome(outcome)


def _iter_trace_notes(plan: Plan, node: Node, trace: Trace) -> Iterator[RelatedSpan]:
    for at, outcome in trace[-MAX_SHOWN:]:
        yield RelatedSpan(
            f"ends with `{_find_label(node, at, outcome)}`", find_step_span(plan, node, at)
        )
