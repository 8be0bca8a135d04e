"""Whatever an input's schema says, and whatever TOML holds: `check` gives findings, never a traceback."""

from __future__ import annotations

from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.api import check
from engine.toml.source import Source
from tests.toml.test_source import corpus, needs_corpus

RELAXED = settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))

_KEYS = """
    $ref $dynamicRef $id $schema $anchor $dynamicAnchor $defs $vocabulary $comment type enum const
    default properties patternProperties additionalProperties required propertyNames minProperties
    maxProperties dependentRequired dependentSchemas dependencies items prefixItems contains minItems
    maxItems uniqueItems unevaluatedItems unevaluatedProperties allOf anyOf oneOf not if then else
    minimum maximum exclusiveMinimum multipleOf minLength maxLength pattern format title examples a
"""
_WORDS = """
    string integer number boolean null array object # #/ #/$defs/a #/properties/a #a a b/c x.json
    http://[ https://json-schema.org/draft/2020-12/schema urn:x ^a ( [ (?P<a ^[0-9]{3} ^(a+)+$ date
    date-time regex uri %ff ${inputs.x} $${
"""
KEYS, WORDS = _KEYS.split(), _WORDS.split()
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(WORDS),
    st.booleans(),
    st.integers(-3, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.just(2**70),
    st.just(""),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=12,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6)
KINDS = {
    "type": st.sampled_from(["string", "object", "array", "boolean", "integer", "number"]),
    "properties": st.dictionaries(st.sampled_from(["a", "b"]), SCHEMAS, max_size=2),
    "items": SCHEMAS | st.booleans(),
    "allOf": st.lists(SCHEMAS, min_size=1, max_size=3),
    "anyOf": st.lists(SCHEMAS, min_size=1, max_size=3),
    "$defs": st.dictionaries(st.sampled_from(["a", "b"]), SCHEMAS, max_size=2),
    "enum": st.lists(VALUES, min_size=1, max_size=3),
    "pattern": st.sampled_from(WORDS),
    "required": st.lists(st.sampled_from(["a", "b"]), unique=True),
}
LIKELY: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries({}, optional=KINDS)


def document(schema: Any, value: Any) -> dict[str, Any]:
    """A document in which an input of this schema is read in every way, and given a value."""
    reads = ["${inputs.x.a}", "${inputs.x[0].b ?? 1}", "${inputs.x}", "x ${inputs.x}"]
    shell = {"task": "shell", "with": {"argv": reads}}
    child = {"inputs": {"x": schema}, "nodes": {"a": shell}, "outputs": {"x": "${inputs.x.a.b}"}}
    nodes = {
        "a": {"pipeline": "p", "with": {"x": value}},
        "b": {"pipeline": "p", "with": {"x": "${inputs.x}"}, "when": "${inputs.x}"},
        "c": {"pipeline": "p", "with": {"x": {"a": "${a.x}", "b": ["${inputs.x}"]}}},
        "d": shell,
    }
    return {"engine": 1, "inputs": {"x": schema}, "nodes": nodes, "pipelines": {"p": child}}


def findings(doc: dict[str, Any]) -> None:
    source = Source("any.toml", tomli_w.dumps(doc))
    lines = source.text.count("\n") + 1
    for each in check(source):
        assert 1 <= each.span.line <= lines
        assert each.message


@RELAXED
@given(SCHEMAS | LIKELY, VALUES)
@example({"$ref": "#"}, 1)
@example({"properties": {"a": {"$ref": "#"}}, "required": ["a"]}, {"a": {}})
@example({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True}, 1)
@example({"$id": "http://[", "$ref": "#/a"}, 1)
@example({"pattern": "^(?P<a>a)(?P=a)$", "default": "x"}, "aa")
@example({"multipleOf": 0.1, "default": 1e308}, 1e308)
@example({"minLength": 2**70, "default": "x"}, "x")
def test_any_schema_of_an_input_gives_findings(schema: Any, value: Any) -> None:
    findings(document(schema, value))


@needs_corpus
@pytest.mark.parametrize("data", corpus("valid"))
def test_any_toml_gives_findings_wherever_a_value_may_stand(data: bytes) -> None:
    table = tomli.loads(data.decode("utf-8-sig"))
    findings(document(table, table))
    findings({"engine": 1, "nodes": {"a": {"task": "shell", "with": table, "outputs": table}}})
    findings({"engine": 1, "nodes": table, "inputs": table, "pools": table, "pipelines": table})
    findings({"engine": 1, "nodes": {"a": table, "b": {"start": "s", "steps": table}}})
