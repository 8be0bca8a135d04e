"""T1 and T2: the same exits and outputs give the same results and the same state, whatever the timing and the interleaving, on the
real clock too; of nodes that race the check would tell, so they are ordered here."""

from __future__ import annotations

import copy
from typing import Any

import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.analysis.races import Race, find_races
from engine.errors import EngineError
from engine.plan.plan import Plan
from engine.record.result import Outcome, Result
from engine.runtime.options import Options
from engine.runtime.trio_runs import run_plan
from engine.scheduling.scheduler import AttemptState
from engine.testing.scripts import Script, ScriptedEnd, iter_script_keys, parse_script
from engine.testing.simulation import simulate
from tests.support.plans import comparable, plan_of
from tests.support.strategies import cases

Case = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))


def timeless(case: Case) -> Case:
    """The case with nothing that a clock decides: times to end in are never used up."""
    doc, script, inputs = copy.deepcopy(case)
    _without_clocks(doc)
    for endings in script.values():
        for ending in endings:
            if ending.get("outcome") == "hang":
                ending["outcome"] = "error"
    return doc, script, inputs


def ordered(case: Case) -> Case:
    """The case with an edge for each race that the check tells."""
    doc, script, inputs = case
    while told := [(p, race) for p in plan_of(doc).walk_plans() for race in find_races(p).found]:
        _order(doc, *told[0])
    return doc, script, inputs


def _order(doc: dict[str, Any], plan: Plan, race: Race) -> None:
    for part in plan.spec.key_path:
        doc = doc[part]
    one, other = (plan.nodes[access.node].name for access in (race.one, race.other))
    nodes = doc[plan.spec.table]
    needs = nodes[other].get("needs", {})
    needs = needs if isinstance(needs, dict) else dict.fromkeys(needs, "success")
    nodes[other]["needs"] = {**needs, one: "always"}


def _without_clocks(value: Any) -> None:
    if isinstance(value, dict):
        for key in ("deadline", "timeout"):
            if str(value.get(key, ""))[:1].isdigit():
                value[key] = "100h"
        if value.get("on_failure") == "cancel":
            value["on_failure"] = "finish"
        for node in value.get("finally", {}).values():
            node.setdefault("deadline", "100h")
        for item in value.values():
            _without_clocks(item)
    elif isinstance(value, list):
        for item in value:
            _without_clocks(item)


def defined(data: Any) -> Any:
    """A comparable result without its times."""
    if isinstance(data, dict):
        return {key: defined(item) for key, item in data.items() if key not in ("started", "ended")}
    return [defined(item) for item in data] if isinstance(data, list) else data


def ends_at_once(script: Script) -> Any:
    """Bodies that do what the script says in no time, after letting others run."""
    used: dict[str, int] = {}

    async def perform(attempt: AttemptState) -> Outcome:
        served = (script[each] for each in iter_script_keys(attempt.path) if each in script)
        endings = next(served, (ScriptedEnd(),))
        count = used.get(attempt.path, 0)
        used[attempt.path] = count + 1
        await trio.lowlevel.checkpoint()
        ending = endings[min(count, len(endings) - 1)]
        if ending.outcome in ("error", "interrupted"):
            return Outcome(ending.outcome, error="scripted")
        assert isinstance(ending.outcome, int)
        return Outcome(ending.outcome, ending.output)

    return perform


@given(
    cases().map(timeless).map(ordered),
    st.lists(st.sampled_from([0.0, 0.25, 1.0, 7.0]), min_size=5, max_size=5),
)
@settings(RELAXED, max_examples=60)
def test_durations_do_not_change_results(case: Case, durations: list[float]) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    other = {
        path: [
            {**ending, "duration": durations[(at + len(path)) % 5]}
            for at, ending in enumerate(endings)
        ]
        for path, endings in script.items()
    }
    one = simulate(plan, parse_script(script, plan), inputs)
    two = simulate(plan, parse_script(other, plan), inputs)
    assert defined(comparable(one)) == defined(comparable(two))


@given(cases().map(timeless).map(ordered))
@settings(RELAXED, max_examples=60)
def test_the_real_clock_and_random_scheduling_give_what_the_virtual_clock_gives(case: Case) -> None:
    doc, script, inputs = case
    _without_delays(doc)
    plan = plan_of(doc)
    parsed = parse_script(script, plan)
    expected = defined(comparable(simulate(plan, parsed, inputs)))
    for _ in range(3):
        options = Options(perform=ends_at_once(parsed))
        real = trio.run(run_plan, plan, inputs, options)
        assert defined(comparable(real)) == expected


def _without_delays(value: Any) -> None:
    if isinstance(value, dict):
        if isinstance(value.get("delay"), str):
            del value["delay"]
        if isinstance(value.get("max_delay"), str):
            del value["max_delay"]
        for item in value.values():
            _without_delays(item)
    elif isinstance(value, list):
        for item in value:
            _without_delays(item)


def most_attempts(plan: Plan) -> int:
    """No fewer than any run of a plan takes: between two uses of bounded routes no step of a node is visited twice, and no list of
    the strategies has more than four items."""
    total = 0
    for node in plan.nodes:
        taken = sum(route.max or 0 for step in node.machine.steps for route in step.iter_routes())
        for step, body in zip(node.machine.steps, node.bodies, strict=True):
            tries = 1 + sum(clause.attempts - 1 for clause in step.retry)
            inner = most_attempts(body.plan) if body.plan else 0
            total += (1 + taken) * tries * (1 + inner) * (4 if node.fan else 1)
    return total


def attempts_in(result: Result) -> int:
    """All attempts of a run, those of sub-pipelines included."""
    found = [attempt for node in result.nodes.values() for attempt in node.all_attempts()]
    return len(found) + sum(attempts_in(attempt.run) for attempt in found if attempt.run)


@given(cases())
@settings(RELAXED, max_examples=60)
def test_every_run_ends_within_the_attempts_its_bounds_allow(case: Case) -> None:
    doc, script, inputs = case
    plan = plan_of(doc)
    try:
        result = simulate(plan, parse_script(script, plan), inputs)
    except EngineError:
        return
    assert attempts_in(result) <= most_attempts(plan)
