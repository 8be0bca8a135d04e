"""JSON Schemas as forms: what a value can be, asked field by field, and whether two can meet.

A form is a choice between alternatives, each of which is a row of schemas that hold together:
`$ref`, `allOf`, `anyOf` and `oneOf` are spelt out. What is not understood, or would be too much, is
let go, so that a form allows more than its schema and never less: what it rules out is ruled out.
Source: JSON Schema 2020-12; LANGUAGE.md section 9.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, Literal

from engine.base.classes import frozen

__all__ = [
    "OPEN",
    "Field",
    "Form",
    "apart",
    "array",
    "either",
    "field",
    "form_of",
    "items",
    "kinds",
    "listed",
    "literal",
    "longest",
    "meet",
    "not_null",
    "table",
]

Alternative = tuple[tuple[Mapping[str, Any], Any], ...]
"""Schemas that all hold, each with the document in which its `$ref` is looked up."""
Form = tuple[Alternative, ...]

OPEN: Form = ((),)
"""Anything."""

_MOST = 16
_DEEPEST = 8
_INNER = "engine:form"
"""The one key of what stands for a form in a schema made here."""
_BY_OTHERS = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
_UNCLEAR = frozenset(
    [
        "if",
        "not",
        "dependentRequired",
        "dependentSchemas",
        "dependencies",
        "minProperties",
        "unevaluatedProperties",
        "$dynamicRef",
    ]
)
"""Keys that may ask for a field in a way that is not looked at."""
_KINDS = {
    "null": {"null"},
    "boolean": {"boolean"},
    "object": {"object"},
    "array": {"array"},
    "string": {"string"},
    "integer": {"integer"},
    "number": {"integer", "fraction"},
}
_ALL = frozenset().union(*_KINDS.values())


# -- making forms ----------------------------------------------------------------------------------


def form_of(schema: Any, root: Any = None, under: tuple[str, ...] = ()) -> Form:
    """The form of a schema that stands in the document `root`, by default itself; `under` are the
    references that lead to it."""
    root = schema if root is None else root
    if schema is False:
        return ()
    if not isinstance(schema, Mapping) or not schema:
        return OPEN
    if _INNER in schema:
        inner: Form = schema[_INNER]
        return inner
    form: Form = (((schema, root),),)
    if _BY_OTHERS.isdisjoint(schema):
        return form
    for part in _parts(schema, root, under):
        form = meet(form, part)
    return form


def _parts(schema: Mapping[str, Any], root: Any, under: tuple[str, ...]) -> Iterator[Form]:
    """What a schema says through others."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in under and len(under) < _DEEPEST:
        yield form_of(_looked_up(ref, root), root, (*under, ref))
    for inner in schema.get("allOf", ()):
        yield form_of(inner, root, under)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            yield either(*(form_of(inner, root, under) for inner in schema[key]))


def _looked_up(ref: str, root: Any) -> Any:
    """What a `$ref` into its own document leads to; anything if that is not plain."""
    if not ref.startswith("#") or (ref != "#" and not ref.startswith("#/")):
        return True
    found = root
    for part in ref.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, Mapping) or key not in found or "%" in key:
            return True
        found = found[key]
    return found


def meet(one: Form, other: Form) -> Form:
    """Both hold; or only what the first says, where that would be too much."""
    if one == OPEN or other == OPEN:
        return other if one == OPEN else one
    if len(one) * len(other) > _MOST:
        return one
    return tuple(a + b for a, b in product(one, other))


def either(*forms: Form) -> Form:
    """One of them holds."""
    found = {tuple(id(schema) for schema, _ in each): each for form in forms for each in form}
    return OPEN if () in found or len(found) > _MOST else tuple(found.values())


def literal(value: Any) -> Form:
    """Just this value."""
    if isinstance(value, Mapping):
        return table({key: literal(item) for key, item in value.items()})
    if isinstance(value, list):
        return array([literal(item) for item in value])
    schema = {"const": value}
    return (((schema, schema),),)


