"""E506: nodes that may use one state at the same time.

Source: docs/language.md, "State".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.diagnostics import Diagnostic, RelatedSpan, Rule
from engine.plan.plan import Plan
from engine.rules.locations import find_access_span
from engine.rules.scenario_notes import MAX_SHOWN, build_scenario_notes, describe_end

if TYPE_CHECKING:
    from engine.analysis.races import Race

__all__ = ["RULE", "check"]

RULE = Rule("E506", "state-race", "a state that one node writes while another may use it")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each state and node that races with an earlier node of the file."""
    if not plan.state:
        return
    from engine.analysis.races import find_races  # most specs have no states

    for race in find_races(plan).found:
        node, at = plan.nodes[race.other.node], race.other.step
        alone = race.one.node == race.other.node
        yield Diagnostic(
            RULE,
            _describe_self_race(plan, race) if alone else _describe_race(plan, race),
            plan.spec.source,
            find_access_span(plan, race.other),
            "make it an output, and set the state in a node that waits for this one"
            if alone
            else _suggest_edge(plan, race),
            node.name,
            None if at is None else node.name_of(at),
            () if alone else tuple(_iter_notes(plan, race)),
        )


def _describe_self_race(plan: Plan, race: Race) -> str:
    name = plan.nodes[race.one.node].name
    return f"`{name}` writes `state.{race.one.name}` for several items at the same time"


def _suggest_edge(plan: Plan, race: Race) -> str:
    one, other = (plan.nodes[each.node].name for each in (race.one, race.other))
    return (
        f'make one wait for the other, such as with `{one} = "always"` in the `needs` of `{other}`'
    )


def _describe_race(plan: Plan, race: Race) -> str:
    one, other = (plan.nodes[each.node].name for each in (race.one, race.other))
    state = f"`state.{race.one.name}`"
    if race.one.site is None and race.other.site is None:
        what = f"`{other}` and `{one}` both write {state}"
    elif race.one.site is None:
        what = f"`{other}` reads {state}, which `{one}` writes"
    else:
        what = f"`{other}` writes {state}, which `{one}` reads"
    return f"{what}, and neither waits for the other{_describe_scenario(plan, race)}"


def _describe_scenario(plan: Plan, race: Race) -> str:
    """Describe the scenario in which both nodes run; empty if every successful run has both."""
    if not race.run:
        return ""
    ends = [describe_end(plan, node, end) for node, end in race.run.items()][-MAX_SHOWN:]
    return f": both run when {' and '.join(ends)}"


def _iter_notes(plan: Plan, race: Race) -> Iterator[RelatedSpan]:
    verb = "writes" if race.one.site is None else "reads"
    yield RelatedSpan(
        f"`{plan.nodes[race.one.node].name}` {verb} it here", find_access_span(plan, race.one)
    )
    if race.run:
        yield from build_scenario_notes(plan, race.run)
