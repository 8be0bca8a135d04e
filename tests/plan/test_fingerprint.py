"""The way back: a dumped spec loads to an equal one; and what a plan's hash sees."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import engine
from engine.base.durations import MAX_DURATION, format_duration, parse_duration
from engine.compile.compiler import compile as compile_spec
from engine.language.dumper import dump
from engine.language.loader import load_spec
from engine.language.spec import Spec
from engine.plan.plan import Plan
from engine.toml.source import Source
from tests.language.test_json_schema import FULL
from tests.support.plans import registry
from tests.support.strategies import cases

Doc = dict[str, Any]
SLOW = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def spec_of(text: str) -> Spec:
    spec, found = load_spec(Source("case.toml", text))
    assert spec is not None
    assert not found, "\n".join(map(str, found))
    return spec


def plan_of(text: str) -> Plan:
    plan, found = compile_spec(spec_of(text), registry())
    assert plan is not None, "\n".join(map(str, found))
    return plan


def dumped(text: str) -> str:
    return dump(spec_of("engine = 1\n" + text))


# --------------------------------------------------------------------------------- the way back


@SLOW
@given(cases())
def test_a_dumped_spec_loads_to_an_equal_one(case: tuple[Doc, Any, Any]) -> None:
    text = tomli_w.dumps(case[0])
    again = dump(spec_of(text))
    assert spec_of(again) == spec_of(text)
    assert plan_of(again).hash == plan_of(text).hash


@SLOW
@given(cases())
def test_nodes_and_steps_keep_their_order(case: tuple[Doc, Any, Any]) -> None:
    again = tomli.loads(dump(spec_of(tomli_w.dumps(case[0]))))
    assert list(again["nodes"]) == list(case[0]["nodes"])
    for name, node in case[0]["nodes"].items():
        assert list(again["nodes"][name].get("steps", {})) == list(node.get("steps", {}))


@SLOW
@given(cases())
def test_dumping_twice_changes_nothing(case: tuple[Doc, Any, Any]) -> None:
    once = dump(spec_of(tomli_w.dumps(case[0])))
    assert dump(spec_of(once)) == once


def test_every_key_comes_back() -> None:
    doc = copy.deepcopy(FULL)
    del doc["nodes"]["three"]["steps"]["second"]  # in another file
    text = tomli_w.dumps(doc)
    assert spec_of(dump(spec_of(text))) == spec_of(text)


def test_what_is_written_is_short() -> None:
    text = dumped(
        """
        [nodes.a]
        needs = {}
        priority = 100
        join = "all"
        task = "shell"
        timeout = "90s"
        retry = [{ attempts = 2, on = ["error", 3], delay = "0s", factor = 1 }]
        routes = { failure = { to = "done:x" }, timeout = { to = "a", max = 2 } }

        [nodes.b]
        needs = { a = "success" }
        task = "shell"
        """
    )
    assert tomli.loads(text) == {
        "engine": 1,
        "nodes": {
            "a": {
                "task": "shell",
                "timeout": "1m30s",
                "retry": {"attempts": 2, "on": ["error", 3]},
                "routes": {"failure": "done:x", "timeout": {"to": "a", "max": 2}},
            },
            "b": {"needs": ["a"], "task": "shell"},
        },
    }


def test_a_machine_of_one_step_stays_a_machine() -> None:
    text = dumped('nodes.a = { start = "a", steps.a = { task = "shell" } }')
    assert tomli.loads(text)["nodes"] == {"a": {"start": "a", "steps": {"a": {"task": "shell"}}}}


def test_empty_outputs_are_not_left_out() -> None:
    text = dumped('nodes.a = { task = "shell", outputs = {} }')
    assert tomli.loads(text)["nodes"]["a"]["outputs"] == {}


@pytest.mark.parametrize("text", ["$${x}", "$$${x} $$", "$", "$${", "{}"])
def test_a_literal_in_a_description_comes_back(text: str) -> None:
    written = tomli_w.dumps({"engine": 1, "nodes": {"a": {"task": "t", "description": text}}})
    spec = spec_of(written)
    assert spec.nodes["a"].description == text.replace("$${", "${")
    assert spec_of(dump(spec)) == spec


def test_dates_come_back_as_the_text_they_are() -> None:
    text = dumped('nodes.a = { task = "shell", with = { day = 2024-02-29, at = 07:30:00 } }')
    assert tomli.loads(text)["nodes"]["a"]["with"] == {"day": "2024-02-29", "at": "07:30:00"}


@given(st.integers(0, int(MAX_DURATION * 1_000_000_000)))
def test_durations_come_back_to_the_nanosecond(nanoseconds: int) -> None:
    seconds = nanoseconds / 1_000_000_000
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0s"), (0.25, "250ms"), (1.5, "1.5s"), (90, "1m30s"), (86_400, "1d")),
        *((5400, "1h30m"), (1e-6, "0.001ms"), (3600.5, "1h0.5s"), (60.001, "1m0.001s")),
    ],
)
def test_durations_are_written_in_falling_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1h30m", 5400), ("0.5h", 1800), ("000000000000000000001s", 1), ("1d1ms", 86_400.001)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "1", "s", "1m1h", "1s1s", "1 s", "-1s", "1us", "٣s", "1s\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["367d", "99999999999999999999999999h"])
def test_longer_than_a_year_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="longer than a year"):
        parse_duration(text)


# --------------------------------------------------------------------------------- the hash

MEANT = """
engine = 1

