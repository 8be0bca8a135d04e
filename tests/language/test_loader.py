"""What `load` says of a file: code, place and cure, all mistakes at once, and never a traceback."""

from __future__ import annotations

import base64
import json
import pathlib
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.language.loader import load_spec
from engine.language.spec import NodeSpec, RetrySpec, RouteSpec, Spec, StepSpec
from engine.toml.source import Source
from tests.language.test_json_schema import near_misses
from tests.support.marks import Found, marked, shown
from tests.support.plans import registry
from tests.support.strategies import cases
from tests.toml.test_source import CORPUS, needs_corpus

A = 'engine = 1\n[nodes.a]\ntask = "shell"\n'
M = 'engine = 1\n[nodes.a]\nstart = "s"\n[nodes.a.steps.s]\ntask = "shell"\n'
EXPRESSION = ("E505", "an expression is not allowed here")
KEY = ("E505", "an expression is not allowed in a key")
DURATION = 'is not a duration such as "250ms", "1.5s" or "1h30m"'
NEEDS = "an array of nodes, or a table from nodes to conditions"
CONDITION = '"success" or "failure" or "finished" or "always"'
SHAPE = "letters, digits and `_`, no digit first"


def reader(files: dict[str, str]) -> Any:
    """Reads what is in a dict, by the file's name."""

    def read(path: pathlib.Path) -> Source:
        if path.name not in files:
            raise FileNotFoundError(2, "No such file or directory")
        return Source(path, files[path.name])

    return read


def loaded(text: str, **files: str) -> tuple[Spec | None, list[Found]]:
    """The Spec of a text and its findings; `files` are those beside it, by stem."""
    found_in = reader({f"{stem}.toml": other for stem, other in files.items()})
    spec, found = load_spec(Source("case.toml", text), found_in)
    return spec, [shown(diagnostic) for diagnostic in found]


def spec_of(text: str) -> Spec:
    spec, found = loaded("engine = 1\n" + text)
    assert spec is not None
    assert not found
    return spec


def says(text: str, *expected: tuple[Any, ...]) -> list[Found]:
    """Each mark in the text has its finding, in order: code, message, and if given the cure."""
    plain, marks = marked(text)
    _, found = loaded(plain)
    assert [(f.code, f.unnamed) for f in found] == [one[:2] for one in expected]
    assert [f.span for f in found] == marks
    for finding, one in zip(found, expected, strict=True):
        assert len(one) == 2 or finding.help == one[2]
    return found


# ---------------------------------------------------------------------------------- what is right


def test_short_forms_are_spelled_out() -> None:
    spec = spec_of(
        """
        [nodes.a]
        task = "shell"
        needs = ["b", "c"]
        routes = { x = "done", "3" = { to = "a", max = 2, delay = "1s" } }
        retry = { attempts = 2, on = ["x", 3], max_delay = "1m" }

        [nodes.b]
        start = "s"
        steps.s = { pipeline = "p", timeout = "1h30m" }

        [nodes.c]
        task = "shell"
        needs = { b = "failure", a = ["x", 3] }
        """
    )
    assert spec.nodes["a"] == NodeSpec(
        {
            "a": StepSpec(
                "shell",
                routes={"x": RouteSpec("done"), "3": RouteSpec("a", 2, None, 1.0)},
                retry=(RetrySpec(2, ("x", 3), max_delay=60.0),),
            )
        },
        "a",
        single=True,
        needs={"b": "success", "c": "success"},
    )
    assert spec.nodes["b"].steps == {"s": StepSpec(pipeline="p", timeout=5400.0)}
    assert spec.nodes["c"].needs == {"b": "failure", "a": ("x", 3)}


def test_the_name_is_the_stem_of_the_file() -> None:
    spec, _ = load_spec(Source("some/where/article.toml", A))
    assert spec is not None
    assert spec.name == "article"


def test_a_name_of_its_own_goes_first() -> None:
    assert spec_of('pipeline.name = "x"\n' + A.split("\n", 1)[1]).name == "x"


def test_order_is_that_of_first_appearance() -> None:
    text = 'nodes.b.task = "t"\nnodes.c.task = "t"\n[nodes.a]\ntask = "t"\n'
    assert list(spec_of(text).nodes) == ["b", "c", "a"]


def test_dates_are_text_and_numbers_stay_what_they_are() -> None:
    text = '[nodes.a]\ntask = "t"\nwith = { d = 2024-02-29T01:02:03Z, i = 1, f = 1.0, t = true }\n'
    with_ = spec_of(text).nodes["a"].steps["a"].with_
    assert repr(with_) == "{'d': '2024-02-29T01:02:03+00:00', 'i': 1, 'f': 1.0, 't': True}"


@pytest.mark.parametrize("name", ["size", "list", "no name", "done", "1"])
def test_outputs_may_have_any_name(name: str) -> None:
    doc = {"nodes": {"a": {"task": "t", "outputs": {name: 1}}}, "outputs": {name: "${a}"}}
    assert spec_of(tomli_w.dumps(doc)).outputs == {name: "${a}"}


def test_exits_pools_and_pipelines_may_have_reserved_names() -> None:
    doc = {
        "pools": {"run": 1},
        "nodes": {"a": {"task": "t", "exits": {"done": 3}, "pool": "run"}},
        "pipelines": {"filter": {"nodes": {"a": {"task": "t"}}}},
    }
    assert spec_of(tomli_w.dumps(doc)).pipelines["filter"].key_path == ("pipelines", "filter")


