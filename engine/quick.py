"""JSON Schema, the plain part of it, as functions that only say yes or "ask the library".

Most values fit, and the plain schemas of tasks use a dozen keywords: for those a value is looked at
here, in a few microseconds and without importing jsonschema. What is not sure to fit is for
`schemas` to judge and to explain. A keyword that is not known here makes the whole schema unknown.
Source: JSON Schema 2020-12; the property test against jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sized
from typing import Any

__all__ = ["Sure", "is_schema", "sure"]

Sure = Callable[[Any], bool]
"""True: the value fits. False: it may or may not."""

_SILENT = frozenset(
    {
        *("$schema", "$comment", "title", "description", "default", "examples", "deprecated"),
        *("format", "initial"),
    }
)
"""What says nothing about a value; `format` is not asserted, `initial` is a word of `[state]`."""


def sure(schema: Any) -> Sure | None:
    """The quick look for a schema; None if it uses more than is known here."""
    if schema is True:
        return _anything
    if not isinstance(schema, Mapping):
        return None
    looks: list[Sure] = []
    for key, rule in schema.items():
        if key in _SILENT or key.startswith("x-"):
            continue
        make = _KEYWORDS.get(key)
        look = make(rule, schema) if make is not None else None
        if look is None:
            return None
        looks.append(look)
    if len(looks) == 1:
        return looks[0]
    return lambda value: all(look(value) for look in looks)


def _anything(value: Any) -> bool:
    return True


Make = Callable[[Any, Mapping[str, Any]], "Sure | None"]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int or type(value) is float,
    "boolean": lambda value: type(value) is bool,
    "null": lambda value: value is None,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
}


def _type(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    if isinstance(rule, str):
        return _TYPES.get(rule)
    looks = [_TYPES[name] for name in rule if name in _TYPES]
    return lambda value: any(look(value) for look in looks)


def _enum(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    scalars = (str, bool, int, type(None))
    known = frozenset((type(each), each) for each in rule if type(each) in scalars)
    return lambda value: type(value) in scalars and (type(value), value) in known


def _const(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    return _enum([rule], schema)


def _required(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    names = tuple(rule)
    return lambda value: type(value) is not dict or all(name in value for name in names)


def _properties(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    made = {name: sure(each) for name, each in rule.items()}
    if None in made.values():
        return None
    looks: dict[str, Any] = made
    return lambda value: (
        type(value) is not dict
        or all(looks[name](item) for name, item in value.items() if name in looks)
    )


def _additional(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    known = frozenset(schema.get("properties", ()))
    if "patternProperties" in schema:
        return None
    if rule is False:
        return lambda value: type(value) is not dict or known.issuperset(value)
    look = sure(rule)
    if look is None:
        return None
    return lambda value: (
        type(value) is not dict
        or all(look(item) for name, item in value.items() if name not in known)
    )


def _items(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    look = sure(rule)
    if look is None or "prefixItems" in schema:
        return None
    return lambda value: type(value) is not list or all(map(look, value))


def _one_of(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    """Alternatives that differ in required keys alone: one of them must have all of its own."""
    if not all(isinstance(each, Mapping) and each.keys() == {"required"} for each in rule):
        return None
    needs = [frozenset(each["required"]) for each in rule]
    return lambda value: type(value) is dict and sum(need <= value.keys() for need in needs) == 1


def _any_of(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    looks = [look for look in map(sure, rule) if look is not None]
    return lambda value: any(look(value) for look in looks)


def _dependent(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    return lambda value: (
        type(value) is not dict
        or all(name not in value or value.keys() >= set(need) for name, need in rule.items())
    )


def _pattern(rule: Any, schema: Mapping[str, Any]) -> Sure | None:
    find = re.compile(rule).search
    return lambda value: type(value) is not str or find(value) is not None


def _at_least(kind: type[Sized]) -> Make:
    return lambda rule, schema: lambda value: not isinstance(value, kind) or len(value) >= rule


def _at_most(kind: type[Sized]) -> Make:
    return lambda rule, schema: lambda value: not isinstance(value, kind) or len(value) <= rule


def _number(fits: Callable[[Any, Any], bool]) -> Make:
    return lambda rule, schema: lambda value: type(value) not in (int, float) or fits(value, rule)


_KEYWORDS: Mapping[str, Make] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "required": _required,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "oneOf": _one_of,
    "anyOf": _any_of,
    "dependentRequired": _dependent,
    "pattern": _pattern,
    "minLength": _at_least(str),
    "maxLength": _at_most(str),
    "minItems": _at_least(list),
    "maxItems": _at_most(list),
    "minProperties": _at_least(dict),
    "maxProperties": _at_most(dict),
    "minimum": _number(lambda value, rule: value >= rule),
    "maximum": _number(lambda value, rule: value <= rule),
    "exclusiveMinimum": _number(lambda value, rule: value > rule),
    "exclusiveMaximum": _number(lambda value, rule: value < rule),
}


# -- schemas ------------------------------------------------------------------------------------------


def is_schema(value: Any) -> bool:
    """Whether a value is a JSON Schema for certain; False: it may or may not be one."""
    if not isinstance(value, dict):
        return type(value) is bool
    return all(
        key.startswith("x-") or (key in _RULES and _RULES[key](rule)) for key, rule in value.items()
    )


def _is_type(rule: Any) -> bool:
    names = rule if type(rule) is list else [rule]
    known = all(type(name) is str and name in _TYPES for name in names)
    return known and 0 < len(names) == len(set(names))


def _is_pattern(rule: Any) -> bool:
    try:
        return type(rule) is str and bool(re.compile(rule))
    except (re.error, OverflowError, RecursionError):
        return False


def _are_names(rule: Any) -> bool:
    return (
        type(rule) is list
        and all(type(name) is str for name in rule)
        and len(rule) == len(set(rule))
    )


def _are_schemas(rule: Any) -> bool:
    return type(rule) is dict and all(map(is_schema, rule.values()))


def _is_number(rule: Any) -> bool:
    return type(rule) in (int, float)


def _is_count(rule: Any) -> bool:
    return type(rule) is int and rule >= 0


_RULES: Mapping[str, Callable[[Any], bool]] = {
    "type": _is_type,
    "pattern": _is_pattern,
    "required": _are_names,
    "properties": _are_schemas,
    "items": is_schema,
    "additionalProperties": is_schema,
    "enum": lambda rule: type(rule) is list,
    "default": _anything,
    "const": _anything,
    **dict.fromkeys(("title", "description", "format"), lambda rule: type(rule) is str),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), _is_number),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_count),
}
