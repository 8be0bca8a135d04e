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
    "ANY",
    "FieldLookup",
    "ValueType",
    "are_disjoint",
    "item_type",
    "list_of",
    "literal_type",
    "look_up_field",
    "max_items",
    "object_of",
    "tuple_of",
    "type_intersection",
    "type_names",
    "type_of_schema",
    "type_union",
    "without_null",
]

Alternative = tuple[tuple[Mapping[str, Any], Any], ...]
"""Schemas that all hold, each with the document in which its `$ref` is resolved."""
ValueType = tuple[Alternative, ...]

ANY: ValueType = ((),)
"""The type of any value."""

_MAX_ALTERNATIVES = 16
_MAX_REFERENCES = 8
_TYPE_KEY = "engine:form"
"""The only key of a schema made here that stands for a value type."""
_COMBINING_KEYWORDS = frozenset(("$ref", "allOf", "anyOf", "oneOf"))
_UNANALYSED_KEYWORDS = frozenset(
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
_KINDS_BY_TYPE = {
    "null": {"null"},
    "boolean": {"boolean"},
    "object": {"object"},
    "array": {"array"},
    "string": {"string"},
    "integer": {"integer"},
    "number": {"integer", "fraction"},
}
_ALL_KINDS = frozenset().union(*_KINDS_BY_TYPE.values())


# -- making forms ----------------------------------------------------------------------------------


def type_of_schema(schema: Any, root: Any = None, references: tuple[str, ...] = ()) -> ValueType:
    """Return the value type of a schema.

    `root` is the document that it stands in, by default the schema itself; `references` are the `$ref`s already followed.
    """
    root = schema if root is None else root
    if schema is False:
        return ()
    if not isinstance(schema, Mapping) or not schema:
        return ANY
    if _TYPE_KEY in schema:
        inner: ValueType = schema[_TYPE_KEY]
        return inner
    form: ValueType = (((schema, root),),)
    if _COMBINING_KEYWORDS.isdisjoint(schema):
        return form
    for part in _iter_combined_types(schema, root, references):
        form = type_intersection(form, part)
    return form


def _iter_combined_types(
    schema: Mapping[str, Any], root: Any, references: tuple[str, ...]
) -> Iterator[ValueType]:
    """Yield the value types that a schema refers to or combines."""
    ref = schema.get("$ref")
    if isinstance(ref, str) and ref not in references and len(references) < _MAX_REFERENCES:
        yield type_of_schema(_resolve_reference(ref, root), root, (*references, ref))
    for inner in schema.get("allOf", ()):
        yield type_of_schema(inner, root, references)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            yield type_union(*(type_of_schema(inner, root, references) for inner in schema[key]))


def _resolve_reference(ref: str, root: Any) -> Any:
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


def type_intersection(one: ValueType, other: ValueType) -> ValueType:
    """Return the type of values of both types, or the first type where that would be too large."""
    if one == ANY or other == ANY:
        return other if one == ANY else one
    if len(one) * len(other) > _MAX_ALTERNATIVES:
        return one
    return tuple(a + b for a, b in product(one, other))


def type_union(*forms: ValueType) -> ValueType:
    """Return the type of values of at least one of the types."""
    found = {tuple(id(schema) for schema, _ in each): each for form in forms for each in form}
    return ANY if () in found or len(found) > _MAX_ALTERNATIVES else tuple(found.values())


def literal_type(value: Any) -> ValueType:
    """Return the type that allows this value alone."""
    if isinstance(value, Mapping):
        return object_of({key: literal_type(item) for key, item in value.items()})
    if isinstance(value, list):
        return tuple_of([literal_type(item) for item in value])
    schema = {"const": value}
    return (((schema, schema),),)


def object_of(fields: Mapping[str, ValueType]) -> ValueType:
    """Return the type of objects with exactly these fields."""
    schema = {
        "type": "object",
        "properties": {name: {_TYPE_KEY: form} for name, form in fields.items()},
        "required": list(fields),
        "additionalProperties": False,
    }
    return (((schema, schema),),)


def tuple_of(items: Sequence[ValueType]) -> ValueType:
    """Return the type of arrays with exactly these items."""
    inner = [{_TYPE_KEY: form} for form in items]
    schema = {"type": "array", "prefixItems": inner, "minItems": len(items), "items": False}
    return (((schema, schema),),)


def list_of(inner: ValueType, max_items: int | None) -> ValueType:
    """Return the type of arrays whose items have one type; `max_items` None means no limit."""
    schema: dict[str, Any] = {"type": "array", "items": {_TYPE_KEY: inner}}
    if max_items is not None:
        schema["maxItems"] = max_items
    return (((schema, schema),),)


def without_null(form: ValueType) -> ValueType:
    """Return the same type without null."""
    schema = {"type": [kind for kind in _KINDS_BY_TYPE if kind != "null"]}
    return type_intersection(form, (((schema, schema),),))


# -- fields ----------------------------------------------------------------------------------------


@frozen
class FieldLookup:
    """The result of looking up one field or item in a value type.

    `kind` is `there` (as far as is known), `optional`, `unknown` (only `known_names` exist) or `none` (the value has no fields
    or items); `value_type` is the type of the field.
    """

    kind: Literal["there", "optional", "unknown", "none"]
    value_type: ValueType = ANY
    known_names: tuple[str, ...] = ()


def look_up_field(form: ValueType, part: str | int) -> FieldLookup:
    """Look up a field or an item of a type, as far as all alternatives agree."""
    found = [
        _look_up_item(a, part) if isinstance(part, int) else _look_up_property(a, part)
        for a in form
    ]
    kinds = {each.kind for each in found}
    inner = type_union(*(each.value_type for each in found if each.kind in ("there", "optional")))
    if not found or "there" in kinds:
        return FieldLookup("there", inner if found else ANY)
    if "optional" in kinds:
        return FieldLookup("optional", inner)
    if "unknown" in kinds:
        return FieldLookup(
            "unknown", ANY, tuple(sorted({n for each in found for n in each.known_names}))
        )
    return FieldLookup("none")


def _look_up_property(alternative: Alternative, part: str) -> FieldLookup:
    if "object" not in _find_kinds(alternative):
        return FieldLookup("none")
    inner: ValueType = ANY
    declared = False
    for schema, root in alternative:
        properties = schema.get("properties", {})
        matching = [
            s for p, s in schema.get("patternProperties", {}).items() if _may_match(p, part)
        ]
        declared = declared or part in properties
        given = [*([properties[part]] if part in properties else ()), *matching]
        for found in given or [schema.get("additionalProperties", True)]:
            inner = type_intersection(inner, type_of_schema(found, root))
    if not inner:
        names = [name for schema, _ in alternative for name in schema.get("properties", {})]
        return FieldLookup("unknown", ANY, tuple(names))
    required = any(part in schema.get("required", ()) for schema, _ in alternative)
    unclear = any(not _UNANALYSED_KEYWORDS.isdisjoint(schema) for schema, _ in alternative)
    return FieldLookup("optional" if declared and not (required or unclear) else "there", inner)


def _may_match(pattern: str, part: str) -> bool:
    """Return whether a key may match the pattern; a pattern that Python cannot compile matches any key."""
    try:
        return re.search(pattern, part) is not None
    except re.error:
        return True


def _look_up_item(alternative: Alternative, part: int) -> FieldLookup:
    if "array" not in _find_kinds(alternative):
        return FieldLookup("none")
    inner: ValueType = ANY
    for schema, root in alternative:
        first, most = schema.get("prefixItems", ()), schema.get("maxItems")
        if isinstance(most, int) and part >= most:
            return FieldLookup("unknown")
        found = first[part] if part < len(first) else schema.get("items", True)
        inner = type_intersection(inner, type_of_schema(found, root))
    return FieldLookup("there", inner) if inner else FieldLookup("unknown")


def item_type(form: ValueType) -> ValueType:
    """Return the type of the items of an array of this type."""
    found: list[ValueType] = []
    for alternative in form:
        if "array" in _find_kinds(alternative):
            first = max((len(s.get("prefixItems", ())) for s, _ in alternative), default=0)
            each = (_look_up_item(alternative, at) for at in range(first + 1))
            found += [item.value_type for item in each if item.kind == "there"]
    return type_union(*found)


def max_items(form: ValueType) -> int | None:
    """Return the maximum number of items of an array of this type, or None if it is unbounded."""
    most = [
        _find_max_items(alternative) for alternative in form if "array" in _find_kinds(alternative)
    ]
    known = [each for each in most if each is not None]
    return max(known, default=0) if len(known) == len(most) and form != ANY else None


def _find_max_items(alternative: Alternative) -> int | None:
    found = [s["maxItems"] for s, _ in alternative if isinstance(s.get("maxItems"), int)]
    found += [len(s.get("prefixItems", ())) for s, _ in alternative if s.get("items") is False]
    return min(found, default=None)


# -- kinds -----------------------------------------------------------------------------------------


def type_names(form: ValueType) -> tuple[str, ...]:
    """Return the names of the JSON types that a type allows; all of them for an unrestricted type."""
    found = frozenset().union(*map(_find_kinds, form))
    names = ["number" if kind == "fraction" else kind for kind in sorted(found)]
    return tuple(n for n in dict.fromkeys(names) if n != "integer" or "fraction" not in found)


def _find_kinds(alternative: Alternative) -> frozenset[str]:
    found: frozenset[str] = _ALL_KINDS
    for schema, _ in alternative:
        if "type" in schema:
            names = schema["type"]
            names = [names] if isinstance(names, str) else names
            found &= frozenset().union(*(_KINDS_BY_TYPE.get(name, _ALL_KINDS) for name in names))
        values = _list_values(schema)
        if values is not None:
            found &= {_kind_of(value) for value in values}
    return found


def _list_values(schema: Mapping[str, Any]) -> list[Any] | None:
    """Return the only values that a schema allows if it lists them, or None."""
    if "const" in schema:
        return [schema["const"]]
    return list(schema["enum"]) if "enum" in schema else None


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def are_disjoint(one: ValueType, other: ValueType, depth: int = 4) -> bool:
    """Return whether it is certain that no value has both types."""
    if ANY in (one, other) or not (one and other):
        return False
    return all(_is_contradictory(a + b, depth) for a, b in product(one, other))


def _is_contradictory(both: Alternative, depth: int) -> bool:
    """Return whether no value can satisfy all of these schemas."""
    found = _find_kinds(both)
    if not found:
        return True
    listed = [values for schema, _ in both if (values := _list_values(schema)) is not None]
    if len(listed) > 1 and not any(
        all(_contains(v, more) for more in listed[1:]) for v in listed[0]
    ):
        return True
    if found != {"object"} or not depth:
        return False
    required = dict.fromkeys(name for schema, _ in both for name in schema.get("required", ()))
    return any(_is_impossible(both, name, depth - 1) for name in required)


def _contains(value: Any, values: Iterable[Any]) -> bool:
    return any(value == each and _kind_of(value) == _kind_of(each) for each in values)


def _is_impossible(both: Alternative, name: str, depth: int) -> bool:
    found = _look_up_property(both, name)
    return found.kind == "unknown" or all(
        _is_contradictory(each, depth) for each in found.value_type
    )
