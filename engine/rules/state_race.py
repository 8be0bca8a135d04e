"""E506: nodes that may use one state at the same time.

Source: docs/language.md, "State".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.diagnostics import Diagnostic, Note, Rule
from engine.plan.plan import Plan
from engine.rules.locations import access_span
from engine.rules.scenario_notes import SHOWN, ends, fate_notes

if TYPE_CHECKING:
    from engine.analysis.races import Race

__all__ = ["RULE", "check"]

RULE = Rule("E506", "state-race", "a state that one node writes while another may use it")


def check(plan: Plan) -> Iterator[Diagnostic]:
    """Report each state and node that races with an earlier node of the file."""
    if not plan.state:
        return
    from engine.analysis.races import races  # most specs have no states

    for race in races(plan).found:
        node, at = plan.nodes[race.other.node], race.other.step
        alone = race.one.node == race.other.node
        yield Diagnostic(
            RULE,
            _of_itself(plan, race) if alone else _message(plan, race),
            plan.spec.source,
            access_span(plan, race.other),
            "make it an output, and set the state in a node that waits for this one"
            if alone
            else _order(plan, race),
            node.name,
            None if at is None else node.name_of(at),
            () if alone else tuple(_notes(plan, race)),
        )


def _of_itself(plan: Plan, race: Race) -> str:
    name = plan.nodes[race.one.node].name
    return f"`{name}` writes `state.{race.one.name}` for several items at the same time"


def _order(plan: Plan, race: Race) -> str:
    one, other = (plan.nodes[each.node].name for each in (race.one, race.other))
    return (
        f'make one wait for the other, such as with `{one} = "always"` in the `needs` of `{other}`'
    )


def _message(plan: Plan, race: Race) -> str:
    one, other = (plan.nodes[each.node].name for each in (race.one, race.other))
    state = f"`state.{race.one.name}`"
    if race.one.site is None and race.other.site is None:
        what = f"`{other}` and `{one}` both write {state}"
    elif race.one.site is None:
        what = f"`{other}` reads {state}, which `{one}` writes"
    else:
        what = f"`{other}` writes {state}, which `{one}` reads"
    return f"{what}, and neither waits for the other{_when(plan, race)}"


def _when(plan: Plan, race: Race) -> str:
    """Describe the scenario in which both nodes run; empty if every successful run has both."""
    if not race.run:
        return ""
    fates = [ends(plan, node, fate) for node, fate in race.run.items()][-SHOWN:]
    return f": both run when {' and '.join(fates)}"


def _notes(plan: Plan, race: Race) -> Iterator[Note]:
    verb = "writes" if race.one.site is None else "reads"
    yield Note(f"`{plan.nodes[race.one.node].name}` {verb} it here", access_span(plan, race.one))
    if race.run:
        yield from fate_notes(plan, race.run)
