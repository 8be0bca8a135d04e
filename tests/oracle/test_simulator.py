"""The oracle against cases worked out by hand from docs/language.md, and what holds in every run."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.oracle.simulator import NeverEnds, simulate
from tests.support.strategies import STATES, cases, tiny_cases

Record = dict[str, Any]
HANG = {"outcome": "hang"}
ERROR = {"outcome": "error"}


def play(
    text: str, script: dict[str, Any] | None = None, inputs: Any = None, **more: Any
) -> Record:
    """Run a TOML document; script entries may be written as bare exit codes."""
    entries = {
        key: [{"exit": entry} if isinstance(entry, int) else entry for entry in row]
        for key, row in (script or {}).items()
    }
    return simulate(tomllib.loads(text), entries, inputs, **more)


def result(run: Record, node: str) -> tuple[str, str, str | None]:
    entry = run["nodes"][node]
    return entry["result"], entry["reason"]["kind"], entry["label"]


def trace(run: Record, node: str) -> list[str]:
    """Attempts as "step visit.attempt outcome started-ended"."""
    return [
        f"{a['step']} {a['visit']}.{a['attempt']} {a['outcome']} {a['started']:g}-{a['ended']:g}"
        for a in run["nodes"][node]["attempts"]
    ]


# ------------------------------------------------------------ §4 retry


def test_chain_of_two_takes_a_second_each_and_null_is_an_output() -> None:
    run = play("""
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        needs = ["a"]
    """)
    attempt = {"visit": 1, "attempt": 1, "outcome": 0}
    ended = {
        "result": "succeeded",
        "label": "success",
        "reason": {"kind": "completed"},
        "output": None,
    }
    assert run == {
        "status": "succeeded",
        "nodes": {
            "a": {**ended, "attempts": [{"step": "a", **attempt, "started": 0, "ended": 1}]},
            "b": {**ended, "attempts": [{"step": "b", **attempt, "started": 1, "ended": 2}]},
        },
        "outputs": {},
    }


def test_backoff_grows_by_factor() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = { attempts = 3, delay = "1s", factor = 2.0 }
        """,
        {"a/a": [1]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 1 2-3", "a 1.3 1 5-6"]
    assert result(run, "a") == ("failed", "unrouted", "1")
    assert run["status"] == "failed"
    assert "outputs" not in run


def test_backoff_is_capped_by_max_delay() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = { attempts = 4, delay = "1s", factor = 3, max_delay = "2s" }
        """,
        {"a/a": [1, 1, ERROR, 0]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 1 2-3", "a 1.3 error 5-6", "a 1.4 0 8-9"]


def test_outcome_with_a_route_of_its_own_is_not_retried_by_default() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = { attempts = 5 }
        routes = { 3 = "done:deferred" }
        """,
        {"a/a": [1, 3]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 3 1-2"]
    assert result(run, "a") == ("succeeded", "routed", "deferred")


def test_star_is_nobodys_own_route() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = { attempts = 2 }
        routes = { "*" = "done:gave_up" }
        """,
        {"a/a": [1]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 1 1-2"]
    assert result(run, "a") == ("succeeded", "routed", "gave_up")


def test_only_the_first_matching_clause_serves() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = [{ attempts = 2, on = [1] }, { attempts = 3, on = ["*"], delay = "500ms" }]
        """,
        {"a/a": [1, 2, 1]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 2 1-2", "a 1.3 1 2.5-3.5"]
    assert result(run, "a") == ("failed", "unrouted", "1")


def test_what_no_clause_matches_is_not_retried() -> None:
    run = play(
        """
        [nodes.a]
        task = "probe"
        retry = { attempts = 3, on = ["error", "needs_review"] }
        """,
        {"a/a": [ERROR, 2, 1]},
    )
    assert trace(run, "a") == ["a 1.1 error 0-1", "a 1.2 2 1-2", "a 1.3 1 2-3"]


def test_success_can_be_retried_if_named_and_star_leaves_it_out() -> None:
    text = """
        [nodes.a]
        task = "shell"
        retry = {{ attempts = 2, on = ["{on}"] }}
    """
    assert len(trace(play(text.format(on="success")), "a")) == 2
    assert len(trace(play(text.format(on="*")), "a")) == 1


def test_closed_task_turns_an_undeclared_code_into_a_retryable_error() -> None:
    text = """
        [nodes.a]
        task = "probe"
        retry = {{ attempts = 2 }}
        exits = {{ {exits} }}
    """
    run = play(text.format(exits=""), {"a/a": [{"exit": 3, "output": 1}]})
    assert trace(run, "a") == ["a 1.1 error 0-1", "a 1.2 error 1-2"]
    assert result(run, "a") == ("failed", "unrouted", "error")
    assert "output" not in run["nodes"]["a"]
    run = play(text.format(exits="third = 3"), {"a/a": [{"exit": 3, "output": 1}]})
    assert result(run, "a") == ("failed", "unrouted", "third")
    assert run["nodes"]["a"]["output"] == 1


def test_bad_with_is_a_permanent_error_of_no_length_that_may_be_routed() -> None:
    run = play(
        """
        [nodes.a]
        start = "s"
        [nodes.a.steps.s]
        task = "shell"
        with = { value = "${inputs.missing.x}" }
        retry = { attempts = 9, delay = "1s" }
        routes = { error = "t" }
        [nodes.a.steps.t]
        task = "shell"
        """,
    )
    assert trace(run, "a") == ["s 1.1 error 0-0", "t 1.1 0 0-1"]
    assert result(run, "a") == ("succeeded", "completed", "success")


def test_an_attempt_with_bad_with_uses_up_a_script_entry() -> None:
    run = play(
        """
        [nodes.a]
        start = "s"
        [nodes.a.steps.s]
        task = "shell"
        with = { value = "${steps.t}" }
        routes = { error = "t" }
        [nodes.a.steps.t]
        task = "shell"
        routes = { success = { to = "s", max = 1 } }
        """,
        {"a/s": [0, 7]},
    )
    assert trace(run, "a") == ["s 1.1 error 0-0", "t 1.1 0 0-1", "s 2.1 7 1-2"]


# ------------------------------------------------------------ §5 routes

LOOP = """
    [nodes.a]
    start = "draft"
    [nodes.a.steps.draft]
    task = "shell"
    routes = { success = "review" }
    [nodes.a.steps.review]
    task = "probe"
    routes.needs_review = { to = "draft", max = 2, then = "THEN" }
    [nodes.a.steps.print]
    task = "shell"
"""


def test_bounded_route_then_goes_to_another_step() -> None:
    run = play(LOOP.replace("THEN", "print"), {"a/review": [2]})
    assert trace(run, "a") == [
        *("draft 1.1 0 0-1", "review 1.1 2 1-2", "draft 2.1 0 2-3", "review 2.1 2 3-4"),
        *("draft 3.1 0 4-5", "review 3.1 2 5-6", "print 1.1 0 6-7"),
    ]
    assert result(run, "a") == ("succeeded", "completed", "success")


def test_then_ends_a_node_as_exhausted() -> None:
    run = play(LOOP.replace("THEN", "done:enough"), {"a/review": [2]})
    assert result(run, "a") == ("succeeded", "exhausted", "enough")
    run = play(LOOP.replace("THEN", "fail"), {"a/review": [2]})
    assert result(run, "a") == ("failed", "exhausted", "needs_review")
    run = play(LOOP.replace("THEN", "fail"), {"a/review": [2, 2, 0]})
    assert result(run, "a") == ("succeeded", "completed", "success")


def test_visits_reset_retries_but_not_routes() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        retry = { attempts = 2, on = [1] }
        routes = { 1 = { to = "a", max = 1 } }
        """,
        {"a/a": [1]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 1 1-2", "a 2.1 1 2-3", "a 2.2 1 3-4"]
    assert result(run, "a") == ("failed", "exhausted", "1")


def test_route_waits_its_delay_and_then_waits_none() -> None:
    run = play(
        """
        [nodes.a]
        start = "s"
        [nodes.a.steps.t]
        task = "shell"
        [nodes.a.steps.s]
        task = "shell"
        routes = { 1 = { to = "s", max = 1, then = "t", delay = "2s" } }
        """,
        {"a/s": [1]},
    )
    assert trace(run, "a") == ["s 1.1 1 0-1", "s 2.1 1 3-4", "t 1.1 0 4-5"]


def test_star_has_one_counter_for_all_outcomes() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        routes = { "*" = { to = "a", max = 2 } }
        """,
        {"a/a": [1, ERROR, 3]},
    )
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 2.1 error 1-2", "a 3.1 3 2-3"]
    assert result(run, "a") == ("failed", "exhausted", "3")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (2, ("succeeded", "routed", "two")),
        (7, ("failed", "routed", "rest")),
        (ERROR, ("failed", "routed", "rest")),
        (0, ("succeeded", "completed", "success")),
    ],
)
def test_listed_beats_star_and_zero_is_no_star(entry: Any, expected: Any) -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        routes = { "*" = "fail:rest", 2 = "done:two" }
        """,
        {"a/a": [entry]},
    )
    assert result(run, "a") == expected


def test_zero_may_fail_with_output_and_error_may_be_done_without() -> None:
    text = '[nodes.a]\ntask = "shell"\nroutes = { success = "fail:odd", error = "done" }'
    run = play(text, {"a/a": [{"exit": 0, "output": 5}]})
    assert result(run, "a") == ("failed", "routed", "odd")
    assert run["nodes"]["a"]["output"] == 5
    run = play(text, {"a/a": [ERROR]})
    assert result(run, "a") == ("succeeded", "routed", "error")
    assert "output" not in run["nodes"]["a"]


# ------------------------------------------------------------ §3, §7 labels and edges


@pytest.mark.parametrize(
    ("condition", "runs"),
    [
        ('["bad"]', True),
        ('["failure"]', True),
        ("[1]", True),
        ("[2]", False),
        ('["needs_review", "success"]', False),
        ('["success", 1]', True),
        ('"failure"', True),
        ('"finished"', True),
        ('"always"', True),
        ('"success"', False),
    ],
)
def test_conditions_on_a_named_failure(condition: str, runs: bool) -> None:
    run = play(
        f"""
        [nodes.a]
        task = "probe"
        exits = {{ bad = 1 }}
        [nodes.b]
        task = "shell"
        needs = {{ a = {condition} }}
        """,
        {"a/a": [1]},
    )
    assert result(run, "a") == ("failed", "unrouted", "bad")
    assert result(run, "b")[0] == ("succeeded" if runs else "skipped")
    only_looks = condition in ('"finished"', '"always"')
    assert run["status"] == ("succeeded" if runs and not only_looks else "failed")


def test_a_code_does_not_match_a_label_that_a_route_gave() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        routes = { 3 = "done:three" }
        [nodes.b]
        task = "shell"
        needs = { a = [3] }
        [nodes.c]
        task = "shell"
        needs = { a = ["three"] }
        """,
        {"a/a": [3]},
    )
    assert result(run, "b") == ("skipped", "needs", None)
    assert result(run, "c") == ("succeeded", "completed", "success")


