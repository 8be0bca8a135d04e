"""The JSON Schema of the language against what `load` accepts, and its words against the Spec."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import attrs
import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.validators import extend

from engine.language.json_schema import load_language_schema
from engine.language.loader import load_spec
from engine.language.spec import (
    LimitsSpec,
    NodeSpec,
    PipelineSpec,
    RetrySpec,
    RouteSpec,
    Spec,
    StepSpec,
)
from engine.language.structuring_errors import list_known_keys
from engine.toml.key_paths import KeyPath
from engine.toml.source import Source
from tests.support.strategies import cases

Doc = dict[str, Any]


def _whole(_: Any, value: Any) -> bool:
    return type(value) is int  # TOML tells 1 from 1.0, JSON Schema does not


_TYPES = Draft202012Validator.TYPE_CHECKER.redefine("integer", _whole)
VALIDATOR = extend(Draft202012Validator, type_checker=_TYPES)(load_language_schema())

BEYOND = ("name the same exit", "longer than a year", "that JSON does not have")
"""What no schema can say: exits are compared by value, delays multiplied, TOML has nan and inf."""

STRUCTURE = ("E102", "E103", "E104", "E105", "E106", "E505")

FULL: Doc = {
    "engine": 1,
    "pipeline": {
        "name": "full",
        "description": "every key there is",
        "deadline": "1h",
        "max_parallel": 2,
        "on_failure": "cancel",
        "tasks": ["mine.tasks"],
    },
    "inputs": {"flag": {"type": "boolean", "default": True}, "text": {"pattern": "${"}},
    "state": {
        "seen": {"type": "integer", "initial": 0},
        "log": {"pattern": "${", "initial": [{"a": "$${b}"}]},
    },
    "pools": {"gpu": 1},
    "limits": {"attempts": 200, "duration": "2h"},
    "nodes": {
        "one": {
            "needs": {"two": "finished", "three": ["odd", 3]},
            "join": "any",
            "when": "inputs.flag",
            "deadline": "1m",
            "pool": "gpu",
            "priority": 0,
            "allow_failure": True,
            "executor": "thread",
            "group": "all",
            "description": "a node",
            "outputs": {"x": "${inputs.text}", "y": [{"z": 1.5}]},
            "task": "shell",
            "with": {"argv": ["a"], "deep": {"list": [{"k": 1}]}},
            "exits": {"odd": 3},
            "routes": {
                "odd": "done:x",
                "2": {"to": "one", "max": 3, "then": "fail", "delay": "0s"},
            },
            "retry": {
                "attempts": 2,
                "on": ["odd", 2, "*"],
                "delay": "250ms",
                "factor": 1.5,
                "max_delay": "1m",
                "jitter": 0.5,
            },
            "timeout": "1.5s",
            "set": {"seen": "${state.seen + 1}", "log": [{"a": ["${state.log}"]}]},
        },
        "each": {
            "task": "shell",
            "for_each": ["a", 1, {"b": ["${inputs.text}"]}],
            "max_parallel": 3,
            "tolerate": "12.5%",
            "with": {"argv": ["${item}"]},
        },
        "read": {"task": "shell", "for_each": "${one.x}", "tolerate": 1},
        "two": {"pipeline": "child", "needs": ["three"], "retry": [{"attempts": 2}]},
        "three": {
            "start": "first",
            "steps": {
                "first": {"task": "shell", "description": "a step", "set": {"seen": 1}},
                "second": {"pipeline": "./other.toml"},
            },
        },
    },
    "outputs": {"size": "${one.x}"},
    "pipelines": {"child": {"inputs": {}, "nodes": {"only": {"task": "shell"}}}},
}


def refused(doc: Doc) -> list[str]:
    """What `load` has against the shape of a document, less what no schema can say."""
    _, found = load_spec(Source("full.toml", tomli_w.dumps(doc)), reader=_no_files)
    wrong = [d for d in found if d.rule.code in STRUCTURE]
    return [str(d) for d in wrong if not any(words in d.message for words in BEYOND)]


def _no_files(path: Any) -> Source:
    raise FileNotFoundError(2, "no such file")


def agree(doc: Doc) -> None:
    data = tomli.loads(tomli_w.dumps(doc))
    mine = refused(doc)
    schemas = [f"{list(e.absolute_path)}: {e.message}" for e in VALIDATOR.iter_errors(data)]
    assert bool(mine) == bool(schemas), (mine, schemas)


# --------------------------------------------------------------------------------- near misses

VALUES: tuple[Any, ...] = (
    *(0, 1, -1, 255, 256, 1000, 1001, 0.5, 1.0, 1.5, 2e9, True, False),
    *("", "x", "1s", "0s", "1h30m", "30m1h", "1.s", "-1s", "1ms1s", "done", "fail:x", "success"),
    *("10%", "100%", "101%", "1.5%", "0%", "%", "00%", "1%%"),
    *("all", "finish", "${x}", "$${x}", "a$$${b", "inputs.flag", "no name", "size", "child"),
    *([], {}, [""], ["x", "x"], [1], ["${x}"], {"x": "done"}, {"attempts": 2}, [{"attempts": 2}]),
    *({"to": "done"}, {"to": "x", "then": "fail"}, {"to": "done:x", "max": 2}, {"x": 3}),
    *({"steps": {}, "start": "x"}, {"task": "x"}, {"task": "x", "pipeline": "y"}),
    *({"start": "x", "steps": {"x": {"task": "y"}}}, {"${x}": 1}, {"nodes": {"x": {"task": "y"}}}),
)
KEYS = (
    *("x", "no name", "1x", "", "size", "inputs", "error", "${x}", "$${x}", "*", "0", "single"),
    *("task", "pipeline", "with", "with_", "start", "steps", "then", "max", "delay", "for_each"),
    *("tolerate", "max_parallel"),
    *("set", "limits", "state", "needs", "attempts", "nodes", "pipelines", "engine", "description"),
)


def places(value: Any, path: KeyPath = ()) -> Iterator[KeyPath]:
    """Every place in a document but the root."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in items:
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from places(inner, (*path, key))


