"""`[finally]`: nodes that run when all others have ended, however the run ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tomli_w
import trio

import engine
from engine import stored
from engine.record.events import Event
from engine.record.result import Outcome, Result
from engine.render.diagnostics import render_concise
from engine.render.graphs import render_mermaid
from engine.runtime.options import Options
from engine.runtime.trio_runs import open_run, run_plan
from engine.scheduling.scheduler import AttemptState
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from engine.toml.source import Source
from tests.journal.test_store import killed_when
from tests.support.plans import plan_of

Doc = dict[str, Any]
FAILS: Doc = {"exit": 1}


def shell(**keys: Any) -> Doc:
    return {"task": "shell"} | keys


def played(script: Doc, cancel_at: float | None = None, **doc: Any) -> Result:
    doc = {"engine": 1, "nodes": {"a": shell()}, "finally": {"z": shell()}} | doc
    plan = plan_of(doc)
    entries = {path: each if isinstance(each, list) else [each] for path, each in script.items()}
    return simulate(plan, parse_script(entries, plan), cancel_at=cancel_at)


def ends(result: Result) -> list[str]:
    return [f"{name} {node.result}" for name, node in result.nodes.items()]


def times(result: Result, node: str) -> list[tuple[float, float | None]]:
    return [(attempt.started, attempt.ended) for attempt in result.nodes[node].attempts]


# -- when they run, and what becomes of the run ----------------------------------------------------


def test_they_begin_when_all_others_have_ended() -> None:
    result = played({"a/a": {"duration": 3}}, nodes={"a": shell(), "b": shell()})
    assert (result.status, times(result, "z")) == ("succeeded", [(3.0, 4.0)])


@pytest.mark.parametrize(
    ("script", "pipeline", "status"),
    [
        ({"a/a": FAILS}, {}, "failed"),
        ({"a/a": FAILS}, {"on_failure": "cancel"}, "failed"),
        ({"b/b": {"outcome": "hang"}}, {"deadline": "2s"}, "cancelled"),
    ],
)
def test_they_run_however_the_run_ends(script: Doc, pipeline: Doc, status: str) -> None:
    nodes = {"a": shell(), "b": shell()}
    result = played(script, nodes=nodes, pipeline={"name": "case"} | pipeline)
    assert (result.status, ends(result)[-1]) == (status, "z succeeded")


def test_a_request_stops_all_else_and_not_them() -> None:
    result = played({"a/a": {"outcome": "hang"}, "z/z": {"duration": 5}}, cancel_at=2.0)
    assert (result.status, ends(result)) == ("cancelled", ["a cancelled", "z succeeded"])
    assert times(result, "z") == [(2.0, 7.0)]


def test_a_request_while_they_run_makes_the_run_cancelled_and_stops_nothing() -> None:
    result = played({"z/z": {"duration": 5}}, cancel_at=2.0)
    assert (result.status, ends(result)) == ("cancelled", ["a succeeded", "z succeeded"])


def test_one_that_fails_fails_a_run_that_would_have_succeeded() -> None:
    result = played({"z/z": FAILS})
    assert (result.status, result.message) == ("failed", "`z` failed: exit 1")
    assert played({"z/z": FAILS, "a/a": [FAILS]}).message == "`a` failed: exit 1"
    allowed = {"z": shell(allow_failure=True)}
    assert played({"z/z": FAILS}, **{"finally": allowed}).status == "succeeded"


def test_one_that_fails_leaves_a_cancelled_run_cancelled() -> None:
    result = played({"a/a": {"outcome": "hang"}, "z/z": FAILS}, cancel_at=2.0)
    assert (result.status, ends(result)) == ("cancelled", ["a cancelled", "z failed"])


def test_a_run_that_failed_in_them_is_not_cancelled_by_a_later_request() -> None:
    closing = {"y": shell(), "z": shell()}
    result = played({"y/y": FAILS, "z/z": {"duration": 5}}, 3.0, **{"finally": closing})
    assert result.status == "failed"


def test_each_has_a_deadline() -> None:
    hangs = {"z/z": {"outcome": "hang"}}
    result = played(hangs)
    assert (result.nodes["z"].label, times(result, "z")) == ("timeout", [(1.0, 31.0)])
    result = played(hangs, **{"finally": {"z": shell(deadline="2s")}})
    assert times(result, "z") == [(1.0, 3.0)]


def test_they_may_wait_for_each_other() -> None:
    closing = {"y": shell(needs={"z": "finished"}), "z": shell()}
    result = played({"z/z": FAILS}, **{"finally": closing})
    assert (ends(result), times(result, "y")) == (
        ["a succeeded", "y succeeded", "z failed"],
        [(2.0, 3.0)],
    )


def test_they_read_what_there_is_and_set_state() -> None:
    doc = {
        "state": {"n": {"type": "integer", "initial": 1}},
        "nodes": {"a": shell(), "b": shell()},
        "finally": {"z": shell(outputs={"seen": "${a.x ?? 'no'} ${b.x ?? 'no'}"})},
    }
    doc["finally"]["z"]["set"] = {"n": "${state.n + 1}"}
    result = played({"a/a": {"output": {"x": "yes"}}, "b/b": {"outcome": "error"}}, **doc)
    assert (result.nodes["z"].output, result.state) == ({"seen": "yes no"}, {"n": 2})


def test_a_sub_pipeline_that_is_stopped_does_what_ends_it() -> None:
    child = {"nodes": {"a": shell()}, "finally": {"y": shell()}}
    nodes = {"p": {"pipeline": "child", "timeout": "2s", "with": {}}}
    script = {"p/p/a/a": {"outcome": "hang"}, "p/p/y/y": {"duration": 3}}
    result = played(script, nodes=nodes, pipelines={"child": child})
    [attempt] = result.nodes["p"].attempts
    assert (attempt.outcome, attempt.ended) == ("timeout", 5.0)
    assert attempt.run is not None
    assert ends(attempt.run) == ["a cancelled", "y succeeded"]
    assert times(result, "z") == [(5.0, 6.0)]


# -- on trio ---------------------------------------------------------------------------------------

TWO: Doc = {"engine": 1, "nodes": {"a": shell()}, "finally": {"z": shell()}}


async def perform(attempt: AttemptState) -> Outcome:
    """`a` never ends; `z` does after others had their turn."""
    if attempt.node.name == "a":
        await trio.sleep_forever()
    for _ in range(5):
        await trio.lowlevel.checkpoint()
    return Outcome(0)


def test_a_cancelled_scope_around_a_run_waits_for_them() -> None:
    events: list[Event] = []

    async def main() -> bool:
        with trio.CancelScope() as scope:

            def hear(event: Event) -> None:
                events.append(event)
                if event.kind == "attempt_started" and event.path == "a/a":
                    scope.cancel()

            await run_plan(plan_of(TWO), {}, Options(perform=perform, on_event=hear))
        return scope.cancelled_caught

    assert trio.run(main)
    settled = [(e.path, e.data["result"]) for e in events if e.kind == "node_settled"]
    assert settled == [("a", "cancelled"), ("z", "succeeded")]
    assert events[-1].data["status"] == "cancelled"


def test_a_run_that_is_cancelled_before_it_began_runs_them() -> None:
    async def main() -> Result:
        async with open_run(plan_of(TWO), {}, Options(perform=perform)) as run:
            run.cancel("at once")
            return await run.result()

    assert ends(trio.run(main)) == ["a cancelled", "z succeeded"]


def test_real_processes_run_after_a_signal(tmp_path: Path) -> None:
    spec = tmp_path / "x.toml"
    spec.write_text(
        'engine = 1\n[nodes.a]\ntask = "sleep"\nwith = { seconds = 600 }\n'
        '[finally.z]\ntask = "shell"\nwith = { argv = ["touch", "done"] }\n'
    )
    plan = engine.load_plan(spec)

    async def main() -> Result:
        async with open_run(plan, {}, Options()) as run:
            async for event in run:
                if event.kind == "attempt_started":
                    run.cancel("now")
            return await run.result()

    assert trio.run(main).status == "cancelled"
    assert (tmp_path / "done").exists()


# -- what the check says ---------------------------------------------------------------------------

HEAD = 'engine = 1\n[nodes.a]\ntask = "shell"\nwith = { argv = ["x"] }\n'
LAST = '[finally.z]\ntask = "shell"\nwith = { argv = ["x"] }\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + LAST, []),
        (
            HEAD + LAST.replace('"x"', '"${a.stdout}"'),
            ["E501 a run may be cancelled before `a` has an output"],
        ),
        (HEAD + LAST.replace('"x"', '"${a.stdout ?? \'\'}"'), []),
        (
            HEAD + LAST + '[outputs]\no = "${z.stdout ?? 1}"\n',
            ["E505 `z` runs after all other nodes have ended: only its own steps can read its output"],
        ),
        (
            HEAD + 'needs = ["z"]\n' + LAST,
            ["E201 `z` runs after all other nodes have ended: no node can wait for it"],
        ),
        (
            HEAD + LAST + 'needs = ["a"]\n',
            ["E201 `a` has always ended when the nodes in `finally` start"],
        ),
        (HEAD + LAST.replace("finally.z", "finally.a"), ["E104 `[nodes]` already has a node `a`"]),
        (HEAD + LAST + 'routes = { 1 = "z" }\n', ["E301 z → z can repeat for ever, by `1`"]),
        (HEAD + LAST + "attemps = 3\n", ["E102 `attemps` is not a key here"]),
        (
            HEAD + LAST + 'timeout = "1m"\n',
            ["W602 `z` can take 1m, but its deadline is shorter"],
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(text: str, expected: list[str]) -> None:
    found = engine.check(Source("x.toml", text))
    assert [f"{d.rule.code} {d.message}" for d in found] == expected, render_concise(found)


def test_a_plan_that_was_not_checked_is_refused_for_a_loop_in_them() -> None:
    closing = {"z": shell(routes={"1": "z"})}
    with pytest.raises(engine.EngineError, match="unbounded loops"):
        played({}, **{"finally": closing})


def test_an_input_that_they_alone_read_is_used() -> None:
    text = HEAD + '[inputs.who]\ntype = "string"\n' + LAST.replace('"x"', '"${inputs.who}"')
    assert not engine.check(Source("x.toml", text))


def test_their_worst_case_is_added() -> None:
    times = 'timeout = "1s"\n'
    spec = Source("x.toml", HEAD + times + LAST + times + "retry = { attempts = 3 }\n")
    bounds, _ = engine.analyse(spec)
    from engine.analysis.bounds import compute_bounds

    assert bounds is not None
    found = compute_bounds(bounds)
    assert found is not None
    assert (found.run.attempts, found.run.seconds, found.run.exact_time) == (4, 4.0, True)


def test_a_child_may_take_longer_than_its_timeout_for_them() -> None:
    child = {"nodes": {"a": shell(timeout="9s")}, "finally": {"y": shell(timeout="3s")}}
    doc = {"engine": 1, "nodes": {"p": {"pipeline": "child", "timeout": "2s"}}}
    from engine.analysis.bounds import compute_bounds

    found = compute_bounds(plan_of(doc | {"pipelines": {"child": child}}))
    assert found is not None
    assert (found.run.seconds, found.run.exact_time) == (5.0, False)


def test_they_are_drawn_in_a_frame_of_their_own() -> None:
    drawn = render_mermaid(plan_of(TWO))
    assert 'subgraph finally["finally"]' in drawn
    assert 'fn0["z<br/>shell"]' in drawn


def test_their_meaning_is_part_of_the_hash() -> None:
    other = TWO | {"finally": {"z": shell(deadline="1s")}}
    without = {key: value for key, value in TWO.items() if key != "finally"}
    assert len({plan_of(doc).hash for doc in (TWO, other, without)}) == 3


# -- what is read of the nodes before --------------------------------------------------------------

READS = """
engine = 1
[nodes.a]
task = "shell"
with = {{ argv = ["true"] }}
{more}
[finally.z]
task = "shell"
with = {{ argv = {argv}, env = {{ A = "{read}" }} }}
"""


def told(read: str, more: str = "", argv: str = '["true"]') -> list[str]:
    source = Source("x.toml", READS.format(read=read, more=more, argv=argv))
    return [f"{d.rule.code} {source.text_of(d.span)}" for d in engine.check(source)]


@pytest.mark.parametrize(
    ("read", "findings"),
    [
        ("${a.stdout ?? ''}", []),
        ("${a.stdot ?? ''}", ["E503 a.stdot"]),
        ("${a.stdout.x ?? ''}", []),
        ("${b.stdout ?? ''}", ["E201 b.stdout"]),
        ("${a.stdout}", ["E501 a.stdout"]),
    ],
)
def test_fields_of_nodes_before_are_known(read: str, findings: list[str]) -> None:
    assert told(read) == findings


def test_what_nodes_before_give_must_fit() -> None:
    assert told("", argv="\"${a.stderr ?? ''}\"") == ["E502 \"${a.stderr ?? ''}\""]


def test_a_cycle_before_is_told_alone() -> None:
    more = 'needs = ["b"]\n[nodes.b]\nneeds = ["a"]\ntask = "shell"\nwith = { argv = ["true"] }'
    assert [each[:4] for each in told("${a.stdot ?? ''}", more)] == ["E202"]


# -- what they share, and when the engine dies -----------------------------------------------------


def test_they_wait_for_places_in_pools() -> None:
    closing = {"y": shell(pool="one"), "z": shell(pool="one")}
    result = played({}, **{"pools": {"one": 1}, "finally": closing})
    assert times(result, "y") + times(result, "z") == [(1.0, 2.0), (2.0, 3.0)]


def test_states_that_two_of_them_may_write_at_once_are_told() -> None:
    sets = {"task": "pass", "set": {"n": 1}}
    state = {"n": {"type": "integer", "initial": 0}}
    doc = {"nodes": {"a": {"task": "pass"}}, "state": state, "finally": {"y": sets, "z": sets}}
    source = Source("x.toml", tomli_w.dumps({"engine": 1} | doc))
    assert [d.rule.code for d in engine.check(source)] == ["E506"]
    doc["finally"]["z"] = sets | {"needs": ["y"]}
    source = Source("x.toml", tomli_w.dumps({"engine": 1} | doc))
    assert [d.rule.code for d in engine.check(source)] == []


@pytest.mark.parametrize("status", ["succeeded", "failed"])
def test_a_run_that_was_killed_while_they_run_goes_on_there(tmp_path: Path, status: str) -> None:
    """What had ended does not run again, the node that was running is taken over, and the run ends as it would have."""

    def sh(line: str) -> Doc:
        return {"task": "shell", "with": {"argv": ["sh", "-c", f"echo $0 >> log; {line}", line]}}

    wait = "touch there; while test ! -e go; do sleep 0.02; done"
    nodes = {"a": sh("true" if status == "succeeded" else "false")}
    closing = {"y": sh("exit 0"), "z": {**sh(wait), "needs": ["y"]}}
    spec, store = tmp_path / "x.toml", str(tmp_path / "runs.db")
    spec.write_text(tomli_w.dumps({"engine": 1, "nodes": nodes, "finally": closing}))
    killed_when(tmp_path / "there", spec=str(spec), store=store, run_id="r1")
    (tmp_path / "go").touch()
    result = stored.resume("r1", store=store)
    assert result.status == status
    assert ends(result)[1:] == ["y succeeded", "z succeeded"]
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines.count("exit 0") == 1
    assert len(lines) in (3, 4)  # the one that was killed too may run once more