def table(fields: Mapping[str, Form]) -> Form:
    """An object with these fields and no others."""
    schema = {
        "type": "object",
        "properties": {name: {_INNER: form} for name, form in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
    return (((schema, schema),),)


def array(items: Sequence[Form]) -> Form:
    """A list of these items."""
    inner = [{_INNER: form} for form in items]
    schema = {"type": "array", "prefixItems": inner, "minItems": len(items), "items": False}
    return (((schema, schema),),)


def listed(inner: Form, most: int | None) -> Form:
    """A list of items of one form, at most so many."""
    schema: dict[str, Any] = {"type": "array", "items": {_INNER: inner}}
    if most is not None:
        schema["maxItems"] = most
    return (((schema, schema),),)


def not_null(form: Form) -> Form:
    """The same without null."""
    schema = {"type": [kind for kind in _KINDS if kind != "null"]}
    return meet(form, (((schema, schema),),))


# -- fields ----------------------------------------------------------------------------------------


@frozen
class Field:
    """One step into a form: is it `there` (for all that is known), `optional`, `unknown` where only
    `known` are, or is nothing inside (`none`); and what it is."""

    kind: Literal["there", "optional", "unknown", "none"]
    form: Form = OPEN
    known: tuple[str, ...] = ()


def field(form: Form, part: str | int) -> Field:
    """What a form says of a field or item, as far as all alternatives agree."""
    found = [_item(a, part) if isinstance(part, int) else _field(a, part) for a in form]
    kinds = {each.kind for each in found}
    inner = either(*(each.form for each in found if each.kind in ("there", "optional")))
    if not found or "there" in kinds:
        return Field("there", inner if found else OPEN)
    if "optional" in kinds:
        return Field("optional", inner)
    if "unknown" in kinds:
        return Field("unknown", OPEN, tuple(sorted({n for each in found for n in each.known})))
    return Field("none")


def _field(alternative: Alternative, part: str) -> Field:
    if "object" not in _kinds(alternative):
        return Field("none")
    inner: Form = OPEN
    declared = False
    for schema, root in alternative:
        properties = schema.get("properties", {})
        matching = [s for p, s in schema.get("patternProperties", {}).items() if _matches(p, part)]
        declared = declared or part in properties
        given = [*([properties[part]] if part in properties else ()), *matching]
        for found in given or [schema.get("additionalProperties", True)]:
            inner = meet(inner, form_of(found, root))
    if not inner:
        names = [name for schema, _ in alternative for name in schema.get("properties", {})]
        return Field("unknown", OPEN, tuple(names))
    required = any(part in schema.get("required", ()) for schema, _ in alternative)
    unclear = any(not _UNCLEAR.isdisjoint(schema) for schema, _ in alternative)
    return Field("optional" if declared and not (required or unclear) else "there", inner)


def _matches(pattern: str, part: str) -> bool:
    """Whether a key has the pattern; one that Python does not know may be any key's."""
    try:
        return re.search(pattern, part) is not None
    except re.error:
        return True


def _item(alternative: Alternative, part: int) -> Field:
    if "array" not in _kinds(alternative):
        return Field("none")
    inner: Form = OPEN
    for schema, root in alternative:
        first, most = schema.get("prefixItems", ()), schema.get("maxItems")
        if isinstance(most, int) and part >= most:
            return Field("unknown")
        found = first[part] if part < len(first) else schema.get("items", True)
        inner = meet(inner, form_of(found, root))
    return Field("there", inner) if inner else Field("unknown")


def items(form: Form) -> Form:
    """What the items of a list of this form can be."""
    found: list[Form] = []
    for alternative in form:
        if "array" in _kinds(alternative):
            first = max((len(s.get("prefixItems", ())) for s, _ in alternative), default=0)
            each = (_item(alternative, at) for at in range(first + 1))
            found += [item.form for item in each if item.kind == "there"]
    return either(*found)


def longest(form: Form) -> int | None:
    """How many items a list of this form has at most; None where nothing bounds it."""
    most = [_longest(alternative) for alternative in form if "array" in _kinds(alternative)]
    known = [each for each in most if each is not None]
    return max(known, default=0) if len(known) == len(most) and form != OPEN else None


def _longest(alternative: Alternative) -> int | None:
    found = [s["maxItems"] for s, _ in alternative if isinstance(s.get("maxItems"), int)]
    found += [len(s.get("prefixItems", ())) for s, _ in alternative if s.get("items") is False]
    return min(found, default=None)


# -- kinds -----------------------------------------------------------------------------------------


def kinds(form: Form) -> tuple[str, ...]:
    """The JSON types that a form allows, in words; all of them tell nothing."""
    found = frozenset().union(*map(_kinds, form))
    names = ["number" if kind == "fraction" else kind for kind in sorted(found)]
    return tuple(n for n in dict.fromkeys(names) if n != "integer" or "fraction" not in found)


def _kinds(alternative: Alternative) -> frozenset[str]:
    found: frozenset[str] = _ALL
    for schema, _ in alternative:
        if "type" in schema:
            names = schema["type"]
            names = [names] if isinstance(names, str) else names
            found &= frozenset().union(*(_KINDS.get(name, _ALL) for name in names))
        values = _values(schema)
        if values is not None:
            found &= {_kind(value) for value in values}
    return found


def _values(schema: Mapping[str, Any]) -> list[Any] | None:
    """The only values that a schema allows, if it lists them."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def apart(one: Form, other: Form, depth: int = 4) -> bool:
    """Whether no value is of both forms, for certain."""
    if OPEN in (one, other) or not (one and other):
        return False
    return all(_apart(a + b, depth) for a, b in product(one, other))


def _apart(both: Alternative, depth: int) -> bool:
    """Whether no value fits all of these schemas."""
    found = _kinds(both)
    if not found:
        return True
    listed = [values for schema, _ in both if (values := _values(schema)) is not None]
    if len(listed) > 1 and not any(all(_among(v, more) for more in listed[1:]) for v in listed[0]):
        return True
    if found != {"object"} or not depth:
        return False
    required = dict.fromkeys(name for schema, _ in both for name in schema.get("required", ()))
    return any(_never(both, name, depth - 1) for name in required)


def _among(value: Any, values: Iterable[Any]) -> bool:
    return any(value == each and _kind(value) == _kind(each) for each in values)


def _never(both: Alternative, name: str, depth: int) -> bool:
    found = _field(both, name)
    return found.kind == "unknown" or all(_apart(each, depth) for each in found.form)
