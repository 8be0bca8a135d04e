"""What compiling says of a spec: code, place and cure; and what a plan is made of."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest

from engine.compile.compiler import compile as compile_spec
from engine.language.loader import load_spec
from engine.plan.plan import Plan
from engine.sdk.context import Context
from engine.sdk.registry import Registry
from engine.sdk.task import Task
from engine.toml.source import Source
from tests.support.marks import Found, marked, shown


async def body(inputs: dict[str, Any], context: Context) -> None:
    """Never run."""


TYPED = {
    "type": "object",
    "additionalProperties": False,
    "required": ["n"],
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "mode": {"enum": ["fast", "slow"]},
        "items": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "deep": {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"type": "string", "pattern": "^[a-z]+$"}},
            "additionalProperties": False,
        },
        "share": {"type": "number"},
    },
}
EITHER = {"type": "object", "oneOf": [{"required": ["one"]}, {"required": ["two"]}]}


def registry() -> Registry:
    """`shell` (open), `probe` (closed), `typed` with inputs of its own, `either` with one of
    two."""
    tasks = [
        Task("shell", body, exits={"success": 0}, open_exits=True),
        Task("probe", body, exits={"success": 0, "failure": 1, "needs_review": 2}),
        Task("typed", body, input_schema=TYPED),
        Task("either", body, input_schema=EITHER),
    ]
    found = Registry(entry_points=False)
    for task in tasks:
        found.register(task)
    return found


def compiled(text: str, **files: str) -> tuple[Plan | None, list[Found]]:
    def reader(path: pathlib.Path) -> Source:
        return Source(path, files[path.stem])

    spec, found = load_spec(Source("case.toml", "engine = 1\n" + text), reader)
    assert spec is not None
    assert not found, "\n".join(map(str, found))
    plan, found = compile_spec(spec, registry())
    return plan, [shown(one) for one in found]


def says(text: str, *expected: tuple[Any, ...], **files: str) -> list[Found]:
    """Each mark in the text has its finding, in order: code, message, and if given the cure."""
    plain, _ = marked(text)
    _, marks = marked("engine = 1\n" + text)
    plan, found = compiled(plain, **files)
    assert plan is None
    assert [(f.code, f.unnamed) for f in found] == [one[:2] for one in expected]
    assert [f.span for f in found] == marks
    for finding, one in zip(found, expected, strict=True):
        assert len(one) == 2 or finding.help == one[2]
    return found


def plan_of(text: str, **files: str) -> Plan:
    plan, found = compiled(text, **files)
    assert plan is not None, found
    return plan


A = '[nodes.a]\ntask = "shell"\n'
B = '[nodes.b]\ntask = "shell"\n'
P = '[nodes.a]\ntask = "probe"\n'
T = '[nodes.a]\ntask = "typed"\n'
M = """[nodes.a]
start = "one"
[nodes.a.steps.one]
task = "probe"
[nodes.a.steps.two]
task = "shell"
"""
CHILD = """[pipelines.child]
inputs = { n = { type = "integer" }, text = { type = "string", default = "" } }
nodes.x.task = "shell"
"""
C = f'{CHILD}[nodes.a]\npipeline = "child"\n'
HELD = '[pools]\ngpu = 1\n[pipelines.child.nodes.y]\ntask = "shell"\npool = "gpu"\n'
KINDS = '"array", "boolean", "integer", "null", "number", "object", "string"'
PROBE = "known here: `error`, `failure`, `interrupted`, `needs_review`, `success`, `timeout`"

WRONG: dict[str, tuple[str, tuple[Any, ...]]] = {
    # names that are not there
    "a node": (
        B + 'needs = [«"c"»]\n' + A,
        ("E201", "there is no node `c`", "known here: `a`"),
    ),
    "a node in the map form": (
        '[nodes.fetch]\ntask = "shell"\n' + B + 'needs = { «fetsch» = "failure" }',
        ("E201", "there is no node `fetsch`", "did you mean `fetch`?"),
    ),
    "the step to start with": (
        M.replace('start = "one"', 'start = «"on"»'),
        ("E201", "there is no step `on`", "did you mean `one`?"),
    ),
    "a target": (
        M + 'routes = { success = «"tow"» }',
        ("E201", "there is no step `tow` in this node", "did you mean `two`?"),
    ),
    "a target in the long form": (
        M + 'routes = { success = { to = «"tow"», max = 2 } }',
        ("E201", "there is no step `tow` in this node", "did you mean `two`?"),
    ),
    "a target of then": (
        M + 'routes = { success = { to = "two", max = 2, then = «"don"» } }',
        ("E201", "there is no step `don` in this node", "did you mean `done`?"),
    ),
    "an empty then": (
        M + 'routes = { success = { to = "two", max = 2, then = «""» } }',
        ("E201", "there is no step `` in this node"),
    ),
    "a step of another node": (
        M + '[nodes.c]\ntask = "shell"\nroutes = { "2" = «"two"» }',
        ("E201", "there is no step `two` in this node"),
    ),
    "a pool": (
        "[pools]\ngpu = 1\n" + A + 'pool = «"gpus"»',
        ("E201", "there is no pool `gpus`", "did you mean `gpu`?"),
    ),
    "a pool where there are none": (A + 'pool = «"gpu"»', ("E201", "there is no pool `gpu`", None)),
    "an executor": (
        A + 'executor = «"proces"»',
        ("E201", "there is no executor `proces`", "did you mean `process`?"),
    ),
    "a task": (
        '[nodes.a]\ntask = «"shel"»',
        ("E201", "there is no task `shel`", "did you mean `shell`?"),
    ),
    "a module": (
        '[pipeline]\ntasks = [«"no_such_module_here"»]\n' + A,
        ("E201", "there is no module `no_such_module_here`"),
    ),
    "a pipeline": (
        CHILD + '[nodes.a]\npipeline = «"chidl"»',
        ("E201", "there is no pipeline `chidl`", "did you mean `child`?"),
    ),
    "an input": (
        "[inputs]\ntopic = {}\n" + A + 'with = { x = ["a ${«inputs.topics»}"] }',
        ("E201", "there is no input `topics` (`inputs.topics`)", "did you mean `topic`?"),
    ),
    "an input in CEL": (
        "[inputs]\ntopic = {}\n" + A + 'when = "size(«inputs.topics») > 1"',
        ("E201", "there is no input `topics` (`inputs.topics`)", "did you mean `topic`?"),
    ),
    "a node that is read": (
        '[nodes.fetch]\ntask = "shell"\n' + A + 'with = { x = "${«fetsch.x»} ${fetch.y}" }',
        ("E201", "there is no node `fetsch` (`fetsch.x`)", "did you mean `fetch`?"),
    ),
    "a node that might be meant, but reads itself then": (
        '[nodes.tidy]\ntask = "shell"\nwith = { argv = ["${«tdy.x»}"] }',
        ("E201", "there is no node `tdy` (`tdy.x`)"),
    ),
    "a node that is read with a default": (
        A + 'outputs = { x = "${«nope.x» ?? 1}" }',
        ("E201", "there is no node `nope` (`nope.x`)"),
    ),
    "a node in [outputs]": (
        A + '[outputs]\nx = "${«aa.stdout»}"',
        ("E201", "there is no node `aa` (`aa.stdout`)", "did you mean `a`?"),
    ),
    "a step that is read": (
        M + 'with = { x = "${«steps.on.x»}" }',
        ("E201", "there is no step `on` (`steps.on.x`)", "did you mean `one`?"),
    ),
    "a field of run": (
        A + 'with = { x = "${«run.visits»}" }',
        ("E201", "there is no field of `run` `visits` (`run.visits`)", "did you mean `visit`?"),
    ),
    "the visit in a condition": (
        A + 'when = "«run.visit» > 1"',
        ("E201", "there is no field of `run` `visit` (`run.visit`)"),
    ),
    # exits
    "a route's exit": (
        P + 'routes = { «needs_revew» = "done" }',
        ("E203", "this step has no `needs_revew`", "did you mean `needs_review`?"),
    ),
    "a route's number": (
        P + 'routes = { «"7"» = "done" }',
        ("E203", "this step has no exit 7", PROBE),
    ),
    "a number that is none": (
        A + 'routes = { «"07"» = "done" }',
        ("E203", "this step has no `07`"),
    ),
    "an exit out of range": (
        A + 'routes = { «"256"» = "done" }',
        ("E203", "this step has no `256`"),
    ),
    "an exit of a retry": (
        P + 'retry = { attempts = 2, on = ["error", «"eror"»] }',
        ("E203", "this step has no `eror`", "did you mean `error`?"),
    ),
    "an exit of the second clause": (
        P + 'retry = [{ attempts = 2 }, { attempts = 2, on = ["error", «7»] }]',
        ("E203", "this step has no exit 7", PROBE),
    ),
    "an outcome that comes later": (
        A + 'routes = { «lost» = "done" }',
        ("E106", "`lost` is not supported yet: this version runs on one machine"),
    ),
    "an exit that a child cannot have": (
        C + 'with = { n = 1 }\nroutes = { «"2"» = "done" }',
        ("E203", "this step has no exit 2"),
    ),
    "a label": (
        P
        + 'routes = { failure = "done:deferred" }\n'
        + B
        + 'needs = { a = ["error", «"defered"»] }',
        ("E203", "`a` can never end with the label `defered`", "did you mean `deferred`?"),
    ),
    "a label that no run gives": (
        P + 'routes = { failure = "done:late" }\n[nodes.b]\ntask = "shell"\n'
        'needs = { a = [«"failure"»] }',
        ("E203", "`a` can never end with the label `failure`"),
    ),
    "a timeout that never comes": (
        P + '[nodes.b]\ntask = "shell"\nneeds = { a = [«"timeout"»] }',
        ("E203", "`a` can never end with the label `timeout`"),
    ),
    "an interruption that never comes": (
        P + '[nodes.b]\ntask = "shell"\nneeds = { a = [«"interrupted"»] }',
        ("E203", "`a` can never end with the label `interrupted`"),
    ),
    "an interruption of a sub-pipeline": (
        C + 'with = { n = 1 }\non_interrupt = «"route"»',
        (
            "E103",
            "a sub-pipeline is never interrupted: only the attempts inside it are",
            "set `on_interrupt` on its steps",
        ),
    ),
    "two keys for one exit": (
        P + 'routes = { needs_review = "done", «"2"» = "fail" }',
        ("E103", "`2` and `needs_review` are the same exit 2"),
    ),
    "the task's name and the step's": (
        P + 'exits = { look = 2 }\nroutes = { needs_review = "done", «look» = "fail" }',
        ("E103", "`look` and `needs_review` are the same exit 2"),
    ),
    "a name that the task gives to another exit": (
        P + "exits = { failure = «2» }",
        ("E103", "`failure` is exit 1 of this task, not 2"),
    ),
    "a label that is none": (
        P + 'routes = { failure = «"done:a b"» }',
        ("E104", "`a b` is not a label", "letters, digits and `_`, no digit first"),
    ),
    "an empty label": (P + 'routes = { failure = «"fail:"» }', ("E104", "`` is not a label")),
    # cycles
    "a cycle of two": (
        '[nodes.«a»]\ntask = "shell"\nneeds = ["b"]\n' + B + 'needs = ["a"]',
        (
            "E202",
            "nodes wait for each other: a → b → a",
            "remove one of these edges",
        ),
    ),
    "a cycle with an implied edge": (
        '[nodes.«a»]\ntask = "shell"\nwith = { x = "${b.x ?? 1}" }\n' + B + 'needs = ["a"]',
        ("E202", "nodes wait for each other: a → b → a"),
    ),
    "a cycle of outputs and conditions": (
        '[nodes.«a»]\ntask = "shell"\nwhen = "b.x"\n' + B + 'outputs = { x = "${a.x}" }',
        ("E202", "nodes wait for each other: a → b → a"),
    ),
    "a node that needs itself": (
        '[nodes.«a»]\ntask = "shell"\nneeds = ["a"]',
        ("E202", "`a` waits for itself"),
    ),
    "a node that reads itself": (
        '[nodes.«a»]\ntask = "shell"\noutputs = { x = "${a.x}" }',
        ("E202", "`a` waits for itself", "read your own earlier output as `steps.…`"),
    ),
    # sub-pipelines
    "a pipeline that is itself": (
        A + '[pipelines.p.nodes.x]\npipeline = «"p"»',
        ("E204", "pipelines include each other: p → p"),
    ),
    "a pool that the parent holds": (
        C.replace('"child"', '«"child"»') + 'pool = "gpu"\nwith = { n = 1 }\n' + HELD,
        (
            "E205",
            "`a` holds a place in pool `gpu` that its sub-pipeline waits for",
            "remove `pool` from one of the two",
        ),
    ),
    "a mistake in a pipeline that nothing uses": (
        A + '[pipelines.p.nodes.x]\ntask = «"shel"»',
        ("E201", "there is no task `shel`"),
    ),
    # inputs of tasks
    "no inputs at all": (
        '[nodes.«a»]\ntask = "typed"',
        ("E504", "task `typed` needs input `n`"),
    ),
    "a missing input": (
        T + '«with» = { mode = "fast" }',
        ("E504", "task `typed` needs input `n`"),
    ),
    "one of two": (
        '[nodes.«a»]\ntask = "either"',
        ("E504", "task `either` needs input `one` or `two`"),
    ),
    "a missing key in a table": (
        T + "with = { n = 1, «deep» = {} }",
        ("E504", "input `deep` of task `typed`: `a` is missing"),
    ),
    "an unknown input": (
        T + 'with = { n = 1, «mod» = "fast" }',
        ("E201", "task `typed` has no input `mod`", "did you mean `mode`?"),
    ),
    "an unknown input that is an expression": (
        T + 'with = { n = 1, «x» = "${run.id}" }',
        ("E201", "task `typed` has no input `x`"),
    ),
    "an unknown key in a table": (
        T + 'with = { n = 1, deep = { a = "a", «b» = 1 } }',
        ("E201", "input `deep` of task `typed`: `b` is not known here"),
    ),
    "a wrong type": (
        T + 'with = { n = «"3"» }',
        ("E502", 'input `n` of task `typed`: expected integer, found "3"'),
    ),
    "true is no number": (
        T + "with = { n = «true» }",
        ("E502", "input `n` of task `typed`: expected integer, found true"),
    ),
    "a number that is not whole": (
        T + "with = { n = «3.7» }",
        ("E502", "input `n` of task `typed`: expected integer, found 3.7"),
    ),
    "a number out of range": (
        T + "with = { n = «0» }",
        ("E502", "input `n` of task `typed`: 0 is below the minimum 1"),
    ),
    "none of a list": (
        T + 'with = { n = 1, mode = «"quick"» }',
        ("E502", 'input `mode` of task `typed`: expected one of "fast", "slow", found "quick"'),
    ),
    "an item": (
        T + 'with = { n = 1, items = ["a", «2»] }',
        ("E502", "input `items[1]` of task `typed`: expected string, found 2"),
    ),
    "an item beside expressions": (
        T + 'with = { n = "${run.visit}", items = ["${run.id}", «2»] }',
        ("E502", "input `items[1]` of task `typed`: expected string, found 2"),
    ),
    "an empty list": (
        T + "with = { n = 1, items = «[]» }",
        ("E502", "input `items` of task `typed`: [] is too short: at least 1"),
    ),
    "a pattern": (
        T + 'with = { n = 1, deep = { a = «"A"» } }',
        ("E502", 'input `deep.a` of task `typed`: "A" does not match ^[a-z]+$'),
    ),
    # inputs of sub-pipelines
    "a child's missing input": (
        C.replace("nodes.a", "nodes.«a»"),
        ("E504", "pipeline `child` needs input `n`"),
    ),
    "a child's unknown input": (
        C + "with = { n = 1, «m» = 2 }",
        ("E201", "pipeline `child` has no input `m`"),
    ),
    "a child's wrong input": (
        C + "with = { n = «'1'» }",
        ("E502", 'input `n` of pipeline `child`: expected integer, found "1"'),
    ),
    # [inputs]
    "a schema that is none": (
        '[inputs]\nx = { type = «"strng"» }\n' + A,
        (
            "E103",
            f'`inputs.x` is not a valid JSON Schema: expected one of {KINDS}, found "strng"',
        ),
    ),
    "a schema with a bad pattern": (
        '[inputs]\nx = { pattern = «"("» }\n' + A,
        ("E103", '`inputs.x` is not a valid JSON Schema: "(" is not a valid regex'),
    ),
    "a schema that refers to nothing": (
        '[inputs]\nx = { "$ref" = «"#/nope"» }\n' + A,
        ("E103", "`inputs.x` is not a valid JSON Schema: `#/nope` does not exist in it"),
    ),
    "a schema inside": (
        "[inputs]\nx = { properties = { a = { minLength = «-1» } } }\n" + A,
        ("E103", "`inputs.x` is not a valid JSON Schema: -1 is below the minimum 0"),
    ),
    "a default that does not fit": (
        '[inputs]\nx = { type = "integer", default = «"3"» }\n' + A,
        ("E103", 'the default of `inputs.x` does not fit: expected integer, found "3"'),
    ),
    "an item of a default": (
        '[inputs]\nx = { items = { type = "string" }, default = ["a", «1»] }\n' + A,
        ("E103", "the default of `inputs.x` does not fit: expected string, found 1"),
    ),
    # expressions
    "unclosed": (
        A + 'with = { x = { y = ["a «${»run.id"] } }',
        ("E505", "`${` is not closed", "write `$${` for a literal `${`"),
    ),
    "empty": (A + 'with = { x = "a «${}» b" }', ("E505", "empty expression")),
    "an empty condition": (A + 'when = «""»', ("E505", "empty expression")),
    "text around a condition": (
        A + 'when = "«a ${run.id}»"',
        (
            "E505",
            "a condition must be one expression, not text",
            "put all of it into one `${…}`",
        ),
    ),
    "?? in an expression": (
        A + 'when = "run.id == 1 «??» 2"',
        ("E505", "`??` needs a plain path on its left and a literal on its right"),
    ),
    "no literal after ??": (
        A + 'with = { x = "${run.id ?? «a»}" }',
        ("E505", "expected a literal after `??`"),
    ),
    "CEL": (
        A + 'with = { x = "a ${run.id + «*» 1}" }',
        ("E505", "not a CEL expression: `*` is not expected here"),
    ),
    "CEL after an escape": (
        A + r'with = { x = "\u0041\t${run.id + «*» 1}" }',
        ("E505", "not a CEL expression: `*` is not expected here"),
    ),
    "CEL over lines": (
        A + 'when = """\n${run.id ==\n  1 + «*» 2}"""',
        ("E505", "not a CEL expression: `*` is not expected here"),
    ),
    "a function": (
        A + 'when = "«sizes»(run.id) > 1"',
        ("E505", "there is no function `sizes`", "did you mean `size`?"),
    ),
    "steps in a condition": (
        A + 'when = "«steps.a.x»"',
        (
            "E505",
            "`steps` cannot be read here: only a node's own steps and `outputs` can read them",
        ),
    ),
    "steps in [outputs]": (
        A + '[outputs]\nx = "${«steps.a.x»}"',
        (
            "E505",
            "`steps` cannot be read here: only a node's own steps and `outputs` can read them",
        ),
    ),
    "env without a name": (
        A + 'with = { x = "${«env»}" }',
        ("E505", "`env` cannot be read as a whole: write `env.NAME`"),
    ),
    "secrets by number": (
        A + 'with = { x = "${«secrets[0]»}" }',
        ("E505", "`secrets` cannot be read as a whole: write `secrets.NAME`"),
    ),
    "a state that is not there": (
        A + 'when = "«state.sen»"\n[state]\nseen = { initial = 1 }',
        ("E201", "there is no state `sen` (`state.sen`)", "did you mean `seen`?"),
    ),
    "a state to set that is not there": (
        A + "set = { «sen» = 1 }\n[state]\nseen = { initial = 1 }",
        ("E201", "there is no state `sen`", "did you mean `seen`?"),
    ),
    "a state to set where there is none": (
        A + "set = { «x» = 1 }",
        ("E201", "there is no state `x`"),
    ),
    "a literal that a state does not take": (
        A + 'set = { seen = «"1"» }\n[state]\nseen = { type = "integer", initial = 1 }',
        ("E502", 'expected integer, found "1"'),
    ),
    "a part of a literal that a state does not take": (
        A + 'set = { x = { a = «1», b = "${inputs.b}" } }\n[inputs]\nb = {}\n'
        '[state.x]\ninitial = {}\nproperties = { a = { type = "string" }, b = { type = "null" } }',
        ("E502", "expected string, found 1"),
    ),
    "a part of an input that is no schema": (
        A + 'when = "inputs.x.y"\n[inputs]\nx = { properties = «3» }',
        ("E103", "`inputs.x` is not a valid JSON Schema: expected object, found 3"),
    ),
    "a sub-pipeline's input that is no schema": (
        (
            '[nodes.a]\npipeline = "p"\nwith = { x = "a" }\n'
            '[pipelines.p]\ninputs.x = { pattern = «0» }\nnodes.b.task = "shell"'
        ),
        ("E103", "`inputs.x` is not a valid JSON Schema: expected string, found 0"),
    ),
    "initial that does not fit": (
        A + '[state]\nx = { type = "string", initial = «1» }',
        ("E103", "the initial of `state.x` does not fit: expected string, found 1"),
    ),
    "a state that is no schema": (
        A + '[state]\nx = { type = «"text"», initial = 1 }',
        (
            "E103",
            (
                '`state.x` is not a valid JSON Schema: expected one of "array", "boolean", "integer", "null", '
                '"number", "object", "string", found "text"'
            ),
        ),
    ),
    "a node that reads itself in set": (
        "[nodes.«a»]\n"
        + A.partition("\n")[2]
        + 'set = { x = "${a.x}" }\n[state]\nx = { initial = 1 }',
        ("E202", "`a` waits for itself", "read your own earlier output as `steps.…`"),
    ),
    "item": (
        A + 'with = { x = "${«item»}" }',
        (
            "E505",
            "`item` cannot be read here: only the steps and the `outputs` of a node with `for_each` can read it",
        ),
    ),
    "item where the list is made": (
        A + 'for_each = "${[«item»]}"',
        (
            "E505",
            "`item` cannot be read here: only the steps and the `outputs` of a node with `for_each` can read it",
        ),
    ),
    "index before the node starts": (
        A + 'for_each = ["x"]\nwhen = "«index» == 0"',
        (
            "E505",
            "`index` cannot be read here: only the steps and the `outputs` of a node with `for_each` can read it",
        ),
    ),
    "no list": (A + 'for_each = «"x"»', ("E505", 'this is always "x", not a list with items')),
    "a list that is empty": (
        A + 'for_each = «"${[]}"»',
        ("E505", "this is always [], not a list with items"),
    ),
    "a label that a fan-out cannot have": (
        A
        + 'for_each = ["x"]\nexits = { odd = 3 }\n[nodes.b]\nneeds = { a = [«"odd"»] }\ntask = "shell"',
        ("E203", "`a` can never end with the label `odd`"),
    ),
    "an exit of a fan-out": (
        A + 'for_each = ["x"]\n[nodes.b]\nneeds = { a = [«0»] }\ntask = "shell"',
        ("E203", "`a` can never end with the label `0`"),
    ),
}


@pytest.mark.parametrize(("text", "expected"), WRONG.values(), ids=WRONG)
def test_one_mistake_is_one_finding(text: str, expected: tuple[Any, ...]) -> None:
    says(text, expected)


def test_every_bad_string_of_a_table_is_told() -> None:
    says(
        A + 'with = { a = "«${»", b = ["${«nope.x»}", "${run.id «+»}"] }',
        ("E505", "`${` is not closed"),
        ("E201", "there is no node `nope` (`nope.x`)"),
        ("E505", "not a CEL expression: the expression ends too early"),
    )


def test_pipelines_that_include_each_other() -> None:
    text = A + '[pipelines.p.nodes.x]\npipeline = "q"\n[pipelines.q.nodes.y]\npipeline = "p"\n'
    _, found = compiled(text)
    assert {f.code for f in found} == {"E204"}


def test_a_finding_names_its_node_and_step() -> None:
    found = says(
        M + 'routes = { success = «"y"» }',
        ("E201", "there is no step `y` in this node"),
    )
    assert (found[0].node, found[0].step) == ("a", "two")


def test_mistakes_in_another_file_are_told_there() -> None:
    text = '[nodes.a]\npipeline = "./other.toml"\n'
    _, (one,) = compiled(text, other='engine = 1\nnodes.x.task = "shel"\n')
    assert (one.code, one.span.line) == ("E201", 2)


# ---------------------------------------------------------------------------------- what is right


def edges(plan: Plan, node: str) -> list[tuple[str, str, bool]]:
    """The edges into a node: source, condition, written."""
    found = plan.nodes[plan.index[node]].edges
    return [(plan.nodes[e.source].name, str(e.condition), e.is_explicit) for e in found]


def test_references_imply_edges() -> None:
    plan = plan_of(
        """
        [nodes.a]
        task = "shell"
        [nodes.b]
        task = "shell"
        [nodes.c]
        task = "shell"
        [nodes.d]
        task = "shell"
        [nodes.e]
        needs = { c = "finished" }
        task = "shell"
        with = { x = "${a.x}", y = ["${b.x ?? 1} ${b.y ?? 2}"], z = "${c.x}" }
        when = "has(d.x) && d.x > 1"
        """
    )
    assert edges(plan, "e") == [
        ("c", "finished", True),
        ("a", "success", False),
        ("b", "always", False),
        ("d", "always", False),
    ]


def test_one_read_that_insists_is_enough() -> None:
    plan = plan_of(A + B + 'with = { x = "${a.x ?? 1}", y = "${a.x}" }')
    assert edges(plan, "b") == [("a", "success", False)]


def test_a_read_in_any_step_implies_an_edge() -> None:
    plan = plan_of(M + 'with = { x = "${b.x}" }\n' + B)
    assert edges(plan, "a") == [("b", "success", False)]


def test_outputs_of_a_node_imply_an_edge() -> None:
    plan = plan_of(A + B + 'outputs = { x = "${a.x}" }')
    assert edges(plan, "b") == [("a", "success", False)]


def test_outputs_of_the_pipeline_imply_none() -> None:
    plan = plan_of(A + B + '[outputs]\nx = "${a.x}"')
    assert not edges(plan, "a")
    assert not edges(plan, "b")


def test_inputs_and_steps_imply_no_edges() -> None:
    plan = plan_of(
        "inputs.b = {}\n" + A + 'with = { x = "${inputs.b} ${steps.a ?? 1} ${env.b}" }\n' + B
    )
    assert not edges(plan, "a")


@pytest.mark.parametrize(
    ("when", "wrong"),
    [
        ("3", "is always 3, neither true nor false"),
        ("'yes'", 'is always "yes", neither true nor false'),
        ("${null}", "is always null, neither true nor false"),
        ("1 / 0 == 1", "can never be evaluated: `1 / 0 == 1`: division by zero"),
    ],
)
def test_a_condition_is_true_or_false(when: str, wrong: str) -> None:
    says(A + f'when = «"{when}"»\n', ("E505", f"this condition {wrong}"))


def test_what_macros_bind_is_no_node() -> None:
    plan = plan_of(A + B + 'when = "a.list.exists(b, b.x > 1)"')
    assert edges(plan, "b") == [("a", "success", False)]


def test_env_and_secrets_are_listed_with_those_that_must_be_set() -> None:
    plan = plan_of(
        A
        + 'with = { a = "${env.A}", b = "${env.B ?? 1}", c = "${secrets.C}" }\n'
        + '[nodes.b]\npipeline = "p"\n'
        + '[pipelines.p.nodes.x]\ntask = "shell"\nwith = { b = "${env.B}", d = "${env.D ?? 1}" }\n'
    )
    assert dict(plan.env) == {"A": True, "B": True, "D": False}
    assert dict(plan.secrets) == {"C": True}


def test_names_of_exits_are_the_step_s_then_the_task_s() -> None:
    plan = plan_of(P + 'exits = { look = 2 }\nroutes = { look = "done" }')
    (step,) = plan.nodes[0].machine.steps
    assert [step.describe_outcome(code) for code in (0, 1, 2)] == ["success", "failure", "look"]
    assert dict(step.aliases) == {"success": 0, "failure": 1, "needs_review": 2, "look": 2}


@pytest.mark.parametrize("key", ["success", "failure", "needs_review", "look", "2", "error", "*"])
def test_every_name_of_an_exit_may_be_used(key: str) -> None:
    assert plan_of(P + f'exits = {{ look = 2 }}\nroutes = {{ "{key}" = "fail" }}')


def test_an_open_task_has_every_number() -> None:
    plan = plan_of(A + 'routes = { "0" = "done", "255" = "done", timeout = "fail" }')
    assert set(plan.nodes[0].machine.steps[0].routes) == {0, 255, "timeout"}


READER = """
[inputs]
s = {}
[nodes.b]
task = "shell"
[nodes.c]
task = "shell"
needs = { a = [«"error"»] }
[nodes.a]
task = "probe"
routes = { "*" = "fail:gone" }
"""
"""No exit of `a` gives the label `error`."""


@pytest.mark.parametrize(
    "keys",
    [
        'outputs = { x = "${b.stdout}" }',
        'outputs = { x = "${inputs.s.x}" }',
        'outputs = { x = "${10 / inputs.s}" }',
        'when = "b.stdout"',
        'when = "inputs.s > 1"',
    ],
)
def test_what_may_turn_out_not_to_be_evaluated_can_end_with_error(keys: str) -> None:
    plan = plan_of(marked(READER)[0] + keys)
    assert edges(plan, "c") == [("a", "error", True)]


@pytest.mark.parametrize("keys", ["", 'outputs = { x = "${inputs.s} ${run.id}" }'])
def test_what_is_sure_to_be_evaluated_cannot_end_with_error(keys: str) -> None:
    says(READER + keys, ("E203", "`a` can never end with the label `error`"))


@pytest.mark.parametrize("label", ['"late"', '"needs_review"', "2", '"look"', '"error"'])
def test_labels_may_be_named_in_every_way(label: str) -> None:
    text = P + 'exits = { look = 2 }\nroutes = { failure = "done:late" }\n'
    plan = plan_of(text + f'[nodes.b]\ntask = "shell"\nneeds = {{ a = [{label}] }}')
    assert edges(plan, "b") == [("a", label.strip('"'), True)]


@pytest.mark.parametrize(
    "with_",
    [
        'n = 1, mode = "fast", items = ["a"], deep = { a = "a" }, share = 0.5',
        "n = 1, share = 1",
        'n = "${run.visit}"',
        'n = 1, items = "${run.id}"',
        'n = 1, items = ["${run.id}"]',
        'n = 1, mode = "${run.id}"',
        'n = 1, mode = "f${run.id}"',
        'n = 1, deep = "${run.id}"',
        'n = 1, deep = { a = "${run.id}" }',
    ],
)
def test_what_may_fit_is_let_through(with_: str) -> None:
    assert plan_of(T + f"with = {{ {with_} }}")


@pytest.mark.parametrize("default", ['"$${x}"', "2024-01-01", "[1, 2.5]", "{ a = true }"])
def test_defaults_may_be_any_json(default: str) -> None:
    assert plan_of(f"[inputs]\nx = {{ default = {default} }}\n" + A)


def test_a_literal_that_looks_like_an_expression_is_checked_as_what_it_means() -> None:
    child = '[pipelines.p]\ninputs.x = { enum = ["${x}"] }\nnodes.y.task = "shell"\n'
    assert plan_of(child + '[nodes.a]\npipeline = "p"\nwith = { x = "$${x}" }')


def test_a_sub_pipeline_with_inputs_that_fit() -> None:
    assert plan_of(C + 'with = { n = 1, text = "a" }')
    assert plan_of(C + 'with = { n = "${run.visit}" }')
