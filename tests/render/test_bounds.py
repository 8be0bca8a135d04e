"""What `engine check --worst-case` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.api import compute_worst_case
from engine.cli.main import main
from engine.render import bounds
from engine.toml.source import Source

SPEC = """\
engine = 1

[nodes.article]
start = "draft"

[nodes.article.steps.draft]
task = "shell"
with = { argv = ["./draft"] }
timeout = "10s"
routes = { success = "review" }

[nodes.article.steps.review]
task = "shell"
with = { argv = ["./review"] }
timeout = "5s"
routes = { 3 = { to = "draft", max = 4, delay = "1s" } }

[nodes.publish]
needs = ["article"]
task = "shell"
with = { argv = ["./publish"] }
timeout = "1m"
"""

SHOWN = """\
press  worst case of press.toml
node/step      visits  attempts  time
article            10        10  1m19s
  draft             5         5  50.0s
  review            5         5  29.0s
publish             1         1  1m00s
critical path      11        11  2m19s
run                11        11  2m19s
critical path: article → publish"""


def shown(text: str) -> str:
    return bounds.render_bounds("press.toml", compute_worst_case(Source("press.toml", text))[0])


def test_a_table_of_nodes_steps_and_the_run() -> None:
    assert shown(SPEC) == SHOWN


def test_steps_that_have_no_time_are_named() -> None:
    text = SPEC.replace('timeout = "5s"\n', "")
    assert shown(text).splitlines()[-1] == "no upper bound on time, no timeout: article/review"
    assert "run                11        11  -" in shown(text)


def test_a_figure_that_is_only_a_bound_is_marked() -> None:
    text = SPEC.replace('needs = ["article"]', "") + "[pipeline]\nmax_parallel = 1\n"
    assert "run                11        11  ≤ 2m19s" in shown(text)
    assert shown(text).splitlines()[-1].startswith("≤ upper bound")


def test_a_spec_that_does_not_pass_has_none() -> None:
    text = SPEC.replace("max = 4, ", "")
    assert shown(text) == "press.toml: no worst case, because it does not pass the check"


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "press.toml"
    path.write_text(SPEC)
    assert main(["check", "--worst-case", str(path)]) == 0
    assert "critical path: article → publish" in capsys.readouterr().out


def test_as_json_beside_the_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "press.toml"
    path.write_text(SPEC + "\n[limits]\nattempts = 5\n")
    assert main(["check", "--worst-case", "--json", str(path)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [each["code"] for each in found["diagnostics"]] == ["E601"]
    worst = found["worst_case"][str(path)]
    assert worst["run"] == {
        "visits": 11,
        "attempts": 11,
        "seconds": 139.0,
        "exact": True,
        "exact_seconds": True,
    }
    assert worst["critical_path"]["nodes"] == ["article", "publish"]
    assert worst["nodes"]["article"]["steps"]["draft"]["visits"] == 5


def test_of_a_node_with_a_mistake_no_worst_case_is_told() -> None:
    found, mistakes = compute_worst_case(
        Source("press.toml", SPEC + 'pool = "gpu"\ndeadline = "1s"\n')
    )
    assert found is None
    assert [each.rule.code for each in mistakes] == ["E201"]


def test_one_item_of_a_fan_out_is_told_too() -> None:
    fan = """\
engine = 1
[inputs]
many = { type = "array" }
[nodes.fan]
for_each = "${inputs.many}"
task = "shell"
with = { argv = ["./one", "${item}"] }
timeout = "1m"
"""
    lines = shown(fan).splitlines()
    assert [line.split() for line in lines[2:4]] == [
        ["fan", "-", "-", "-"],
        ["per", "item,", "of", "any", "number", "1", "1", "1m00s"],
    ]
    assert lines[-1] == "no upper bound on the number of items: fan"
    counted = shown(fan.replace('"array"', '"array", maxItems = 7')).splitlines()
    assert [line.split() for line in counted[2:4]] == [
        ["fan", "7", "7", "1m00s"],
        ["per", "item,", "of", "7", "1", "1", "1m00s"],
    ]


def test_as_json_what_has_no_bound_is_null() -> None:
    fan = """\
engine = 1
[inputs]
many = { type = "array" }
[nodes.fan]
for_each = "${inputs.many}"
task = "shell"
with = { argv = ["./one", "${item}"] }
"""
    found = compute_worst_case(Source("fan.toml", fan))[0]
    data = json.loads(bounds.bounds_to_json("[]", {"fan.toml": found}))["worst_case"]["fan.toml"]
    assert data["of_any_length"] == ["fan"]
    assert (data["run"]["attempts"], data["nodes"]["fan"]["items"]) == (None, None)
    assert data["nodes"]["fan"]["item"]["attempts"] == 1