[pipeline]
deadline = "1h"
max_parallel = 2
tasks = []

[inputs]
text = { type = "string" }
flag = { type = "boolean", default = true }

[state]
seen = { type = "integer", initial = 0 }

[pools]
gpu = 1

[nodes.a]
task = "shell"
with = { argv = ["a", "b"], cwd = "${inputs.text}" }
exits = { odd = 3 }
routes = { odd = { to = "a", max = 2 }, "4" = "fail" }
retry = { attempts = 3, on = ["error"], delay = "1s" }
timeout = "10s"
pool = "gpu"

[nodes.b]
needs = { a = ["odd", "success"] }
start = "one"

[nodes.b.steps.one]
task = "probe"
routes = { success = "two", failure = "done:bad" }
set = { seen = 1 }

[nodes.b.steps.two]
pipeline = "child"

[nodes.c]
needs = ["b"]
when = "inputs.flag"
task = "probe"

[outputs]
x = "${a.stdout}"

[pipelines.child.nodes.only]
task = "probe"
"""

ONE_LAST = """[nodes.b.steps.two]
pipeline = "child"

[nodes.b.steps.one]
task = "probe"
routes = { failure = "done:bad", success = "two" }
set = { seen = 1 }
""" + MEANT[MEANT.index("\n[nodes.c]") :]

SAME = {
    "limits": ("[pools]", "[limits]\nattempts = 9\n\n[pools]"),
    "a comment": ("[pools]", "# why\n[pools]  # so"),
    "blank lines": ("\n\n", "\n\n\n\n"),
    "a description": ('pool = "gpu"', 'pool = "gpu"\ndescription = "x"'),
    "a description of the pipeline": ("[pipeline]", '[pipeline]\ndescription = "x"'),
    "a description of a step": (
        'task = "probe"\nroutes',
        'task = "probe"\ndescription = ""\nroutes',
    ),
    "a group": ('start = "one"', 'start = "one"\ngroup = "x"'),
    "the name it has anyway": ("[pipeline]", '[pipeline]\nname = "case"'),
    "a default of the pipeline": ("[pipeline]", '[pipeline]\non_failure = "finish"'),
    "a default of a node": ('pool = "gpu"', 'pool = "gpu"\npriority = 100\njoin = "all"'),
    "a default of a step": (
        'pipeline = "child"',
        'pipeline = "child"\nwith = {}\nexits = {}\nset = {}',
    ),
    "a default of a retry": ('delay = "1s"', 'delay = "1s", factor = 1, jitter = 0.0'),
    "the default `then`": ("max = 2", 'max = 2, then = "fail"'),
    "no delay of a route": ("max = 2", 'max = 2, delay = "0s"'),
    "a route in its long form": ('"4" = "fail"', '"4" = { to = "fail" }'),
    "a retry as an array": (
        'retry = { attempts = 3, on = ["error"], delay = "1s" }',
        'retry = [{ attempts = 3, on = ["error"], delay = "1s" }]',
    ),
    "`needs` as a table": ('needs = ["b"]', 'needs = { b = "success" }'),
    "another unit": ('timeout = "10s"', 'timeout = "10000ms"'),
    "dotted keys": ("[pipelines.child.nodes.only]\ntask", "[pipelines.child]\nnodes.only.task"),
    "a table of its own": (
        'exits = { odd = 3 }\nroutes = { odd = { to = "a", max = 2 }, "4" = "fail" }',
        'exits.odd = 3\nroutes.odd.to = "a"\nroutes.odd.max = 2\nroutes."4" = "fail"',
    ),
    "keys in another order": (
        'task = "shell"\nwith = { argv = ["a", "b"], cwd = "${inputs.text}" }',
        'with = { cwd = "${inputs.text}", argv = ["a", "b"] }\ntask = "shell"',
    ),
    "inputs in another order": (
        'text = { type = "string" }\nflag = { type = "boolean", default = true }',
        'flag = { default = true, type = "boolean" }\ntext.type = "string"',
    ),
    "steps in another order": (MEANT[MEANT.index("[nodes.b.steps.one]") :], ONE_LAST),
    "a pipeline that nothing uses": (
        "[pipelines.child.nodes.only]",
        '[pipelines.other.nodes.only]\ntask = "shell"\n[pipelines.child.nodes.only]',
    ),
    "Windows line ends": ("\n", "\r\n"),
}

OTHER = {
    "a name": ("[pipeline]", '[pipeline]\nname = "other"'),
    "a deadline": ('"1h"', '"2h"'),
    "max_parallel": ("max_parallel = 2", "max_parallel = 3"),
    "on_failure": ("[pipeline]", '[pipeline]\non_failure = "cancel"'),
    "an input's schema": ('type = "string"', 'type = "string", minLength = 1'),
    "an input's default": ("default = true", "default = false"),
    "no default": (", default = true", ""),
    "a pool's size": ("gpu = 1", "gpu = 2"),
    "a task": ('flag"\ntask = "probe"', 'flag"\ntask = "shell"'),
    "an argument": ('["a", "b"]', '["a", "c"]'),
    "the order of arguments": ('["a", "b"]', '["b", "a"]'),
    "a number that was a text": ('["a", "b"]', '["a", 1]'),
    "an exit's name": ("odd", "even"),
    "an exit's code": ("odd = 3", "odd = 5"),
    "a route's target": ('"4" = "fail"', '"4" = "done"'),
    "a route's label": ('"4" = "fail"', '"4" = "fail:x"'),
    "another exit": ('"4" = "fail"', '"5" = "fail"'),
    "max": ("max = 2", "max = 3"),
    "then": ("max = 2", 'max = 2, then = "done"'),
    "a route's delay": ("max = 2", 'max = 2, delay = "1s"'),
    "attempts": ("attempts = 3", "attempts = 4"),
    "on": ('on = ["error"]', 'on = ["error", 3]'),
    "a retry's delay": ('delay = "1s"', 'delay = "2s"'),
    "a retry's factor": ('delay = "1s"', 'delay = "1s", factor = 2'),
    "max_delay": ('delay = "1s"', 'delay = "1s", max_delay = "1s"'),
    "jitter": ('delay = "1s"', 'delay = "1s", jitter = 0.1'),
    "a second clause": (
        'retry = { attempts = 3, on = ["error"], delay = "1s" }',
        'retry = [{ attempts = 3, on = ["error"], delay = "1s" }, { attempts = 2 }]',
    ),
    "a timeout": ('"10s"', '"11s"'),
    "no pool": ('pool = "gpu"', ""),
    "priority": ('pool = "gpu"', 'pool = "gpu"\npriority = 1'),
    "allow_failure": ('pool = "gpu"', 'pool = "gpu"\nallow_failure = true'),
    "a node's deadline": ('pool = "gpu"', 'pool = "gpu"\ndeadline = "1h"'),
    "outputs": ('pool = "gpu"', 'pool = "gpu"\noutputs = {}'),
    "a label": ('["odd", "success"]', '["success"]'),
    "a condition": ('{ a = ["odd", "success"] }', '{ a = "finished" }'),
    "join": ('start = "one"', 'start = "one"\njoin = "any"'),
    "start": ('start = "one"', 'start = "two"'),
    "when": ('when = "inputs.flag"', 'when = "!inputs.flag"'),
    "no when": ('when = "inputs.flag"', ""),
    "what a state begins with": ("initial = 0", "initial = 1"),
    "a state's schema": ('"integer", initial', '"number", initial'),
    "a state more": ("[pools]", "[state.more]\ninitial = 1\n[pools]"),
    "what is set": ("seen = 1", "seen = 2"),
    "an output": ('x = "${a.stdout}"', 'x = "${a.stderr}"'),
    "an output's name": ('x = "${a.stdout}"', 'y = "${a.stdout}"'),
    "a sub-pipeline": ('only]\ntask = "probe"', 'only]\ntask = "shell"'),
}


def test_the_hash_is_hexadecimal_sha256() -> None:
    assert len(bytes.fromhex(plan_of(MEANT).hash)) == 32


@pytest.mark.parametrize(("old", "new"), SAME.values(), ids=SAME)
def test_layout_leaves_the_hash_alone(old: str, new: str) -> None:
    assert old in MEANT
    assert plan_of(MEANT.replace(old, new)).hash == plan_of(MEANT).hash


@pytest.mark.parametrize(("old", "new"), OTHER.values(), ids=OTHER)
def test_a_change_of_meaning_changes_the_hash(old: str, new: str) -> None:
    assert old in MEANT
    assert plan_of(MEANT.replace(old, new)).hash != plan_of(MEANT).hash


FAN = 'engine = 1\n[nodes.a]\ntask = "shell"\nfor_each = ["x", "y"]\ntolerate = 1\n'


@pytest.mark.parametrize(
    ("new", "same"),
    [
        (FAN + "max_parallel = 32\n", True),
        (FAN.replace("tolerate = 1", "tolerate = 0"), False),
        (FAN + "max_parallel = 2\n", False),
        (FAN.replace('"y"', '"z"'), False),
        (FAN.replace("tolerate = 1", 'tolerate = "50%"'), False),
    ],
)
def test_what_a_fan_out_is_is_meaning(new: str, same: bool) -> None:
    assert (plan_of(new).hash == plan_of(FAN).hash) is same


def test_a_fan_out_that_says_its_defaults_means_the_same() -> None:
    plain = FAN.replace("tolerate = 1\n", "")
    assert plan_of(plain).hash == plan_of(plain + 'tolerate = "0%"\n').hash


def test_the_order_of_nodes_is_meaning() -> None:
    node = {"task": "shell"}
    one = plan_of(tomli_w.dumps({"engine": 1, "nodes": {"a": node, "b": node}}))
    two = plan_of(tomli_w.dumps({"engine": 1, "nodes": {"b": node, "a": node}}))
    assert one.hash != two.hash


def test_a_sub_pipeline_in_a_file_counts_by_what_it_means() -> None:
    def hash_with(child: str) -> str:
        text = 'engine = 1\nnodes.a.pipeline = "./child.toml"\n'
        spec, found = load_spec(Source("case.toml", text), lambda path: Source(path, child))
        assert spec is not None
        assert not found
        plan, _ = compile_spec(spec, registry())
        assert plan is not None
        return plan.hash

    same = hash_with('engine = 1\nnodes.x.task = "shell"\n')
    assert same == hash_with('engine = 1\n[nodes.x]\ntask = "shell" # so\n')
    assert same != hash_with('engine = 1\nnodes.x.task = "probe"\n')


@SLOW
@given(cases(), st.randoms(use_true_random=False))
def test_keys_in_any_order_hash_alike(case: tuple[Doc, Any, Any], random: Any) -> None:
    doc = copy.deepcopy(case[0])
    expected = plan_of(tomli_w.dumps(doc)).hash
    assert plan_of(tomli_w.dumps(_shuffled(doc, random.shuffle))).hash == expected


def _shuffled(value: Any, shuffle: Callable[[list[Any]], None], key: str = "") -> Any:
    if isinstance(value, list):
        return [_shuffled(item, shuffle) for item in value]
    if not isinstance(value, dict):
        return value
    keys = list(value)
    if key not in ("nodes", "finally"):
        shuffle(keys)
    return {k: _shuffled(value[k], shuffle, k) for k in keys}


def test_tables_are_dumped_in_their_order_and_checked_by_nobody() -> None:
    tables = {"nodes": {"b": {"task": "pass"}, "a": {"task": "pass", "needs": ["b"]}}}
    text = engine.dump(tables)
    assert tomli.loads(text) == {"engine": 1, **tables}
    assert text.index("nodes.b") < text.index("nodes.a")
    assert not engine.check(Source("x.toml", text)).errors
    assert "engine = 7" in engine.dump({**tables, "engine": 7})
    with pytest.raises(TypeError):
        engine.dump({"inputs": {"x": None}})


def test_what_tables_mean_is_what_their_dump_means() -> None:
    spec = spec_of(engine.dump({"nodes": {"a": {"task": "pass"}}}))
    assert spec_of(engine.dump(spec)) == spec
