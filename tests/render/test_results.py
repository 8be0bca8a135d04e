"""What people see of a run's result, letter for letter."""

from __future__ import annotations

import json
import re
from typing import Any

import attrs

from engine.record.result import Attempt, ItemResult, NodeResult, Reason, Result
from engine.render.results import render_nodes, render_result, result_to_json


def attempt(outcome: Any, started: float, ended: float, run: Result | None = None) -> Attempt:
    return Attempt("build", 1, 1, started, ended, outcome, run=run)


def node(name: str, result: Any, message: str = "", **more: Any) -> NodeResult:
    return NodeResult(name, result, Reason("kind", message, more.pop("because", ())), **more)


def result(*found: NodeResult, status: Any = "failed", **more: Any) -> Result:
    return Result(status, {each.name: each for each in found}, pipeline="release", **more)


FAILED = result(
    node("fetch", "succeeded", label="success", attempts=(attempt(0, 0.0, 0.25),)),
    node(
        "build",
        "failed",
        "exit 2 after 2 attempts",
        label="2",
        attempts=(attempt(2, 0.25, 61.0), attempt(2, 62.0, 70.25)),
    ),
    node("test", "skipped", "needs `build`, which failed", because=("build",)),
    node("publish", "skipped", "needs `test`, which was skipped", because=("test",)),
    node("notify", "skipped", "its `when` is false"),
    message="`build` failed: exit 2",
)


def test_a_report() -> None:
    notes = {"build/build": ["cc main.c", "main.c:1: \x1b[31merror\x1b[0m"]}
    assert (
        render_result(FAILED, notes=notes)
        == r"""
node     result     label     time  attempts  why
fetch    succeeded  success  250ms         1
build    failed     2        1m10s         2  exit 2 after 2 attempts
test     skipped                           0  needs `build`, which failed
publish  skipped                           0  needs `test`, which was skipped
notify   skipped                           0  its `when` is false

build failed: exit 2 after 2 attempts
  | cc main.c
  | main.c:1: \x1b[31merror\x1b[0m
  skipped because of it: test, publish

release failed after 1m10s (1 succeeded, 1 failed, 3 skipped): `build` failed: exit 2
""".strip()
    )


def test_a_report_in_a_narrow_terminal() -> None:
    found = render_result(FAILED, width=36)
    assert (
        found
        == """
node     result     label     time
fetch    succeeded  success  250ms
build    failed     2        1m10s
    exit 2 after 2 attempts
test     skipped
    needs `build`, which failed
publish  skipped
    needs `test`, which was skipped
notify   skipped
    its `when` is false

build failed: exit 2 after 2
attempts
  skipped because of it: test,
  publish

release failed after 1m10s (1
succeeded, 1 failed, 3 skipped):
`build` failed: exit 2
""".strip()
    )


def test_in_a_narrow_terminal_no_line_is_too_long() -> None:
    long = node("a_node_with_quite_a_long_name_of_its_own", "failed", "exit 1 " * 9)
    ran = attrs.evolve(long, attempts=(attempt(1, 0.0, 1.0),))
    notes = {f"{long.name}/build": ["a line of progress that is longer than forty columns"]}
    found = render_result(result(ran), width=40, notes=notes)
    assert [line for line in found.split("\n") if len(line) > 40] == []
    assert "  | a line of progress that is longer\n  | than forty columns\n" in found
    assert re.search(r"^a_node_with_quite_a_long_name_o…  failed$", found, re.MULTILINE)


def test_columns_go_before_lines_get_too_long() -> None:
    heads = {
        width: render_nodes(FAILED, width=width).split("\n")[0].split() for width in (80, 35, 24, 9)
    }
    assert heads == {
        80: ["node", "result", "label", "time", "attempts", "why"],
        35: ["node", "result", "label", "time"],
        24: ["node", "result"],
        9: ["node", "result"],
    }


def test_nodes_of_a_sub_pipeline_stand_below_the_node_that_ran_it() -> None:
    inner = result(
        node("compile", "failed", "exit 1", attempts=(attempt(1, 0.0, 1.0),)), message="no"
    )
    first = attempt(1, 0.0, 0.5, result(node("old", "failed", "exit 1")))
    outer = node(
        "build", "failed", "exit 1 `failure`", attempts=(first, attempt(1, 0.5, 1.5, inner))
    )
    found = render_result(result(outer), notes={"build/build/compile/build": ["no such file"]})
    assert (
        found
        == """
node       result  label  time  attempts  why
build      failed         1.5s         2  exit 1 `failure`
  compile  failed         1.0s         1  exit 1

build failed: exit 1 `failure`

build/build/compile failed: exit 1
  | no such file

release failed after 1.5s (1 failed)
""".strip()
    )


def test_outputs_are_shown_whole_and_cannot_steer_a_terminal() -> None:
    outputs = {"url": "https://example.org", "count": 3, "log": "one\n\x1b[2Jtwo", "none": ""}
    found = render_result(result(status="succeeded", outputs=outputs))
    assert (
        found
        == r"""
outputs
  url    https://example.org
  count  3
  log
    one
    \x1b[2Jtwo
  none   ""

release succeeded after 0ms
""".strip()
    )


def test_a_cancelled_run_says_who_asked() -> None:
    found = render_result(
        result(node("a", "cancelled"), status="cancelled", message="SIGINT received")
    )
    assert found.endswith("\n\nrelease cancelled after 0ms (1 cancelled): SIGINT received")


def test_of_many_skipped_nodes_some_are_named() -> None:
    skipped = [node(f"n{at}", "skipped", "needs", because=("a",)) for at in range(12)]
    found = render_result(result(node("a", "failed"), *skipped))
    assert "  skipped because of it: n0, n1, n2, n3, n4, n5, n6, n7, n8, n9 and 2 more\n" in found


def test_colours_change_nothing_else() -> None:
    found = render_result(FAILED, color=True)
    assert "\x1b[32msucceeded\x1b[0m" in found
    for code in ("0", "1", "1;31", "2", "32"):
        found = found.replace(f"\x1b[{code}m", "")
    lines = [line.rstrip() for line in found.split("\n")]
    assert lines == render_result(FAILED).split("\n")


def test_json_is_that_of_the_result() -> None:
    assert json.loads(result_to_json(FAILED)) == FAILED.to_json()
    assert result_to_json(FAILED).isascii()


def test_of_a_fan_out_the_first_items_that_failed_are_told() -> None:
    good = ItemResult("succeeded", Reason("completed"), "success", attempts=(attempt(0, 1.0, 2.0),))
    bad = ItemResult("failed", Reason("unrouted", "exit 2"), "2", attempts=(attempt(2, 2.0, 4.5),))
    fan = node("fan", "failed", "12 of 13 items failed", label="failure", items=(good, *[bad] * 12))
    told = render_result(result(fan), notes={"fan[1]/build": ["no such file"]}).splitlines()
    assert told[1] == "fan   failed  failure  3.5s        13  12 of 13 items failed"
    assert told[3:7] == [
        "fan failed: 12 of 13 items failed",
        "  fan[1]: exit 2",
        "    | no such file",
        "  fan[2]: exit 2",
    ]
    assert told[-4:] == ["  fan[10]: exit 2", "  and 2 more items", "", told[-1]]