def at(doc: Any, path: KeyPath) -> Any:
    for part in path:
        doc = doc[part]
    return doc


@st.composite
def near_misses(draw: st.DrawFn) -> Doc:
    """A valid document with one or two changes, each of which may leave it valid."""
    doc = copy.deepcopy(FULL if draw(st.booleans()) else draw(cases())[0])
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(doc))))
        table, key = at(doc, path[:-1]), path[-1]
        match draw(st.sampled_from(["replace", "drop", "rename", "add"])):
            case "replace":
                table[key] = copy.deepcopy(draw(st.sampled_from(VALUES)))
            case "drop":
                del table[key]
            case "rename" if isinstance(table, dict):
                table[draw(st.sampled_from(KEYS))] = table.pop(key)
            case "add" if isinstance(table, dict):
                value = copy.deepcopy(draw(st.sampled_from(VALUES)))
                table[draw(st.sampled_from(KEYS))] = value
    return doc


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(near_misses())
@example({"engine": 1})
@example({"engine": True, "nodes": {"x": {"task": "y"}}})
@example({"engine": 1, "nodes": {"x": {"task": "y"}}, "pipelines": {"p": {}}})
def test_load_and_schema_refuse_the_same_documents(doc: Doc) -> None:
    agree(doc)


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_load_and_schema_agree_on_a_value_everywhere(value: Any) -> None:
    for path in places(FULL):
        doc = copy.deepcopy(FULL)
        at(doc, path[:-1])[path[-1]] = copy.deepcopy(value)
        agree(doc)


@pytest.mark.parametrize("key", KEYS)
def test_load_and_schema_agree_on_a_key_everywhere(key: str) -> None:
    for path in places(FULL):
        if isinstance(table := at(FULL, path[:-1]), dict):
            doc = copy.deepcopy(FULL)
            at(doc, path[:-1])[key] = copy.deepcopy(table[path[-1]])
            agree(doc)


def test_load_and_schema_agree_without_any_one_key() -> None:
    for path in places(FULL):
        doc = copy.deepcopy(FULL)
        del at(doc, path[:-1])[path[-1]]
        agree(doc)


@given(cases())
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
def test_the_schema_accepts_every_document_that_runs(case: tuple[Doc, Any, Any]) -> None:
    assert not list(VALIDATOR.iter_errors(case[0]))
    assert not refused(case[0])


@pytest.mark.parametrize(
    "text",
    [
        *("1s", "1.5s", "1h30m", "250ms", "1d1h1m1s1ms", "01s", "0.5h", "0s", "0.0ms", "0h0s"),
        *("", "1", "s", "1 s", "1s1s", "1s1h", "1ms1s", ".5s", "5.s", "-1s", "1S", "1e3s", "+1s"),
        *("1m1ms", "1.5h30m", "٣s", "1s ", " 1s", "1us", "0.000000001s"),
    ],
)
@pytest.mark.parametrize("key", ["deadline", "delay"])
def test_durations_are_the_same_to_load_and_schema(key: str, text: str) -> None:
    doc = copy.deepcopy(FULL)
    table = doc["pipeline"] if key == "deadline" else doc["nodes"]["one"]["retry"]
    table[key] = text
    agree(doc)


# ------------------------------------------------------------------------------- the schema itself


def test_it_is_a_json_schema() -> None:
    Draft202012Validator.check_schema(load_language_schema())


def test_each_caller_has_its_own() -> None:
    load_language_schema().clear()
    assert load_language_schema()


TABLES = {
    Spec: (),
    PipelineSpec: ("properties", "pipeline"),
    NodeSpec: ("$defs", "node"),
    StepSpec: ("$defs", "step"),
    RouteSpec: ("$defs", "longRoute"),
    RetrySpec: ("$defs", "clause"),
    LimitsSpec: ("$defs", "limits"),
}


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_it_has_the_keys_of_the_spec(kind: type) -> None:
    keys = set(at(load_language_schema(), TABLES[kind])["properties"])
    assert keys - ({"engine"} if kind is Spec else set()) == set(list_known_keys(kind))


@pytest.mark.parametrize("kind", TABLES, ids=lambda kind: kind.__name__)
def test_every_key_has_a_description(kind: type) -> None:
    for key, value in at(load_language_schema(), TABLES[kind])["properties"].items():
        target = at(load_language_schema(), value["$ref"].split("/")[1:]) if "$ref" in value else {}
        assert value.get("description") or target.get("description"), key


@pytest.mark.parametrize("kind", [PipelineSpec, NodeSpec, StepSpec], ids=lambda k: k.__name__)
def test_defaults_are_those_of_the_spec(kind: type) -> None:
    properties = at(load_language_schema(), TABLES[kind])["properties"]
    for field in attrs.fields(kind):
        value = properties.get(field.name)
        if value and isinstance(field.default, (bool, int, str)):
            assert value["default"] == field.default, field.name
