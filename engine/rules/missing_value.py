"""E501: a reference to a value that is missing in some run.

Source: docs/language.md, "Edges and joins", "Results", "Expressions".
"""

from __future__ import annotations

from collections.abc import Iterator

from engine.analysis.missing_outputs import Missing, missing_outputs
from engine.analysis.output_types import wrong_paths
from engine.analysis.reads import Site, sites, span_of
from engine.analysis.scenarios import Fates
from engine.analysis.step_outputs import Walk
from engine.analysis.step_reachability import Ending
from engine.diagnostics import Diagnostic, Note, Rule
from engine.plan.plan import Node, Plan
from engine.rules.locations import step_span
from engine.rules.scenario_notes import SHOWN, ends, fate_notes
from engine.toml.key_paths import show

__all__ = ["RULE", "check"]

RULE = Rule("E501", "missing-value", "a reference to a value that some runs do not have")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each read that may find no output, or an output without the field."""
    for site in sites(plan) if plan.spec.before else ():
        if site.read.path[0] in plan.spec.before and not site.read.guarded:
            message = f"a run may be cancelled before `{site.read.path[0]}` has an output"
            yield _finding(plan, site, message, ())
    missing = missing_outputs(plan).missing
    told = {id(each.site.read) for each in missing}
    yield from (_output(plan, each) for each in missing)
    for site, wrong in wrong_paths(plan):
        if wrong.kind == "optional" and not (site.read.guarded or id(site.read) in told):
            inside, part = site.read.path[: wrong.at], site.read.path[wrong.at]
            message = f"`{show(inside)}` does not always have `{part}`: its schema allows it"
            yield _finding(plan, site, f"{message}, but does not require it", ())


def _output(plan: Plan, missing: Missing) -> Diagnostic:
    site, run = missing.site, missing.run
    if isinstance(run, tuple):
        assert site.node is not None
        node = plan.nodes[site.node]
        return _finding(plan, site, _walked(node, site, run), tuple(_hops(plan, node, run)))
    return _finding(plan, site, _told(plan, site, run), tuple(fate_notes(plan, run)))


def _finding(plan: Plan, site: Site, message: str, notes: tuple[Note, ...]) -> Diagnostic:
    node = None if site.node is None else plan.nodes[site.node]
    step = None if node is None or site.step is None else node.name_of(site.step)
    cure = f"give a default, `${{{show(site.read.path)} ?? '…'}}`"
    more = _other_cure(plan, site)
    name = None if node is None else node.name
    place = span_of(plan, site)
    help = f"{cure}, or {more}" if more else cure
    return Diagnostic(RULE, message, plan.spec.source, place, help, name, step, notes)


def _other_cure(plan: Plan, site: Site) -> str | None:
    """Suggest to wait for the node's success, if that helps."""
    source = plan.index.get(str(site.read.path[0]))
    if source is None or site.node is None:
        return None
    edge = plan.nodes[site.node].sources[source]
    if edge.condition.kind == "success":
        return None
    return f'wait for its success: `{plan.nodes[source].name} = "success"` in `needs`'


# -- nodes -----------------------------------------------------------------------------------------


def _told(plan: Plan, site: Site, run: Fates) -> str:
    read = plan.index[str(site.read.path[0])]
    name, fate = plan.nodes[read].name, run[read]
    others = [ends(plan, node, other) for node, other in run.items() if node != read][:SHOWN]
    tail = ", and the run still succeeds" if site.node is None else ""
    if isinstance(fate, Ending):
        bare = (
            ""
            if fate.label in ("error", "timeout", "interrupted") or fate.exit
            else " without an exit code"
        )
        when = " and ".join([f"it ends with `{fate.label}`{bare}", *others])
        return f"`{name}` has no output when {when}{tail}"
    why = "its `when` is false" if fate == "when" else " and ".join(others)
    return f"`{name}` has no output when it is skipped{f', as {why}' if why else ''}{tail}"


# -- steps -----------------------------------------------------------------------------------------


def _walked(node: Node, site: Site, walk: Walk) -> str:
    name = str(site.read.path[1])
    own = site.step is not None and node.name_of(site.step) == name
    if own and site.key == "with":
        return f"`{name}` does not have its own output yet when its first attempt starts"
    hops = [f"`{node.name_of(at)}` ends with `{_label(node, at, o)}`" for at, o in walk]
    visited = any(node.name_of(at) == name for at, _ in walk)
    if not hops:
        return f"`{name}` has not run when the node starts here"
    more = f"after {len(hops) - SHOWN} others " if len(hops) > SHOWN else ""
    path = ", then ".join(hops[-SHOWN:])
    return f"`{name}` has {'no output' if visited else 'not run'} when {more}{path}"


def _label(node: Node, at: int, outcome: int | str) -> str:
    return node.machine.steps[at].label(outcome)


def _hops(plan: Plan, node: Node, walk: Walk) -> Iterator[Note]:
    for at, outcome in walk[-SHOWN:]:
        yield Note(f"ends with `{_label(node, at, outcome)}`", step_span(plan, node, at))
