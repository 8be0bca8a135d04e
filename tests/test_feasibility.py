"""T3: what is reported unreachable is exactly what no run reaches, against `brute`."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import HealthCheck, given, settings

from engine.diagnostics import Diagnostic
from engine.ends import ends_of, survey
from engine.feasibility import Clash, decide
from engine.machine import Machine
from engine.plan import Plan
from engine.rules import RULES
from tests import brute
from tests.kit import plan_of
from tests.small import machines, pipelines

Doc = dict[str, Any]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))
SHELL: Doc = {"task": "shell"}
PROBE: Doc = {"task": "probe"}


def findings(plan: Plan) -> list[Diagnostic]:
    return [found for _, rule in RULES for found in rule(plan)]


def steps_with(code: str, found: list[Diagnostic]) -> set[str | None]:
    return {each.step for each in found if each.rule.code == code}


def machine_agrees(doc: Doc) -> None:
    """E301, E302 and E303 of a machine, and how it can end, are those of `brute`."""
    plan, node = plan_of(doc), doc["nodes"]["n"]
    found = findings(plan)
    visited, endings = brute.walk("n", node)
    parts = brute.endless("n", node)
    assert steps_with("E302", found) == set(node["steps"]) - visited
    assert steps_with("E303", found) == brute.trapped("n", node) - set().union(*parts)
    closing = steps_with("E301", found)
    assert closing <= set().union(*parts)
    assert all(closing & part for part in parts)
    assert survey(plan.nodes[0].machine).undecided == frozenset()
    assert ends_by_name(plan.nodes[0].machine) == {
        (result, name) for result, called in endings for name in called if is_name(name)
    }


def ends_by_name(machine: Machine) -> set[tuple[str, str]]:
    """Every end under each of its names; those with a number alone left out."""
    found = set()
    for end in ends_of(machine, ()):
        aliases = machine.steps[end.step].aliases.items()
        called = {end.label, *(name for name, code in aliases if code == end.code)}
        found |= {(end.result, name) for name in called if is_name(name)}
    return found


def is_name(label: object) -> bool:
    return isinstance(label, str) and not label.isdecimal()


def pipeline_agrees(doc: Doc) -> None:
    """E401 is on the nodes that no execution starts; each contradiction hangs together."""
    plan = plan_of(doc)
    found = [each.node for each in findings(plan) if each.rule.code == "E401"]
    assert set(found) == set(doc["nodes"]) - brute.started(doc)
    decided = decide(plan)
    assert decided.undecided == ()
    for target, cause in decided.never.items():
        if isinstance(cause, Clash):
            for path in cause.paths:
                assert (path[0].target, path[-1].source) == (target, cause.node)
                assert all(e.source == after.target for e, after in itertools.pairwise(path))


@given(machines())
@settings(RELAXED, max_examples=400)
def test_steps_and_ends_are_exactly_those_that_some_run_reaches(doc: Doc) -> None:
    machine_agrees(doc)


@given(pipelines())
@settings(RELAXED, max_examples=400)
def test_nodes_are_exactly_those_that_some_run_starts(doc: Doc) -> None:
    pipeline_agrees(doc)
