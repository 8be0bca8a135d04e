"""JSON Schema, yes or "ask the library": plain Python or jsonschema-rs says yes, a no is for `schemas` to judge and to explain.

The verdict is that of jsonschema, which is imported only where the answer is no. What the two see
differently is not asked: keywords of `_LEFT` and values that are not plain JSON; `pattern` is
Python's. Nothing is fetched, `format` is not asserted. Source: JSON Schema 2020-12; the property
tests against jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from engine.schemas.plain_validation import fits, is_json, is_plain_schema

__all__ = ["Sure", "is_schema", "sure"]

Sure = Callable[[Any], bool]
"""True: the value fits. False: it may or may not."""

_LEFT = frozenset(
    {
        *("$id", "$anchor", "$ref", "$vocabulary"),
        *("$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"),
        *("patternProperties", "unevaluatedItems", "unevaluatedProperties", "multipleOf"),
    }
)
"""Keywords that lead elsewhere, or that the two libraries read in ways of their own."""

_FEW = 200
"""Values of one schema for which plain Python is asked: more of them are worth the import of the library, which is quicker."""

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def sure(schema: Any) -> Sure | None:
    """The quick look for a schema; None if the library alone can judge by it."""
    plain = dict(schema) if isinstance(schema, Mapping) else schema
    if not _is_known(plain):
        return None
    if not is_plain_schema(plain):
        return _by_library(plain)
    further, left = cache(lambda: _by_library(plain)), _FEW

    def look(value: Any) -> bool:
        nonlocal left
        left -= 1
        if left >= 0 and is_json(value) and fits(plain, value):
            return True
        asked = further()
        return asked is not None and asked(value)

    return look


def _by_library(schema: Any) -> Sure | None:
    import jsonschema_rs

    try:
        says = jsonschema_rs.Draft202012Validator(
            schema, validate_formats=False, offline=True, keywords={"pattern": _Pattern}
        ).is_valid
    except (ValueError, re.error):  # a pattern that is none, a keyword that is not understood
        return None
    return lambda value: is_json(value) and _says_yes(says, value)


def is_schema(value: Any) -> bool:
    """Whether a value is a JSON Schema for certain; False: it may or may not be one."""
    if not _is_known(value):
        return False
    if is_plain_schema(value):
        return True
    import jsonschema_rs

    return all(map(_has_pattern, _tables(value))) and _says_yes(jsonschema_rs.meta.is_valid, value)


def _is_known(schema: Any) -> bool:
    """Whether both libraries mean the same by all that a schema says."""
    return (
        type(schema) in (dict, bool)
        and is_json(schema)
        and not any(table.keys() & _LEFT for table in _tables(schema))
        and all(table.get("$schema", _DRAFT) == _DRAFT for table in _tables(schema))
    )


def _tables(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every table in plain JSON."""
    if type(value) is dict:
        yield value
        value = [*value.values()]
    if type(value) is list:
        for item in value:
            yield from _tables(item)


def _says_yes(fits: Callable[[Any], bool], value: Any) -> bool:
    try:
        return fits(value)
    except ValueError:  # a text with half a character, lists within lists beyond its depth
        return False


def _has_pattern(table: Mapping[str, Any]) -> bool:
    """Whether the pattern of a table, if it has one, is one for Python."""
    try:
        return not isinstance(table.get("pattern"), str) or bool(re.compile(table["pattern"]))
    except (re.error, OverflowError, RecursionError):
        return False


class _Pattern:
    """The keyword `pattern` by Python's `re`; in Rust `$`, `\\d` and others say something else."""

    def __init__(self, schema: Any, pattern: Any, path: Any) -> None:
        self._find = re.compile(pattern).search

    def validate(self, value: Any) -> None:
        """Raise if a text does not match."""
        if isinstance(value, str) and self._find(value) is None:
            raise ValueError