def test_a_schema_of_an_input_may_hold_anything() -> None:
    text = 'inputs.x = { pattern = "^\\\\${", "${" = 1 }\nnodes.a.task = "t"\n'
    assert spec_of(text).inputs["x"]["${"] == 1


# ---------------------------------------------------------------------------------- one mistake

VERSION = "`engine` must be 1, the version of the language that this engine supports"
WRONG: dict[str, tuple[str, tuple[Any, ...]]] = {
    # a document
    "not TOML": ("engine = 1\nx «y»", ("E101", "expected `=` after a key, found `y`")),
    "no version": (
        "«»[nodes.a]\ntask = 't'",
        ("E105", "`engine`, the version of the language, is missing", "begin with `engine = 1`"),
    ),
    "another version": (A.replace("1", "«2»", 1), ("E103", VERSION)),
    "a version in quotes": (A.replace("1", "«'1'»", 1), ("E103", VERSION)),
    "a version with a fraction": (A.replace("1", "«1.0»", 1), ("E103", VERSION)),
    "no nodes": (
        "«»engine = 1",
        ("E105", "a pipeline needs at least one node", "write `[nodes.NAME]`"),
    ),
    "empty nodes": ("«»engine = 1\n[nodes]", ("E105", "a pipeline needs at least one node")),
    "nodes of another type": (
        "engine = 1\nnodes = «3»",
        ("E103", "expected a table, found the number `3`"),
    ),
    "an unknown table": (
        A + "[«node»]",
        ("E102", "`node` is not a key here", "did you mean `nodes`?"),
    ),
    "nothing like it": (
        A + "[«xyzzy»]",
        (
            "E102",
            "`xyzzy` is not a key here",
            (
                "known here: `finally`, `inputs`, `limits`, `nodes`, `outputs`, `pipeline`, `pipelines`, `pools`"
                ", `resources`, `services`, `state`"
            ),
        ),
    ),
    # [pipeline]
    "an unknown key of the pipeline": (
        A + "[pipeline]\n«max_paralel» = 3",
        ("E102", "`max_paralel` is not a key here", "did you mean `max_parallel`?"),
    ),
    "max_parallel zero": (
        A + "[pipeline]\nmax_parallel = «0»",
        ("E103", "expected a whole number, 1 or more, found the number `0`"),
    ),
    "max_parallel true": (
        A + "[pipeline]\nmax_parallel = «true»",
        ("E103", "expected a whole number, 1 or more, found the boolean `true`"),
    ),
    "on_failure": (
        A + '[pipeline]\non_failure = «"cancle"»',
        (
            "E103",
            'expected "finish" or "cancel", found the string `cancle`',
            'did you mean "cancel"?',
        ),
    ),
    "tasks no array": (
        A + '[pipeline]\ntasks = «"m"»',
        ("E103", "expected an array, found the string `m`"),
    ),
    "a module no string": (
        A + '[pipeline]\ntasks = ["m", «3»]',
        ("E103", "expected a string, found the number `3`"),
    ),
    # durations
    "a duration without a unit": (A + 'timeout = «"20"»', ("E103", f"`20` {DURATION}")),
    "a duration as a number": (
        A + "timeout = «20»",
        ("E103", 'expected a duration such as "1m30s", found the number `20`'),
    ),
    "rising units": (A + 'timeout = «"1s1m"»', ("E103", f"`1s1m` {DURATION}")),
    "a unit twice": (A + 'timeout = «"1s1s"»', ("E103", f"`1s1s` {DURATION}")),
    "an empty duration": (A + 'deadline = «""»', ("E103", f"`` {DURATION}")),
    "no time at all": (A + 'deadline = «"0s"»', ("E103", "`0s` must be above zero")),
    "more than a year": (A + 'deadline = «"9999h"»', ("E103", "`9999h` is longer than a year")),
    "a date": (
        A + "deadline = «2024-01-01»",
        ("E103", 'expected a duration such as "1m30s", found a date or time'),
    ),
    # names
    "a name that is none": (
        'engine = 1\n[nodes.«"a-b"»]\ntask = "t"',
        ("E104", "`a-b` is not a name", SHAPE),
    ),
    "a name with a digit first": (
        'engine = 1\n[nodes.«1a»]\ntask = "t"',
        ("E104", "`1a` is not a name", SHAPE),
    ),
    "a name beyond ASCII": (
        'engine = 1\n[nodes.«"é"»]\ntask = "t"',
        ("E104", "`é` is not a name", SHAPE),
    ),
    "an empty name": (
        'engine = 1\n[nodes.«""»]\ntask = "t"',
        ("E104", "`` is not a name", SHAPE),
    ),
    "a reserved node": (
        'engine = 1\n[nodes.«run»]\ntask = "t"',
        ("E104", "`run` is a reserved word", "use another name, such as `run_`"),
    ),
    "a reserved input": (
        A + '[inputs]\n«size» = { type = "string" }',
        ("E104", "`size` is a reserved word"),
    ),
    "a reserved step": (
        'engine = 1\n[nodes.a]\nstart = "done"\n[nodes.a.steps.«done»]\ntask = "t"',
        ("E104", "`done` is a reserved word"),
    ),
    "a pool": (A + '[pools]\n«"a b"» = 1', ("E104", "`a b` is not a name")),
    "a pipeline": (
        A + '[pipelines.«"a b"».nodes.x]\ntask = "t"',
        ("E104", "`a b` is not a name"),
    ),
    "an exit": (A + 'exits = { «"3"» = 3 }', ("E104", "`3` is not a name")),
    "an exit called like an outcome": (
        A + "exits = { «error» = 3 }",
        ("E104", "`error` is the name of a built-in outcome"),
    ),
    # [inputs], [state] and [pools]
    "a state that is no table": (
        A + "[state]\nx = «3»",
        ("E103", "expected a JSON Schema (a table) with `initial`, found the number `3`"),
    ),
    "a state without initial": (
        A + '[state]\n«x» = { type = "string" }',
        ("E105", "`initial` is missing", "set `initial`, its value when a run starts"),
    ),
    "a state with a reserved name": (
        A + "[state]\n«size» = { initial = 1 }",
        ("E104", "`size` is a reserved word", "use another name, such as `size_`"),
    ),
    "set that is no table": (A + "set = «3»", ("E103", "expected a table, found the number `3`")),
    "set beside steps": (
        M.replace("start", "«set» = {}\nstart", 1),
        (
            "E103",
            "`set` belongs to a step, and this node has `steps`",
            "move `set` into one of the steps",
        ),
    ),
    "an input that is no table": (
        A + '[inputs]\nx = «"string"»',
        ("E103", "expected a JSON Schema (a table), found the string `string`"),
    ),
    "a pool without a place": (
        A + "[pools]\ngpu = «0»",
        ("E103", "expected a whole number, 1 or more, found the number `0`"),
    ),
    # a node
    "a node that is no table": (
        'engine = 1\n[nodes]\na = «"shell"»',
        ("E103", "expected a table, found the string `shell`"),
    ),
    "an unknown key of a node": (
        A + "«timout» = 1",
        ("E102", "`timout` is not a key here", "did you mean `timeout`?"),
    ),
    "an internal field": (A + "«single» = true", ("E102", "`single` is not a key here")),
    "no body": (
        "engine = 1\n[nodes.«a»]\njoin = 'any'",
        ("E105", "`a` has no body", "give it a `task` or a `pipeline`"),
    ),
    "two bodies": (
        A + '«pipeline» = "p"',
        ("E103", "`task` and `pipeline` exclude each other"),
    ),
    "a task beside steps": (
        M.replace("start", "«task» = 't'\nstart"),
        (
            "E103",
            "`task` belongs to a step, and this node has `steps`",
            "move `task` into one of the steps",
        ),
    ),
    "steps without start": (
        "engine = 1\n[nodes.«a»]\nsteps = { s = { task = 't' } }",
        ("E105", "`start` is missing"),
    ),
    "start without steps": (
        "engine = 1\n[nodes.«a»]\nstart = 's'",
        ("E105", "`steps` is missing"),
    ),
    "start misspelt": (
        "engine = 1\n[nodes.a]\n«strat» = 's'\nsteps = { s = { task = 't' } }",
        ("E102", "`strat` is not a key here", "did you mean `start`?"),
    ),
    "empty steps": (
        "engine = 1\n[nodes.a]\nstart = 's'\n«steps» = {}",
        ("E105", "`steps` is empty"),
    ),
    "steps of another type": (
        "engine = 1\n[nodes.a]\nstart = 's'\nsteps = «['s']»",
        ("E103", "expected a table, found an array"),
    ),
    "join": (
        A + 'join = «"one"»',
        ("E103", 'expected "all" or "any", found the string `one`'),
    ),
    "priority below zero": (
        A + "priority = «-1»",
        ("E103", "expected a whole number, 0 or more, found the number `-1`"),
    ),
    "allow_failure": (
        A + 'allow_failure = «"yes"»',
        ("E103", "expected true or false, found the string `yes`"),
    ),
    "when": (A + "when = «true»", ("E103", "expected a string, found the boolean `true`")),
    "outputs": (
        A + 'outputs = «"${steps.a}"»',
        ("E103", "expected a table, found the string `${steps.a}`"),
    ),
    "a long string": (
        A + f'outputs = «"{"x" * 50}"»',
        ("E103", "expected a table, found a string"),
    ),
    "a number that JSON lacks": (
        A + "with = { a = [1, «inf»] }",
        ("E103", "`inf` is a number that JSON cannot represent"),
    ),
    # needs
    "needs a string": (
        A + 'needs = «"b"»',
        (
            "E103",
            "expected an array of nodes, or a table from nodes to conditions, found the string `b`",
        ),
    ),
    "a node twice": (A + 'needs = ["b", «"b"»]', ("E103", "`b` is named twice")),
    "a need that is no node": (
        A + "needs = [«3»]",
        ("E103", "expected a node, found the number `3`"),
    ),
    "an unknown condition": (
        A + 'needs = { b = «"sucess"» }',
        (
            "E103",
            f"expected {CONDITION}, found the string `sucess`",
            'did you mean "success"?',
        ),
    ),
    "a label without its array": (
        A + 'needs = { b = «"deferred"» }',
        (
            "E103",
            f"expected {CONDITION}, found the string `deferred`",
            'write a label in an array: ["deferred"]',
        ),
    ),
    "no labels": (
        A + "needs = { b = «[]» }",
        ("E103", "expected a condition, or an array of labels, found an array"),
    ),
    "a label out of range": (
        A + "needs = { b = ['x', «256»] }",
        ("E103", "expected a label or an exit code, found the number `256`"),
    ),
    # a step
    "an unknown key of a step": (
        M + "«rout» = {}",
        ("E102", "`rout` is not a key here", "did you mean `routes`?"),
    ),
    "a node's key in a step": (
        M + "«deadline» = '1s'",
        (
            "E102",
            "`deadline` is not a key here",
            "this key belongs to the node, not to its steps",
        ),
    ),
    "a step without a body": (
        M.replace("task = ", "description = ").replace("steps.s", "steps.«s»"),
        ("E105", "`s` has no body", "give it a `task` or a `pipeline`"),
    ),
    "a step called like its node": (
        'engine = 1\n[nodes.a]\nstart = "a"\n[nodes.a.steps.a]\ntask = "t"\n«tsak» = 1',
        ("E102", "`tsak` is not a key here"),
    ),
    "an exit out of range": (
        A + "exits = { big = «256» }",
        ("E103", "expected an exit code from 0 to 255, found the number `256`"),
    ),
    "two names for one exit": (
        A + "exits = { odd = 3, «even» = 3 }",
        ("E103", "`even` and `odd` name the same exit 3"),
    ),
    # routes
    "a route of another type": (
        A + "routes = { x = «3» }",
        ("E103", "expected a target, or a table with `to`, found the number `3`"),
    ),
    "a route without `to`": (A + "routes = { «x» = { max = 3 } }", ("E105", "`to` is missing")),
    "an unknown key of a route": (
        A + "routes = { x = { to = 'a', «maximum» = 3 } }",
        ("E102", "`maximum` is not a key here", "did you mean `max`?"),
    ),
    "max zero": (
        A + "routes = { x = { to = 'a', max = «0» } }",
        ("E103", "expected a whole number from 1 to 1000, found the number `0`"),
    ),
    "max too big": (
        A + "routes = { x = { to = 'a', max = «1001» } }",
        ("E103", "expected a whole number from 1 to 1000, found the number `1001`"),
    ),
    "tolerate without for_each": (
        A + "«tolerate» = 1",
        ("E103", "`tolerate` requires `for_each`", "add `for_each` with the list to run it for"),
    ),
    "max_parallel of a node without for_each": (
        A + "«max_parallel» = 1",
        ("E103", "`max_parallel` requires `for_each`"),
    ),
    "no share": (
        A + 'for_each = ["x"]\ntolerate = «"101%"»',
        (
            "E103",
            'expected a whole number, 0 or more, or a share of all items such as "10%", found the string `101%`',
        ),
    ),
    "no item": (
        A + "for_each = «[]»",
        (
            "E103",
            "expected a string that is one `${…}`, or an array with at least one item, found an array",
        ),
    ),
    "no items": (
        A + "for_each = «3»",
        (
            "E103",
            "expected a string that is one `${…}`, or an array with at least one item, found the number `3`",
        ),
    ),
    "then without max": (
        A + "routes = { x = { to = 'a', «then» = 'done' } }",
        ("E103", "`then` requires `max`", "set `max`, how often `to` is taken"),
    ),
    "max on an end": (
        A + "routes = { x = { to = 'done', «max» = 3 } }",
        ("E103", "`max` is not allowed on a route that ends the node"),
    ),
    "max on an end with a label": (
        A + "routes = { x = { to = 'fail:y', «max» = 3 } }",
        ("E103", "`max` is not allowed on a route that ends the node"),
    ),
    "delay on an end": (
        A + "routes = { x = { to = 'fail', «delay» = '1s' } }",
        ("E103", "`delay` is not allowed on a route that ends the node"),
    ),
    # retry
    "an empty retry": (
        A + "retry = «[]»",
        ("E103", "expected a table with `attempts`, or an array of such tables, found an array"),
    ),
    "a retry without attempts": (
        A + "«retry» = { delay = '1s' }",
        ("E105", "`attempts` is missing"),
    ),
    "a clause without attempts": (
        A + "retry = [{ attempts = 2 }, «{ delay = '1s' }»]",
        ("E105", "`attempts` is missing"),
    ),
    "attempts zero": (
        A + "retry = { attempts = «0» }",
        ("E103", "expected a whole number from 1 to 1000, found the number `0`"),
    ),
    "on no array": (
        A + "retry = { attempts = 2, on = «'error'» }",
        ("E103", "expected an array, found the string `error`"),
    ),
    "on out of range": (
        A + "retry = [{ attempts = 2, on = ['error', «-1»] }]",
        ("E103", "expected the name or number (0 to 255) of an exit, found the number `-1`"),
    ),
    "a factor below one": (
        A + "retry = { attempts = 2, factor = «0.5» }",
        ("E103", "expected a number, 1 or more, found the number `0.5`"),
    ),
    "jitter above one": (
        A + "retry = { attempts = 2, jitter = «1.5» }",
        ("E103", "expected a number from 0 to 1, found the number `1.5`"),
    ),
    "delays beyond a year": (
        A + "retry = «{ attempts = 100, delay = '1s', factor = 2 }»",
        ("E103", "the last delay of this retry is longer than a year", "set `max_delay`"),
    ),
    "delays beyond all numbers": (
        A + "retry = [{ attempts = 2 }, «{ attempts = 1000, delay = '1s', factor = 1e9 }»]",
        ("E103", "the last delay of this retry is longer than a year", "set `max_delay`"),
    ),
    # sub-pipelines
    "a pipeline without nodes": (
        A + "[pipelines.«p»]",
        ("E105", "a pipeline needs at least one node"),
    ),
    "a pipeline with a version": (
        A + "[pipelines.p]\n«engine» = 1\nnodes.x.task = 't'",
        ("E102", "`engine` is not a key here"),
    ),
    "pipelines in a pipeline": (
        A + "[pipelines.p]\nnodes.x.task = 't'\n[pipelines.p.«pipelines».q.nodes.x]\ntask = 't'",
        ("E103", "a pipeline inside a file cannot contain pipelines"),
    ),
    "a mistake in a pipeline": (
        A + "[pipelines.p.nodes.x]\ntask = 't'\ntimeout = «1»",
        ("E103", 'expected a duration such as "1m30s", found the number `1`'),
    ),
    "a file that is not there": (
        A.replace("task", "pipeline").replace('"shell"', '«"./child.toml"»'),
        ("E201", "`./child.toml` cannot be read: no such file or directory"),
    ),
    "a file that cannot be": (
        A.replace("task", "pipeline").replace('"shell"', '«"a\\u0000.toml"»'),
        ("E201", "`a\0.toml` cannot be read: it is not a path"),
    ),
    "a file that is itself": (
        A.replace("task", "pipeline").replace('"shell"', '«"./case.toml"»'),
        ("E204", "pipelines include each other: case.toml → case.toml"),
    ),
    # expressions where none are taken
    "a task": (A.replace("shell", "«${inputs.x}»"), EXPRESSION),
    "a description": (A + 'description = "see «${a.b}», ${a.c}"', EXPRESSION),
    "a description of a step": (M + 'description = "«${a.b}»"', EXPRESSION),
    "a description of the pipeline": (A + '[pipeline]\ndescription = "«${a.b}»"', EXPRESSION),
    "a name of the pipeline": (A + '[pipeline]\nname = "x«${a.b}»"', EXPRESSION),
    "a module": (A + '[pipeline]\ntasks = ["«${a.b}»"]', EXPRESSION),
    "a sub-pipeline": (
        'engine = 1\n[nodes.a]\npipeline = "./«${inputs.x}».toml"',
        EXPRESSION,
    ),
    "a timeout": (A + 'timeout = "«${inputs.x}»"', EXPRESSION),
    "an unclosed one": (A + 'timeout = "1«${»s"', EXPRESSION),
    "a pool of a node": (A + 'pool = "«${inputs.x}»"', EXPRESSION),
    "a group": (A + 'group = "«${inputs.x}»"', EXPRESSION),
    "an executor": (A + 'executor = "«${inputs.x}»"', EXPRESSION),
    "a join": (A + 'join = "«${inputs.x}»"', EXPRESSION),
    "a start": (M.replace('"s"', '"«${inputs.x}»"'), EXPRESSION),
    "a need": (A + 'needs = ["b", "«${inputs.x}»"]', EXPRESSION),
    "a need's condition": (A + 'needs = { b = "«${inputs.x}»" }', EXPRESSION),
    "a label": (A + 'needs = { b = ["«${inputs.x}»"] }', EXPRESSION),
    "a needed key": (A + 'needs = { «"${inputs.x}"» = "success" }', KEY),
    "an exit code": (A + 'exits = { odd = "«${inputs.x}»" }', EXPRESSION),
    "a route's key": (A + 'routes = { «"${inputs.x}"» = "done" }', KEY),
    "a target": (A + 'routes = { x = "«${inputs.x}»" }', EXPRESSION),
    "a long target": (A + 'routes = { x = { to = "a", max = 2, then = "«${x}»" } }', EXPRESSION),
    "attempts": (A + 'retry = { attempts = "«${inputs.x}»" }', EXPRESSION),
    "an outcome": (A + 'retry = [{ attempts = 2, on = ["«${inputs.x}»"] }]', EXPRESSION),
    "a key of with": (A + 'with = { a = [{ «"${inputs.x}"» = 1 }] }', KEY),
    "a key of set": (A + 'set = { «"${inputs.x}"» = 1 }', KEY),
    "what a state begins with": (A + '[state]\nx.initial = [{ a = "«${inputs.x}»" }]', EXPRESSION),
    "a key of outputs": (A + '[outputs]\n«"${inputs.x}"» = 1', KEY),
    "an expression below an unknown key": (
        A + '«wiht» = { a = "${inputs.x}" }',
        ("E102", "`wiht` is not a key here", "did you mean `with`?"),
    ),
    "an expression in what is no table": (
        A + 'with = «["${inputs.x}"]»',
        ("E103", "expected a table, found an array"),
    ),
    "an expression in a bad name": (
        'engine = 1\n[nodes.«"${x}"»]\ntask = "t"',
        ("E104", "`${x}` is not a name"),
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_one_mistake_is_one_finding(text: str, expected: tuple[Any, ...]) -> None:
    says(text, expected)


NAMED = {
    "nodes": "engine = 1\nnodes = 3",
    "inputs.x": A + "[inputs]\nx = 3",
    "nodes.a.join": A + 'join = "al"',
    "nodes.a.needs[1]": A + 'needs = ["b", 3]',
    'nodes.a.routes["*"].max': A + 'routes = { "*" = { to = "a", max = 0 } }',
    "nodes.a.retry.on[0]": A + "retry = { attempts = 2, on = [300] }",
    "nodes.a.steps.s.timeout": M + "timeout = 1",
    "pipelines.p.nodes.x.timeout": A + "[pipelines.p.nodes.x]\ntask = 't'\ntimeout = '1'",
}


@pytest.mark.parametrize(("key", "text"), NAMED.items(), ids=NAMED)
def test_a_message_about_a_value_names_its_key(key: str, text: str) -> None:
    (found,) = loaded(text)[1]
    assert found.message.startswith(f"`{key}`: ")
    assert found.code == "E103"


def test_a_literal_is_no_expression() -> None:
    spec = spec_of('[nodes.a]\ntask = "t"\ndescription = "costs $${5}"\n')
    assert spec.nodes["a"].description == "costs ${5}"


def test_a_finding_names_its_node_and_step() -> None:
    found = says(M + "«x» = 1", ("E102", "`x` is not a key here"))
    assert (found[0].node, found[0].step) == ("a", "s")


def test_a_finding_in_a_pipeline_names_its_node_and_step() -> None:
    text = A + '[pipelines.p.nodes.b]\nstart = "s"\nsteps.s = { task = "t", «x» = 1 }'
    found = says(text, ("E102", "`x` is not a key here"))
    assert (found[0].node, found[0].step) == ("b", "s")


# ---------------------------------------------------------------------------------- many mistakes


def test_all_mistakes_are_told_at_once() -> None:
    says(
        """engine = «2»

        [pipeline]
        «nam» = "x"

        [nodes.a]
        task = «1»
        needs = [«2», "b", «"b"»]
        retry = [{ attempts = «0» }, { attempts = 2, delay = «3» }]
        with = { a = «nan», b = [«-inf»] }
        timeout = "«${x}»"

        [nodes.«"b b"»]
        task = "t"

        [nodes.c]
        start = "s"
        steps = { s = { task = "t", «tiemout» = 1 }, «r» = {} }
        """,
        ("E103", VERSION),
        ("E102", "`nam` is not a key here"),
        ("E103", "expected a string, found the number `1`"),
        ("E103", "expected a node, found the number `2`"),
        ("E103", "`b` is named twice"),
        ("E103", "expected a whole number from 1 to 1000, found the number `0`"),
        ("E103", 'expected a duration such as "1m30s", found the number `3`'),
        ("E103", "`nan` is a number that JSON cannot represent"),
        ("E103", "`-inf` is a number that JSON cannot represent"),
        EXPRESSION,
        ("E104", "`b b` is not a name"),
        ("E102", "`tiemout` is not a key here"),
        ("E105", "`r` has no body"),
    )


def test_what_is_right_is_kept() -> None:
    spec, _ = loaded(A + "timeout = 3\njoin = 'any'\n[nodes.b]\ntask = 't'\n[pools]\ngpu = 0\n")
    assert spec is not None
    assert spec.nodes["a"] == NodeSpec({"a": StepSpec("shell")}, "a", single=True, join="any")
    assert spec.nodes["b"] == NodeSpec({"b": StepSpec("t")}, "b", single=True)
    assert spec.omitted_paths == {("nodes", "a", "timeout"), ("pools", "gpu")}


@pytest.mark.parametrize(
    "text",
    [
        "[nodes.b]\nstart = 's'",
        "[nodes.b]\nsteps = {}\nstart = 's'",
        "[nodes]\nb = 3",
        "[nodes.b]\ntask = 3",
        "[nodes.b]\ntask = 'shell'\nexits = 3",
    ],
)
def test_a_broken_node_is_still_there_for_others(text: str) -> None:
    reading = 'needs = { b = ["odd"] }\nwith = { argv = ["${b.x}"] }\n'
    found = check(Source("x.toml", f"{A}{reading}{text}\n"), registry())
    assert {(d.node, d.rule.code[:2]) for d in found} == {("b", "E1")}


def test_a_broken_input_or_pool_is_still_there_for_others() -> None:
    text = A + 'pool = "gpu"\nwith = { x = "${inputs.x}" }\n[inputs]\nx = 3\n[pools]\ngpu = 0\n'
    found = check(Source("x.toml", text), registry())
    assert [d.message for d in found] == [
        "`inputs.x`: expected a JSON Schema (a table), found the number `3`",
        "`pools.gpu`: expected a whole number, 1 or more, found the number `0`",
    ]


def test_the_rest_of_the_file_is_compiled_all_the_same() -> None:
    text = A + "timeout = 3\n[nodes.b]\ntask = 'shel'\n"
    found = check(Source("x.toml", text), registry())
    assert [d.rule.code for d in found] == ["E103", "E201"]


def test_the_rest_of_a_node_is_compiled_all_the_same() -> None:
    steps = 'start = "s"\n[nodes.a.steps.s]\ntask = "shell"\nroutes = { success = "t" }\n'
    text = f"engine = 1\n[nodes.a]\ntiemout = 3\nwhen = '3'\n{steps}[nodes.a.steps.t]\ntask = 3\n"
    found = check(Source("x.toml", text), registry())
    # `t` has been left out, and is not told to be missing
    assert [d.rule.code for d in found] == ["E102", "E505", "E103"]


def test_what_lies_under_a_wrong_name_is_looked_at_too() -> None:
    text = A + '[nodes.2x]\ntask = "shell"\ntimeout = "x"\nfoo = 1\n'
    found = check(Source("x.toml", text), registry())
    assert [d.rule.code for d in found] == ["E104", "E103", "E102"]


def test_the_exit_and_the_target_of_a_route_are_told_at_once() -> None:
    text = "engine = 1\n[nodes.a]\ntask = 'sleep'\nwith = { seconds = 1 }\nroutes = { 300 = 'b' }\n"
    found = check(Source("x.toml", text))
    assert [d.rule.code for d in found] == ["E203", "E201"]


def test_rules_are_asked_beside_other_errors() -> None:
    loop = "[nodes.b]\ntask = 'shell'\nroutes = { 3 = 'b' }\n"
    never = "[nodes.c]\ntask = 'shell'\nneeds = { d = 'failure', e = 'success' }\n"
    both = "[nodes.d]\ntask = 'shell'\n[nodes.e]\ntask = 'shell'\nneeds = ['d']\n"
    text = A + "timeout = 3\n" + loop + never + both
    found = check(Source("x.toml", text), registry())
    assert [d.rule.code for d in found] == ["E103", "E301", "E401"]


def test_rules_are_silent_where_an_error_may_mend_it() -> None:
    text = A + "needs = { b = 'failure', c = 'success' }\n[nodes.b]\ntask = 'shell'\n"
    behind = "[nodes.c]\ntask = 'shell'\nneeds = ['b']\nwhen = '${nobody}'\n"
    found = check(Source("x.toml", text + behind), registry())
    assert [d.rule.code for d in found] == ["E201"]


@pytest.mark.parametrize(
    "outputs",
    [
        "[nodes.b.outputs]\nx = '${a b.c}'\n",
        "[nodes.b.outputs]\nx = '${a'\n",
        "[outputs]\nx = '${a b.c ?? 1}'\n",
    ],
)
def test_an_output_that_is_no_expression_is_told_once(outputs: str) -> None:
    reads = "with = { argv = ['${b.x}', '${b.x.y}'] }\n[nodes.b]\ntask = 'shell'\n"
    found = check(Source("x.toml", A + reads + outputs), registry())
    assert [d.rule.code for d in found] == ["E505"]


def test_labels_of_an_unknown_task_are_not_known() -> None:
    text = A + 'needs = { b = ["odd"] }\n[nodes.b]\ntask = "shel"\n'
    found = check(Source("x.toml", text), registry())
    assert [d.rule.code for d in found] == ["E201"]


def test_items_of_an_array_are_left_out_by_number() -> None:
    items = ", ".join(["3" if n in (2, 9, 10) else f"'b{n}'" for n in range(12)])
    spec, found = loaded(A + f"needs = [{items}]\n")
    assert len(found) == 3
    assert spec is not None
    assert list(spec.nodes["a"].needs) == [f"b{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8, 11)]


# ---------------------------------------------------------------------------------- no echoes, no gaps


def with_inputs(text: str) -> str:
    """The text with what `shell` needs, unless it gives that itself."""
    given = 'task = "shell"\nwith = { argv = ["true"] }'
    return text if "argv" in text else text.replace('task = "shell"', given)


ALL_AT_ONCE = {
    "beside an unknown key": (
        'timout = "1s"\nroutes = { 6 = "nowhere" }',
        [("E102", 1), ("E201", 16)],
    ),
    "in one table of routes": (
        (
            'routes = { 3 = { to = "a", max = 0 }, 4 = { to = "done", delay = "1s" }, '
            '5 = { to = "a", then = "done" }, 6 = "nowhere" }'
        ),
        [("E103", 34), ("E103", 58), ("E103", 90), ("E201", 111)],
    ),
    "in one clause": (
        'task = "collect"\nretry = { attempts = 2, on = ["nope", 300] }',
        [("E203", 31), ("E103", 39)],
    ),
    "behind an item that was left out": (
        'task = "collect"\nretry = { attempts = 2, on = [300, "nope"] }',
        [("E103", 31), ("E203", 36)],
    ),
    "behind a clause that was left out": (
        'task = "collect"\nretry = [{ attempts = 0 }, { attempts = 2, on = ["nope"] }]',
        [("E103", 23), ("E203", 50)],
    ),
    "in `with`": (
        'with = { argv = [nan, "${nobody}"] }\nwhen = "3"',
        [("E103", 18), ("E201", 26), ("E505", 8)],
    ),
    "a loop beside an unknown key": (
        'timout = "1s"\nroutes = { 3 = "a" }',
        [("E102", 1), ("E301", 16)],
    ),
    "an input beside an exit": (
        'task = "sleep"\nexits = { x = 256 }\nwith = { nobody = 1 }',
        [("E103", 15), ("E504", 1), ("E201", 10)],
    ),
}


@pytest.mark.parametrize(("text", "expected"), ALL_AT_ONCE.values(), ids=ALL_AT_ONCE)
def test_all_mistakes_of_a_node_are_told_at_once(text: str, expected: list[Any]) -> None:
    body = text if text.startswith("task") else f'task = "shell"\n{text}'
    found = check(Source("x.toml", f"engine = 1\n[nodes.a]\n{with_inputs(body)}\n"))
    assert [(each.rule.code, each.span.column) for each in found] == expected


NO_ECHO = {
    "a bound that is wrong": 'task = "shell"\nroutes = { 3 = { to = "a", max = 1001 } }',
    "a bound that is misspelt": 'task = "shell"\nroutes = { 3 = { to = "a", mx = 2 } }',
    "a bound that is wrong, with a then": (
        'task = "shell"\nroutes = { 3 = { to = "a", max = 0, then = "done" } }'
    ),
    "a table of exits": 'task = "collect"\nexit = { odd = 3 }\nroutes = { odd = "done" }',
    "an exit": 'task = "collect"\nexits = { odd = 256 }\nroutes = { odd = "done" }',
    "a body": 'tsak = "gate"',
    "inputs": 'task = "http"\nwiht = { url = "http://x" }',
    "an input": 'task = "http"\nwith = { url = nan }',
    "an item of an input": 'task = "shell"\nwith = { argv = [nan] }',
    "a task": 'task = "collect"\nneeds = { b = ["odd"] }\n[nodes.b]\ntask = 3',
    "a delay": 'task = "shell"\nretry = { attempts = 99, delay = "1s", factor = 2, max_dely = "1m" }',
    "pools": 'task = "shell"\npool = "gpu"\n[pool]\ngpu = 1',
    "a pool": 'task = "shell"\npool = "gpu"\n[pools]\ngpu = 0',
    "all inputs": 'task = "shell"\nwhen = "inputs.x"\n[input]\nx = {}',
    "a node": 'task = "shell"\nneeds = ["b"]\n[node.b]\ntask = "shell"',
    "all pipelines": 'pipeline = "p"\n[pipelins.p.nodes.x]\ntask = "shell"',
}


@pytest.mark.parametrize("text", NO_ECHO.values(), ids=NO_ECHO)
def test_what_was_left_out_is_not_missed(text: str) -> None:
    head = "engine = 1\n[nodes.a]\n"
    found = check(Source("x.toml", f"{head}{with_inputs(text)}\n"))
    assert [each.rule.code[:2] for each in found] == ["E1"]


# ---------------------------------------------------------------------------------- other files


def test_a_file_is_loaded_from_beside_the_spec() -> None:
    seen = []

    def read(path: pathlib.Path) -> Source:
        seen.append(path)
        return Source(path, A)

    text = (
        'engine = 1\nnodes.a.pipeline = "../x/child.toml"\nnodes.b.pipeline = "../x/child.toml"\n'
    )
    spec, found = load_spec(Source("/some/where/case.toml", text), read)
    assert not found
    assert spec is not None
    assert [str(path) for path in seen] == ["/some/x/child.toml"]
    assert spec.files["../x/child.toml"].name == "child"


def test_a_file_of_two_files_is_loaded_once() -> None:
    seen = []

    def read(path: pathlib.Path) -> Source:
        seen.append(path.name)
        leaf = path.name == "leaf.toml"
        return Source(path, A if leaf else 'engine = 1\nnodes.a.pipeline = "./leaf.toml"\n')

    text = 'engine = 1\nnodes.a.pipeline = "./b.toml"\nnodes.b.pipeline = "./c.toml"\n'
    spec, found = load_spec(Source("case.toml", text), read)
    assert not found
    assert spec is not None
    assert sorted(seen) == ["b.toml", "c.toml", "leaf.toml"]
    left, right = spec.files.values()
    assert left.files["./leaf.toml"] is right.files["./leaf.toml"]


def test_mistakes_of_other_files_are_told_with_their_place() -> None:
    text = 'engine = 1\nnodes.a.pipeline = "./child.toml"\n'
    _, found = load_spec(Source("case.toml", text), reader({"child.toml": A + "x = 1\n"}))
    (one,) = found
    assert (str(one.source.path).rpartition("/")[2], one.span.line) == ("child.toml", 4)


def test_a_file_that_is_no_toml_is_told_in_its_place() -> None:
    text = 'engine = 1\nnodes.a.pipeline = "./child.toml"\n'
    spec, found = load_spec(Source("case.toml", text), reader({"child.toml": "x"}))
    assert [d.rule.code for d in found] == ["E101"]
    assert spec is not None


def test_files_that_include_each_other() -> None:
    def including(name: str) -> str:
        return f'engine = 1\nnodes.a.pipeline = "./{name}.toml"\n'

    files = {"b.toml": including("c"), "c.toml": including("b")}
    _, found = load_spec(Source("case.toml", including("b")), reader(files))
    (one,) = found
    assert one.rule.code == "E204"
    assert one.message == "pipelines include each other: b.toml → c.toml → b.toml"
    assert (pathlib.Path(one.source.path).name, one.span.line, one.span.column) == ("c.toml", 2, 20)


def test_a_pipeline_of_the_file_may_be_in_another_file() -> None:
    text = A + '[pipelines.p.nodes.x]\npipeline = "./child.toml"\n'
    spec, found = loaded(text, child=A)
    assert not found
    assert spec is not None
    assert list(spec.pipelines["p"].files) == ["./child.toml"]


# ---------------------------------------------------------------------------------- any text


def findings(text: str) -> list[str]:
    """The codes of what `check` says; every place is in the text."""
    source = Source("any.toml", text)
    found = check(source, registry())
    lines = source.text.count("\n") + 1
    for one in found:
        assert 1 <= one.span.line <= one.span.end_line <= lines
        assert one.span.column >= 1
    return [one.rule.code for one in found]


@given(st.text())
def test_any_text_gives_findings(text: str) -> None:
    assert findings(text)


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(cases(), st.data())
def test_a_cut_spec_gives_findings(case: tuple[Any, Any, Any], data: st.DataObject) -> None:
    text = tomli_w.dumps(case[0])
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    findings(text[:start] + data.draw(st.text(max_size=3)) + text[end:])


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(near_misses())
def test_a_near_miss_gives_findings(doc: dict[str, Any]) -> None:
    findings(tomli_w.dumps(doc))


def corpus() -> list[Any]:
    if not CORPUS.exists():
        return []
    found = [json.loads(line) for line in CORPUS.read_text().splitlines()]
    return [pytest.param(one, id=one["id"]) for one in found]


@needs_corpus
@pytest.mark.parametrize("one", corpus())
def test_documents_of_toml_give_findings(one: dict[str, Any], tmp_path: pathlib.Path) -> None:
    path = tmp_path / "case.toml"
    path.write_bytes(one["text"].encode() if "text" in one else base64.b64decode(one["base64"]))
    codes = [found.rule.code for found in check(path, registry())]
    assert ("E101" in codes) == (one["expect"]["verdict"] == "invalid")
    assert codes


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ((), True),
        (("nodes", "a"), True),
        (("nodes", "a", "retry", "on", 1), True),
        (("nodes", "a", "retry", 0), False),
        (("nodes", "a", "retry", "on", 2), False),
        (("nodes", "b"), False),
    ],
)
def test_a_source_knows_what_it_has(path: tuple[str | int, ...], there: bool) -> None:
    text = A + 'retry = { attempts = 2, on = ["error", "timeout"] }\n'
    assert Source("x.toml", text).has_path(path) == there
