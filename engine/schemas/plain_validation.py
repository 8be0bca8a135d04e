"""JSON Schema in plain Python, for the keywords that most schemas are made of: yes, or "ask further".

A small spec is checked by this alone, so that jsonschema-rs, which takes long to import, is not asked. What is
not certain is no yes. Source: JSON Schema 2020-12; the property tests against jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

__all__ = ["Later", "fits", "is_json", "is_plain_schema"]

Rule = Callable[[Any], bool]
"""Whether what a keyword is given is what it takes."""
Verdict = Callable[[Any, Any, Mapping[str, Any]], bool]
"""Whether a value fits what a keyword is given in a schema."""


class Later(str):
    """A text of a spec in the place of a value that is known only when it is used: it fits whatever is asked there."""

    __slots__ = ()


def is_json(value: Any) -> bool:
    """Whether it is plain JSON: jsonschema-rs takes a tuple for an array, a Decimal for a number."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(is_json, value.values()))
    if kind is list:
        return all(map(is_json, value))
    return kind in (str, int, bool, type(None), Later) or (kind is float and isfinite(value))


def is_plain_schema(schema: Any) -> bool:
    """Whether it is a JSON Schema, for certain, of keywords that `fits` knows."""
    if type(schema) is not dict:
        return type(schema) is bool
    return all(
        _RULES[key](rule) if key in _RULES else key.startswith("x-") for key, rule in schema.items()
    )


def fits(schema: Any, value: Any) -> bool:
    """Whether a value fits a plain schema for certain; False: it may or may not."""
    if type(schema) is bool or type(value) is Later:
        return schema is not False
    return all(
        _VERDICTS[key](rule, value, schema) for key, rule in schema.items() if key in _VERDICTS
    )


# -- what keywords are given -----------------------------------------------------------------------

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: type(value) is bool,
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "string": lambda value: type(value) is str,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) in (int, float),
}


def _is_text(rule: Any) -> bool:
    return type(rule) is str


def _is_size(rule: Any) -> bool:
    return type(rule) is int and rule >= 0


def _is_number(rule: Any) -> bool:
    return type(rule) in (int, float)


def _is_list(rule: Any) -> bool:
    return type(rule) is list


def _are_names(rule: Any) -> bool:
    return _is_list(rule) and all(map(_is_text, rule)) and len({*rule}) == len(rule)


def _is_type(rule: Any) -> bool:
    if _is_text(rule):
        return rule in _TYPES
    return _are_names(rule) and bool(rule) and all(name in _TYPES for name in rule)


def _is_pattern(rule: Any) -> bool:
    try:
        return type(rule) is str and bool(re.compile(rule))
    except (re.error, OverflowError, RecursionError):
        return False


def _are_schemas(rule: Any) -> bool:
    return type(rule) is dict and all(map(is_plain_schema, rule.values()))


def _are_alternatives(rule: Any) -> bool:
    return _is_list(rule) and bool(rule) and all(map(is_plain_schema, rule))


def _are_dependents(rule: Any) -> bool:
    return type(rule) is dict and all(map(_are_names, rule.values()))


def _anything(rule: Any) -> bool:
    return True


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(("$schema", "$comment", "title", "description", "format"), _is_text),
    **dict.fromkeys(("default", "const"), _anything),
    **dict.fromkeys(("examples", "enum"), _is_list),
    **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems"), _is_size),
    **dict.fromkeys(("minimum", "maximum"), _is_number),
    **dict.fromkeys(("items", "additionalProperties"), is_plain_schema),
    **dict.fromkeys(("oneOf", "anyOf"), _are_alternatives),
    "type": _is_type,
    "pattern": _is_pattern,
    "properties": _are_schemas,
    "required": _are_names,
    "dependentRequired": _are_dependents,
}


# -- what they say of a value ----------------------------------------------------------------------


def _type(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    names = (rule,) if type(rule) is str else rule
    return any(_TYPES[name](value) for name in names)


def _enum(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    return type(value) in (str, int, bool, type(None)) and any(
        type(each) is type(value) and each == value for each in rule
    )


def _const(rule: Any, value: Any, schema: Mapping[str, Any]) -> bool:
    return _enum((rule,), value, schema)


def _properties(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    if type(value) is not dict:
        return True
    return all(fits(rule[key], item) for key, item in value.items() if key in rule)


def _additional(rule: Any, value: Any, schema: Mapping[str, Any]) -> bool:
    if type(value) is not dict:
        return True
    known = schema.get("properties", ())
    return all(fits(rule, item) for key, item in value.items() if key not in known)


def _required(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    return type(value) is not dict or all(name in value for name in rule)


def _dependents(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    if type(value) is not dict:
        return True
    return all(name in value for key, names in rule.items() if key in value for name in names)


def _items(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    return type(value) is not list or all(fits(rule, item) for item in value)


def _any_of(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    """What is known later could leave no alternative."""
    return not _is_open(value) and any(fits(each, value) for each in rule)


def _is_open(value: Any) -> bool:
    """Whether something in it is known later."""
    inner = value.values() if type(value) is dict else value if type(value) is list else ()
    return type(value) is Later or any(map(_is_open, inner))


def _one_of(rule: Any, value: Any, _: Mapping[str, Any]) -> bool:
    """Only of alternatives that ask for keys is it certain that one does not fit."""
    if type(value) is not dict or any([*each] != ["required"] for each in rule if each != {}):
        return False
    return [_required(each.get("required", ()), value, each) for each in rule].count(True) == 1


_VERDICTS: Mapping[str, Verdict] = {
    "type": _type,
    "enum": _enum,
    "const": _const,
    "properties": _properties,
    "additionalProperties": _additional,
    "required": _required,
    "dependentRequired": _dependents,
    "items": _items,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "pattern": lambda rule, value, _: type(value) is not str or bool(re.search(rule, value)),
    "minimum": lambda rule, value, _: type(value) not in (int, float) or value >= rule,
    "maximum": lambda rule, value, _: type(value) not in (int, float) or value <= rule,
    "minLength": lambda rule, value, _: type(value) is not str or len(value) >= rule,
    "maxLength": lambda rule, value, _: type(value) is not str or len(value) <= rule,
    "minItems": lambda rule, value, _: type(value) is not list or len(value) >= rule,
    "maxItems": lambda rule, value, _: type(value) is not list or len(value) <= rule,
}
