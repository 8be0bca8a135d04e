"""Value types: the values that a JSON Schema allows, asked field by field.

A value type is a choice between alternatives, each a row of schemas that hold together: `$ref`, `allOf`, `anyOf` and
`oneOf` are resolved. A keyword that is not understood, or would be too costly, is ignored, so that a type allows more
than its schema and never less: whatever it excludes is truly excluded. Source: JSON Schema 2020-12; docs/language.md,
"Expressions".
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
"""Schemas that all hold, each with the document in which its `$ref` is resolved."""
Form = tuple[Alternative, ...]

OPEN: Form = ((),)
"""The type of any value."""

_MOST = 16
_DEEPEST = 8
_INNER = "engine:form"
"""The only key of a schema made here that stands for a value type."""
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
"""Keywords that may require a field in a way that is not analysed here."""
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
    """Return the value type of a schema.

    `root` is the document that it stands in, by default the schema itself; `references` are the `$ref`s already followed.
    """
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
    """Yield the value types that a schema refers to or combines."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in under and len(under) < _DEEPEST:
        yield form_of(_looked_up(ref, root), root, (*under, ref))
    for inner in schema.get("allOf", ()):
        yield form_of(inner, root, under)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            yield either(*(form_of(inner, root, under) for inner in schema[key]))


def _looked_up(ref: str, root: Any) -> Any:
    """Return the target of a `$ref` into its own document; True (any value) if it is not plain."""
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
    """Return the type of values of both types, or the first type where that would be too large."""
    if one == OPEN or other == OPEN:
        return other if one == OPEN else one
    if len(one) * len(other) > _MOST:
        return one
    return tuple(a + b for a, b in product(one, other))


def either(*forms: Form) -> Form:
    """Return the type of values of at least one of the types."""
    found = {tuple(id(schema) for schema, _ in each): each for form in forms for each in form}
    return OPEN if () in found or len(found) > _MOST else tuple(found.values())


def literal(value: Any) -> Form:
    """Return the type that allows this value alone."""
    if isinstance(value, Mapping):
        return table({key: literal(item) for key, item in value.items()})
    if isinstance(value, list):
        return array([literal(item) for item in value])
    schema = {"const": value}
    return (((schema, schema),),)


def table(fields: Mapping[str, Form]) -> Form:
    """Return the type of objects with exactly these fields."""
    schema = {
        "type": "object",
        "properties": {name: {_INNER: form} for name, form in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
    return (((schema, schema),),)


def array(items: Sequence[Form]) -> Form:
    """Return the type of arrays with exactly these items."""
    inner = [{_INNER: form} for form in items]
    schema = {"type": "array", "prefixItems": inner, "minItems": len(items), "items": False}
    return (((schema, schema),),)


def listed(inner: Form, most: int | None) -> Form:
    """Return the type of arrays whose items have one type; `max_items` None means no limit."""
    schema: dict[str, Any] = {"type": "array", "items": {_INNER: inner}}
    if most is not None:
        schema["maxItems"] = most
    return (((schema, schema),),)


def not_null(form: Form) -> Form:
    """Return the same type without null."""
    schema = {"type": [kind for kind in _KINDS if kind != "null"]}
    return meet(form, (((schema, schema),),))


# -- fields ----------------------------------------------------------------------------------------


@frozen
class Field:
    """The result of looking up one field or item in a value type.

    `kind` is `there` (as far as is known), `optional`, `unknown` (only `known_names` exist) or `none` (the value has no fields
    or items); `value_type` is the type of the field.
    """

    kind: Literal["there", "optional", "unknown", "none"]
    form: Form = OPEN
    known: tuple[str, ...] = ()


def field(form: Form, part: str | int) -> Field:
    """Look up a field or an item of a type, as far as all alternatives agree."""
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
    """Return whether a key may match the pattern; a pattern that Python cannot compile matches any key."""
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
    """Return the type of the items of an array of this type."""
    found: list[Form] = []
    for alternative in form:
        if "array" in _kinds(alternative):
            first = max((len(s.get("prefixItems", ())) for s, _ in alternative), default=0)
            each = (_item(alternative, at) for at in range(first + 1))
            found += [item.form for item in each if item.kind == "there"]
    return either(*found)


def longest(form: Form) -> int | None:
    """Return the maximum number of items of an array of this type, or None if it is unbounded."""
    most = [_longest(alternative) for alternative in form if "array" in _kinds(alternative)]
    known = [each for each in most if each is not None]
    return max(known, default=0) if len(known) == len(most) and form != OPEN else None


def _longest(alternative: Alternative) -> int | None:
    found = [s["maxItems"] for s, _ in alternative if isinstance(s.get("maxItems"), int)]
    found += [len(s.get("prefixItems", ())) for s, _ in alternative if s.get("items") is False]
    return min(found, default=None)


# -- kinds -----------------------------------------------------------------------------------------


def kinds(form: Form) -> tuple[str, ...]:
    """Return the names of the JSON types that a type allows; all of them for an unrestricted type."""
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
    """Return the only values that a schema allows if it lists them, or None."""
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
    """Return whether it is certain that no value has both types."""
    if OPEN in (one, other) or not (one and other):
        return False
    return all(_apart(a + b, depth) for a, b in product(one, other))


def _apart(both: Alternative, depth: int) -> bool:
    """Return whether no value can satisfy all of these schemas."""
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