def test_skips_go_on_along_a_chain_until_always() -> None:
    run = play(
        """
        [nodes.d]
        task = "shell"
        needs = { c = "always" }
        [nodes.c]
        task = "shell"
        needs = { b = "finished" }
        [nodes.b]
        task = "shell"
        needs = ["a"]
        [nodes.a]
        task = "shell"
        """,
        {"a/a": [ERROR]},
    )
    assert result(run, "b") == result(run, "c") == ("skipped", "needs", None)
    assert trace(run, "d") == ["d 1.1 0 1-2"]
    assert run["status"] == "failed"


def test_failure_is_handled_even_if_the_handler_never_runs() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        needs = { a = ["1"] }
        when = "inputs.no"
        [inputs]
        no = { type = "boolean", default = false }
        """,
        {"a/a": [1]},
    )
    assert result(run, "b") == ("skipped", "when", None)
    assert run["status"] == "succeeded"


def test_allow_failure_changes_the_verdict_only() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        allow_failure = true
        [nodes.b]
        task = "shell"
        needs = ["a"]
        """,
        {"a/a": [1]},
    )
    assert result(run, "a") == ("failed", "unrouted", "1")
    assert result(run, "b") == ("skipped", "needs", None)
    assert run["status"] == "succeeded"


ANY = """
    [nodes.a]
    task = "shell"
    allow_failure = true
    [nodes.b]
    task = "shell"
    allow_failure = true
    [nodes.c]
    task = "shell"
    needs = ["a", "b"]
    join = "any"
    with = { value = "${d DEFAULT}" }
    [nodes.d]
    task = "shell"
    allow_failure = true
"""


def test_join_any_needs_one_and_waits_for_all() -> None:
    text = ANY.replace("DEFAULT", "")
    late = {"exit": 1, "duration": 3}
    assert trace(play(text, {"b/b": [late]}), "c") == ["c 1.1 0 3-4"]
    assert result(play(text, {"a/a": [1], "b/b": [1]}), "c") == ("skipped", "needs", None)


def test_implied_edge_must_be_live_besides_join_any() -> None:
    script = {"d/d": [{**ERROR, "duration": 2}]}
    assert result(play(ANY.replace("DEFAULT", ""), script), "c") == ("skipped", "needs", None)
    assert trace(play(ANY.replace("DEFAULT", "?? 0"), script), "c") == ["c 1.1 0 2-3"]


def test_join_any_with_implied_edges_only_is_met() -> None:
    run = play("""
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        join = "any"
        with = { value = "${a}" }
    """)
    assert trace(run, "b") == ["b 1.1 0 1-2"]


def test_one_reference_without_default_insists() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        allow_failure = true
        [nodes.b]
        start = "s"
        outputs = { v = "${a.x ?? 1}" }
        steps.s = { task = "shell", with = { v = "${a.x ?? 1}" }, routes = { success = "t" } }
        steps.t = { task = "shell", with = { v = ["x ${a.x}"] } }
        """,
        {"a/a": [ERROR]},
    )
    assert result(run, "b") == ("skipped", "needs", None)


def test_needs_takes_the_place_of_an_implied_edge() -> None:
    run = play(
        """
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        needs = { a = "failure" }
        with = { value = "${a.why}" }
        """,
        {"a/a": [{"exit": 1, "output": {"why": "x"}}]},
    )
    assert trace(run, "b") == ["b 1.1 0 1-2"]
    assert run["status"] == "succeeded"


# ------------------------------------------------------------ §6, §9 when, outputs, expressions


@pytest.mark.parametrize(
    ("when", "output", "expected"),
    [
        ("a.ok", {"ok": True}, ("succeeded", "completed", "success")),
        ("${a.ok}", {"ok": False}, ("skipped", "when", None)),
        ("${a.ok}", {"ok": 1}, ("failed", "evaluation", "error")),
        ("${a.ok}", {}, ("failed", "evaluation", "error")),
        ("a.ok", None, ("failed", "evaluation", "error")),
        ("a.ok ?? true", None, ("succeeded", "completed", "success")),
        ("${a.ok ?? false}", {"ok": None}, ("skipped", "when", None)),
        ("${a.l[1]}", {"l": [0, True]}, ("succeeded", "completed", "success")),
        ("is ${a.ok}", {"ok": True}, ("failed", "evaluation", "error")),
    ],
)
def test_when(when: str, output: Any, expected: Any) -> None:
    run = play(
        f'[nodes.a]\ntask = "shell"\n[nodes.b]\ntask = "shell"\nwhen = "{when}"',
        {"a/a": [{"exit": 0, "output": output}]},
    )
    assert result(run, "b") == expected


OUTPUTS = """
    [inputs]
    n = { type = "integer", default = 4 }
    [nodes.a]
    start = "s"
    outputs = { READ }
    steps.s = { task = "shell", routes = { success = "t" } }
    steps.t = { task = "shell" }
"""


@pytest.mark.parametrize(
    ("read", "value"),
    [
        ("${inputs.n}", 4),
        ("n${inputs.n}!", "n4!"),
        ("$${inputs.n}", "${inputs.n}"),
        ("${steps.s.x}", [1, None]),
        ("${steps.s.x[0]}", 1),
        ("${steps.s.x[1]}", None),
        ("${steps.s.x[1] ?? 'd'}", "d"),
        ("${steps.s.x[2] ?? 2.5}", 2.5),
        ("${steps.s.t} ${steps.s.x[1]} ${steps.s.b}", "a null true"),
        ("${ steps.s.none.deep ?? null }", None),
    ],
)
def test_values_of_outputs(read: str, value: Any) -> None:
    output = {"x": [1, None], "t": "a", "b": True}
    text = OUTPUTS.replace("READ", f'v = "{read}"')
    run = play(text, {"a/s": [{"exit": 0, "output": output}]})
    assert run["nodes"]["a"]["output"] == {"v": value}


def test_outputs_are_evaluated_on_fail_ends_too_but_not_after_error() -> None:
    text = OUTPUTS.replace("READ", 'v = "${steps.s.x}"')
    script: dict[str, Any] = {"a/s": [{"exit": 0, "output": {"x": 1}}]}
    run = play(text, {**script, "a/t": [7]})
    assert result(run, "a") == ("failed", "unrouted", "7")
    assert run["nodes"]["a"]["output"] == {"v": 1}
    run = play(text, {**script, "a/t": [ERROR]})
    assert result(run, "a") == ("failed", "unrouted", "error")
    assert "output" not in run["nodes"]["a"]


def test_outputs_that_cannot_be_evaluated_fail_the_node() -> None:
    run = play(OUTPUTS.replace("READ", 'v = "${steps.s.x}"'), {"a/s": [{"exit": 0, "output": 3}]})
    assert result(run, "a") == ("failed", "evaluation", "error")
    assert "output" not in run["nodes"]["a"]


def test_output_of_a_step_is_that_of_its_latest_attempt() -> None:
    run = play(
        OUTPUTS.replace("READ", 'v = "${steps.s ?? 9}"').replace(
            'success = "t"', 'success = { to = "s", max = 1 }, error = "t"'
        ),
        {"a/s": [{"exit": 0, "output": 1}, ERROR]},
    )
    assert run["nodes"]["a"]["output"] == {"v": 9}


def test_outputs_of_a_run_decide_its_status() -> None:
    text = """
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        when = "inputs.go"
        [inputs]
        go = { type = "boolean" }
        [outputs]
        v = "${b.x}"
    """
    script = {"b/b": [{"exit": 0, "output": {"x": 1}}]}
    assert play(text, script, {"go": True})["outputs"] == {"v": 1}
    run = play(text, script, {"go": False})
    assert run["status"] == "failed"
    assert "outputs" not in run


def test_run_in_which_all_is_skipped_succeeds() -> None:
    run = play(
        '[inputs]\ngo = { type = "boolean" }\n[nodes.a]\ntask = "shell"\nwhen = "inputs.go"',
        inputs={"go": False},
    )
    assert run["status"] == "succeeded"


@pytest.mark.parametrize("inputs", [{}, {"n": 1, "m": 2}, {"n": True}, {"n": 1.5}, {"n": "1"}])
def test_bad_inputs_refuse_the_run(inputs: Any) -> None:
    with pytest.raises(ValueError, match="input"):
        play('[inputs]\nn = { type = "integer" }\n[nodes.a]\ntask = "shell"', inputs=inputs)


# ------------------------------------------------------------ §2 places


def nodes(*names: str, **keys: str) -> str:
    """TOML of one-step nodes, each with its own more lines."""
    return "\n".join(f'[nodes.{n}]\ntask = "shell"\n{keys.get(n, "")}' for n in names)


def test_one_place_goes_by_priority_and_then_by_file() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + nodes(
        *"abcd", a="priority = 100", c="priority = 1", d="priority = 1"
    )
    run = play(text)
    starts = {n: run["nodes"][n]["attempts"][0]["started"] for n in "abcd"}
    assert starts == {"c": 0, "d": 1, "a": 2, "b": 3}


def test_next_steps_queue_with_first_ones() -> None:
    run = play("""
        [pipeline]
        max_parallel = 1
        [nodes.a]
        start = "s"
        steps.s = { task = "shell", routes = { success = "t" } }
        steps.t = { task = "shell" }
        [nodes.b]
        task = "shell"
    """)
    assert trace(run, "a") == ["s 1.1 0 0-1", "t 1.1 0 1-2"]
    assert trace(run, "b") == ["b 1.1 0 2-3"]


def test_backoff_holds_no_place_and_nobody_is_preempted() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + nodes(*"ab", a='retry = {attempts = 2, delay = "1s"}')
    run = play(text, {"a/a": [1, 0], "b/b": [{"exit": 0, "duration": 3}]})
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 0 4-5"]
    assert trace(run, "b") == ["b 1.1 0 1-4"]


def test_who_lacks_only_a_pool_place_is_passed_by() -> None:
    pool = 'pool = "gpu"'
    text = "pools = { gpu = 1 }\n[pipeline]\nmax_parallel = 2\n" + nodes(*"abcd", a=pool, b=pool)
    run = play(text, {"a/a": [{"exit": 0, "duration": 1.5}]})
    assert trace(run, "a") == ["a 1.1 0 0-1.5"]
    assert trace(run, "c") == ["c 1.1 0 0-1"]
    assert trace(run, "d") == ["d 1.1 0 1-2"]
    assert trace(run, "b") == ["b 1.1 0 1.5-2.5"]


def test_attempts_of_no_length_all_end_at_once() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + nodes(*"abc", a='needs = ["b"]', b='needs = ["c"]')
    now = [{"exit": 0, "duration": 0}]
    run = play(text, {"a/a": now, "b/b": now, "c/c": now})
    assert [trace(run, n) for n in "abc"] == [[f"{n} 1.1 0 0-0"] for n in "abc"]


# ------------------------------------------------------------ §2 sub-pipelines

CHILD = """
    [pipelines.kid]
    KID
    [pipelines.kid.inputs]
    n = { type = "integer" }
    m = { type = "string", default = "m" }
    [pipelines.kid.outputs]
    v = "${inputs.n}${inputs.m}"
    [pipelines.kid.nodes.x]
    task = "shell"
    [pipelines.kid.nodes.y]
    task = "shell"
    needs = ["x"]
    [nodes.a]
    pipeline = "kid"
    with = { n = "${run.attempt}" }
"""


def child(keys: str = "", kid: str = "") -> str:
    return CHILD.replace("KID", kid) + keys


def test_sub_pipeline_gives_its_outputs_and_its_record() -> None:
    run = play(child(), {"a/a/y/y": [{"exit": 0, "duration": 2}]})
    assert trace(run, "a") == ["a 1.1 0 0-3"]
    assert result(run, "a") == ("succeeded", "completed", "success")
    assert run["nodes"]["a"]["output"] == {"v": "1m"}
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert inner["status"] == "succeeded"
    assert inner["outputs"] == {"v": "1m"}
    assert trace(inner, "y") == ["y 1.1 0 1-3"]


def test_each_attempt_is_a_fresh_child_and_its_failure_has_no_output() -> None:
    run = play(
        child("retry = { attempts = 2 }\noutputs = { v = 1 }\nroutes = { failure = 'done' }\n"),
        {"a/a/x/x": [1, 0]},
    )
    # a route of its own: not retried
    assert trace(run, "a") == ["a 1.1 1 0-1"]
    assert result(run, "a") == ("succeeded", "routed", "failure")
    assert "output" not in run["nodes"]["a"]
    run = play(child("retry = { attempts = 2 }\n"), {"a/a/x/x": [1, 0]})
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 1.2 0 1-3"]
    assert run["nodes"]["a"]["output"] == {"v": "2m"}
    first, second = (attempt["run"] for attempt in run["nodes"]["a"]["attempts"])
    assert (first["status"], second["status"]) == ("failed", "succeeded")
    assert result(first, "y") == ("skipped", "needs", None)


def test_output_of_a_failed_sub_pipeline_step_is_absent() -> None:
    run = play(
        CHILD.replace("KID", "").split("[nodes.a]")[0]
        + """
        [nodes.a]
        start = "s"
        outputs = { v = "${steps.s ?? 'none'}" }
        [nodes.a.steps.t]
        task = "shell"
        [nodes.a.steps.s]
        pipeline = "kid"
        with = { n = 1 }
        exits = { bad = 1 }
        routes = { bad = "t" }
        """,
        {"a/s/x/x": [ERROR]},
    )
    assert run["nodes"]["a"]["output"] == {"v": "none"}


@pytest.mark.parametrize("given", ["", 'n = "1"', "n = 1, o = 2", "n = 1, m = 3", "n = true"])
def test_bad_inputs_of_a_sub_pipeline_are_a_permanent_error(given: str) -> None:
    text = child("retry = { attempts = 3 }\n").replace('n = "${run.attempt}"', given)
    run = play(text)
    assert trace(run, "a") == ["a 1.1 error 0-0"]
    assert "run" not in run["nodes"]["a"]["attempts"][0]


def test_own_deadline_of_a_child_is_a_timeout_in_its_parent() -> None:
    run = play(
        child("routes = { timeout = 'done:late' }", kid='pipeline = { deadline = "1500ms" }'),
        {"a/a/y/y": [HANG]},
    )
    assert trace(run, "a") == ["a 1.1 timeout 0-1.5"]
    assert result(run, "a") == ("succeeded", "routed", "late")
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert inner["status"] == "cancelled"
    assert result(inner, "x") == ("succeeded", "completed", "success")
    assert result(inner, "y") == ("cancelled", "deadline", None)
    assert trace(inner, "y") == ["y 1.1 cancelled 1-1.5"]


def test_timeout_of_a_sub_pipeline_step_cancels_the_child() -> None:
    run = play(child('timeout = "500ms"\nretry = { attempts = 2 }'), {"a/a/x/x": [HANG, 0]})
    # the second child needs 2 s and is cut off as well, in x
    assert trace(run, "a") == ["a 1.1 timeout 0-0.5", "a 1.2 timeout 0.5-1"]
    assert result(run, "a") == ("failed", "unrouted", "timeout")
    for attempt in run["nodes"]["a"]["attempts"]:
        assert attempt["run"]["status"] == "cancelled"
        assert result(attempt["run"], "x") == ("cancelled", "parent", None)
        assert result(attempt["run"], "y") == ("cancelled", "parent", None)


def test_sub_pipeline_holds_no_run_place_but_its_children_do() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + nodes("z") + child()
    run = play(text)
    assert trace(run, "z") == ["z 1.1 0 0-1"]
    assert trace(run, "a") == ["a 1.1 0 0-3"]
    assert trace(run["nodes"]["a"]["attempts"][0]["run"], "x") == ["x 1.1 0 1-2"]


def test_children_queue_at_the_place_of_their_parent() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + child() + nodes("z")
    run = play(text)
    assert trace(run, "a") == ["a 1.1 0 0-2"]
    assert trace(run, "z") == ["z 1.1 0 2-3"]


def test_who_lacks_a_place_of_an_inner_run_is_passed_by() -> None:
    text = child(kid="pipeline = { max_parallel = 1 }").replace('needs = ["x"]', "") + nodes("z")
    run = play("[pipeline]\nmax_parallel = 2\n" + text)
    assert trace(run, "z") == ["z 1.1 0 0-1"]
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert trace(inner, "x") == ["x 1.1 0 0-1"]
    assert trace(inner, "y") == ["y 1.1 0 1-2"]


def test_sub_pipeline_holds_its_pool_place() -> None:
    text = "pools = { p = 1 }\n" + child('pool = "p"\n') + nodes("z", z='pool = "p"')
    assert trace(play(text), "z") == ["z 1.1 0 2-3"]


# ------------------------------------------------------------ §6, §8 clocks and cancellation


def test_timeout_is_retried_and_an_end_at_its_instant_wins() -> None:
    text = nodes("a", a='timeout = "2s"\nretry = { attempts = 2, delay = "1s" }')
    run = play(text, {"a/a": [HANG, {"exit": 0, "duration": 2}]})
    assert trace(run, "a") == ["a 1.1 timeout 0-2", "a 1.2 0 3-5"]


def test_deadline_of_a_node_runs_through_backoff_from_its_first_attempt() -> None:
    text = "[pipeline]\nmax_parallel = 1\n" + nodes(
        *"ab", b='deadline = "3s"\nretry = { attempts = 9, delay = "2s" }'
    )
    # b starts at 1, ends at 2, would wake at 4: the deadline strikes first at that instant
    run = play(text, {"b/b": [1]})
    assert trace(run, "b") == ["b 1.1 1 1-2"]
    assert result(run, "b") == ("failed", "deadline", "timeout")
    assert "output" not in run["nodes"]["b"]


def test_deadline_of_a_node_does_not_begin_anew_with_a_visit() -> None:
    text = nodes("a", a='deadline = "2500ms"\nroutes = { 1 = { to = "a", max = 9 } }')
    run = play(text, {"a/a": [1]})
    assert trace(run, "a") == ["a 1.1 1 0-1", "a 2.1 1 1-2", "a 3.1 cancelled 2-2.5"]


def test_deadline_of_a_node_cancels_its_attempt_and_is_not_routed() -> None:
    text = nodes("a", a='deadline = "2s"\ntimeout = "2s"\nroutes = { timeout = "done" }')
    run = play(text, {"a/a": [HANG]})
    assert trace(run, "a") == ["a 1.1 cancelled 0-2"]
    assert result(run, "a") == ("failed", "deadline", "timeout")


def test_end_at_the_instant_of_the_deadline_wins() -> None:
    text = nodes("a", a='deadline = "2s"')
    run = play(text, {"a/a": [{"exit": 0, "duration": 2}]})
    assert result(run, "a") == ("succeeded", "completed", "success")


def test_deadline_strikes_a_node_whose_end_at_that_instant_did_not_end_it() -> None:
    text = nodes("a", a='deadline = "2s"\nretry = { attempts = 2 }')
    run = play(text, {"a/a": [{"exit": 1, "duration": 2}]})
    assert trace(run, "a") == ["a 1.1 1 0-2"]
    assert result(run, "a") == ("failed", "deadline", "timeout")


def test_label_timeout_of_a_deadline_can_be_handled() -> None:
    text = nodes(*"ab", a='deadline = "1s"', b='needs = { a = ["timeout"] }')
    run = play(text, {"a/a": [HANG]})
    assert trace(run, "b") == ["b 1.1 0 1-2"]
    assert run["status"] == "succeeded"


def test_deadline_of_the_run_strikes_before_that_of_a_node() -> None:
    text = '[pipeline]\ndeadline = "2s"\n' + nodes(*"ab", a='deadline = "2s"', b='needs = ["a"]')
    run = play(text, {"a/a": [HANG]})
    assert result(run, "a") == result(run, "b") == ("cancelled", "deadline", None)
    assert run["status"] == "cancelled"


def test_first_cause_names_the_status() -> None:
    text = '[pipeline]\ndeadline = "2s"\n' + nodes(*"ab")
    run = play(text, {"a/a": [{"exit": 1, "duration": 2}], "b/b": [HANG]})
    assert result(run, "b") == ("cancelled", "deadline", None)
    assert run["status"] == "failed"


CANCEL = '[pipeline]\non_failure = "cancel"\nmax_parallel = 3\n'


def test_unhandled_failure_cancels_the_rest_after_the_ends_of_its_instant() -> None:
    text = CANCEL + nodes(
        *"abcdef", d='needs = {a = "always"}', e='needs = ["a"]', f="priority=200"
    )
    run = play(text, {"a/a": [1], "c/c": [HANG]})
    assert result(run, "b") == ("succeeded", "completed", "success")  # ended at 1 as a did
    assert result(run, "c") == ("cancelled", "failure", None)
    assert trace(run, "c") == ["c 1.1 cancelled 0-1"]
    assert result(run, "d") == ("cancelled", "failure", None)  # was ready, never started
    assert trace(run, "d") == []
    assert result(run, "e") == ("skipped", "needs", None)
    assert result(run, "f") == ("cancelled", "failure", None)
    assert run["status"] == "failed"


def test_handled_failure_cancels_nothing() -> None:
    run = play(CANCEL + nodes(*"abc", c='needs = {a = "failure"}'), {"a/a": [1]})
    assert {n: result(run, n)[0] for n in "bc"} == {"b": "succeeded", "c": "succeeded"}
    assert run["status"] == "succeeded"


def test_cancel_by_a_deadline_comes_before_wake_ups_but_after_other_deadlines() -> None:
    text = CANCEL + nodes(
        *"abc",
        a='deadline = "2s"',
        b='deadline = "2s"',
        c='retry = { attempts = 2, delay = "1s" }',
    )
    run = play(text, {"a/a": [HANG], "b/b": [HANG], "c/c": [1]})
    assert result(run, "a") == result(run, "b") == ("failed", "deadline", "timeout")
    assert result(run, "c") == ("cancelled", "failure", None)
    assert trace(run, "c") == ["c 1.1 1 0-1"]


def test_cancel_inside_a_child_is_a_failure_of_its_attempt() -> None:
    text = child(kid='pipeline = { on_failure = "cancel" }').replace('needs = ["x"]', "")
    run = play(text, {"a/a/x/x": [1], "a/a/y/y": [HANG]})
    assert trace(run, "a") == ["a 1.1 1 0-1"]
    assert result(run, "a") == ("failed", "unrouted", "failure")
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert result(inner, "y") == ("cancelled", "failure", None)
    assert inner["status"] == "failed"


def test_of_two_runs_to_be_cancelled_at_one_instant_the_outer_one_comes_first() -> None:
    text = CANCEL + child(kid='pipeline = { on_failure = "cancel" }').replace('needs = ["x"]', "")
    run = play(text + nodes("z"), {"a/a/x/x": [1], "a/a/y/y": [HANG], "z/z": [1]})
    assert trace(run, "a") == ["a 1.1 cancelled 0-1"]
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert result(inner, "y") == ("cancelled", "parent", None)
    assert inner["status"] == "failed"


def test_cancelled_parent_cancels_its_child() -> None:
    text = '[pipeline]\ndeadline = "1s"\n' + child()
    run = play(text, {"a/a/x/x": [HANG]})
    assert result(run, "a") == ("cancelled", "deadline", None)
    assert trace(run, "a") == ["a 1.1 cancelled 0-1"]
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert inner["status"] == "cancelled"
    assert result(inner, "x") == result(inner, "y") == ("cancelled", "parent", None)


def test_failure_in_a_child_before_its_deadline_stays_a_failure() -> None:
    text = child(kid='pipeline = { deadline = "2s" }').replace('needs = ["x"]', "")
    run = play(text, {"a/a/x/x": [1], "a/a/y/y": [HANG]})
    assert trace(run, "a") == ["a 1.1 1 0-2"]
    inner = run["nodes"]["a"]["attempts"][0]["run"]
    assert inner["status"] == "failed"
    assert result(inner, "y") == ("cancelled", "deadline", None)


def test_request_cancels_what_has_no_result() -> None:
    text = nodes(*"abc", b='retry = { attempts = 2, delay = "4s" }', c='needs = ["b"]')
    run = play(text, {"b/b": [1]}, cancel_at=2.0)
    assert result(run, "a") == ("succeeded", "completed", "success")
    assert result(run, "b") == result(run, "c") == ("cancelled", "requested", None)
    assert trace(run, "b") == ["b 1.1 1 0-1"]
    assert run["status"] == "cancelled"


def test_request_at_the_instant_of_the_last_end_comes_too_late() -> None:
    assert play(nodes("a"), cancel_at=1.0)["status"] == "succeeded"
    run = play(nodes("a"), cancel_at=0.0)
    assert result(run, "a") == ("cancelled", "requested", None)
    assert trace(run, "a") == []


def test_hanging_for_ever_is_said() -> None:
    with pytest.raises(NeverEnds):
        play(nodes("a"), {"a/a": [HANG]})


# ------------------------------------------------------------ what holds in every run

KINDS = {  # §6, within the scope of the oracle
    "succeeded": {"completed", "routed", "exhausted"},
    "failed": {"routed", "unrouted", "exhausted", "deadline", "evaluation", "tolerance"},
    "skipped": {"needs", "when"},
    "cancelled": {"failure", "deadline", "requested", "parent"},
}
CANCEL_TIMES = st.one_of(st.none(), st.integers(0, 20).map(lambda n: n / 4))


def runs_in(run: Record) -> Iterator[Record]:
    """The run and all runs inside it."""
    yield run
    for attempt in (attempt for node in run["nodes"].values() for attempt in attempts_of(node)):
        if "run" in attempt:
            yield from runs_in(attempt["run"])


def attempts_of(node: Record) -> list[Record]:
    """The attempts of a node, or of all its items."""
    items = node.get("items", ())
    return [*node["attempts"], *(attempt for item in items for attempt in item["attempts"])]


def judge(run: Record, is_root: bool) -> None:
    kinds = {(n["result"], n["reason"]["kind"]) for n in run["nodes"].values()}
    assert all(kind in KINDS[result] for result, kind in kinds)  # T4
    results = {result for result, _ in kinds}
    if run["status"] == "succeeded":
        assert "cancelled" not in results
    assert ("outputs" in run) == (run["status"] == "succeeded")
    assert ("cancelled", "parent") not in kinds or not is_root
    assert ("cancelled", "requested") not in kinds or is_root
    for node in run["nodes"].values():
        if "items" in node:
            judge_fan(node)
        else:
            judge_node(node)


def judge_fan(node: Record) -> None:
    """A fan-out is what its items make it; each of these is as a node is."""
    items, kind = node["items"], node["reason"]["kind"]
    results = [item["result"] for item in items]
    whole = kind in ("completed", "tolerance") and "cancelled" not in results
    assert whole == ("output" in node)
    if whole:
        lacking = [r != "succeeded" for r in results]
        assert all(value is None for value, no in zip(node["output"], lacking, strict=True) if no)
        assert kind != "tolerance" or "failed" in results
    else:
        assert node["result"] in ("failed", "cancelled")
        assert kind in ("deadline", "tolerance") or node["result"] == "cancelled"
        assert "cancelled" in results
    for item in items:
        judge_node({**item, "label": item["label"]})


def judge_node(node: Record) -> None:
    attempts, ended = node["attempts"], node["result"] in ("succeeded", "failed")
    assert (node["label"] is not None) == ended
    assert "output" not in node or (ended and isinstance(attempts[-1]["outcome"], int))
    assert node["result"] != "skipped" or not attempts
    assert "items" not in node
    assert node["result"] != "succeeded" or attempts
    assert all(a["started"] <= a["ended"] for a in attempts)
    assert all(a["ended"] <= b["started"] for a, b in pairwise(attempts))
    cut = [a["outcome"] == "cancelled" for a in attempts]
    assert not any(cut[:-1])
    assert not any(cut) or node["result"] == "cancelled" or node["reason"]["kind"] == "deadline"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), CANCEL_TIMES)
def test_every_case_ends_with_a_result_and_a_reason_for_each_node(case: Any, cancel: Any) -> None:
    doc, script, inputs = case
    run = simulate(doc, script, inputs, cancel_at=cancel)
    assert list(run["nodes"]) == [*doc["nodes"], *doc.get("finally", {})]
    for index, one in enumerate(runs_in(run)):
        judge(one, is_root=index == 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(cases())
def test_no_limit_is_ever_exceeded(case: Any) -> None:
    doc, script, inputs = case
    run = simulate(doc, script, inputs)
    spans = [
        (attempt["started"], attempt["ended"], node.get("pool"), "run" not in attempt)
        for name, node in doc["nodes"].items()
        for attempt in attempts_of(run["nodes"][name])
    ]
    for name, node in doc["nodes"].items():
        own = [(a["started"], a["ended"]) for a in attempts_of(run["nodes"][name])]
        for moment, _ in own if "max_parallel" in node else ():
            assert sum(one <= moment < end for one, end in own) <= node["max_parallel"]  # §10
    for moment, *_ in spans:
        going = [span for span in spans if span[0] <= moment < span[1]]
        leaves = [span for span in going if span[3]]
        assert len(leaves) <= doc["pipeline"].get("max_parallel", 32)
        for pool, places in doc.get("pools", {}).items():
            assert len([span for span in going if span[2] == pool]) <= places


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tiny_cases(), st.sampled_from([0.5, 2, 4]))
def test_results_do_not_depend_on_timing(case: Any, factor: float) -> None:
    """T2: places and durations change, results do not, where no clock, no cancel and no race for a
    state takes part."""
    doc, script, inputs = case
    doc["pipeline"] = {"name": "case"}
    timed = ("deadline", "timeout", "pool", "priority", "set")
    doc["nodes"] = {n: without(node, timed) for n, node in doc["nodes"].items()}
    script = {k: ends for k, row in script.items() if (ends := [e for e in row if e != HANG])}
    slow = {
        key: [{**entry, "duration": entry.get("duration", 1) * factor} for entry in row]
        for key, row in script.items()
    }
    narrow = {**doc, "pipeline": {"name": "case", "max_parallel": 1}}
    assert timeless(simulate(doc, script, inputs)) == timeless(simulate(narrow, slow, inputs))


def without(node: Any, keys: tuple[str, ...]) -> Any:
    left = {key: value for key, value in node.items() if key not in keys}
    if "steps" in left:
        left["steps"] = {name: without(step, keys) for name, step in left["steps"].items()}
    return left


def timeless(run: Record) -> Any:
    times = ("started", "ended")

    def plain(node: Record) -> Record:
        items = [plain(item) for item in node.get("items", ())]
        attempts = [without(attempt, times) for attempt in node["attempts"]]
        return {**node, "attempts": attempts, "items": items}

    return {**run, "nodes": {name: plain(node) for name, node in run["nodes"].items()}}


def written_states(run: Record) -> Iterator[str]:
    for name, value in run.get("state", {}).items():
        if value != {"log": "${"}.get(name, STATES[name]["initial"]):
            yield name


def test_cases_are_well_spread() -> None:
    """Every result and reason within scope occurs, and every kind of outcome and status."""
    seen: Counter[Any] = Counter()

    @settings(
        max_examples=400,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(cases(), CANCEL_TIMES)
    def collect(case: Any, cancel: Any) -> None:
        for run in runs_in(simulate(*case, cancel_at=cancel)):
            seen[run["status"]] += 1
            seen.update(f"{name} written" for name in written_states(run))
            for node in run["nodes"].values():
                seen[node["result"], node["reason"]["kind"]] += 1
                seen.update(f"outcome {attempt['outcome']}" for attempt in attempts_of(node))
                seen.update(f"item {item['reason']['kind']}" for item in node.get("items", ()))
                seen["all of an empty list"] += node.get("items") == []
                seen["given up"] += node["reason"]["kind"] == "tolerance" and "output" not in node
                seen["tolerated"] += node["result"] == "succeeded" and any(
                    item["result"] == "failed" for item in node.get("items", ())
                )

    collect()
    expected = {(result, kind) for result, kinds in KINDS.items() for kind in kinds}
    expected |= {"succeeded", "failed", "cancelled"}
    expected |= {f"{name} written" for name in STATES}
    expected |= {"all of an empty list", "given up", "tolerated"}
    expected |= {f"item {kind}" for kind in ("completed", "unrouted", "deadline", "requested")}
    expected |= {f"outcome {o}" for o in (0, 1, 2, 3, 7, "error", "timeout", "cancelled")}
    missing = sorted(map(str, expected - set(seen)))
    assert not missing
