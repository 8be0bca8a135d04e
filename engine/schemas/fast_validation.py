"""Validate JSON quickly: jsonschema-rs says yes, or "ask the library".

The verdict is that of jsonschema, which is imported only where the answer is no; it explains the no. Keywords that the
two libraries read differently (`_LEFT_TO_LIBRARY`) and values that are not plain JSON are not asked; `pattern` is
Python's. Nothing is fetched, and `format` is not asserted. Source: JSON Schema 2020-12; the property tests against
jsonschema.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from math import isfinite
from typing import TYPE_CHECKING, Any

from engine.toml.key_paths import KeyPath

if TYPE_CHECKING:
    from jsonschema_rs import Draft202012Validator

__all__ = ["FastCheck", "Later", "compile_fast_check", "is_known_valid_schema"]

Later = Callable[[KeyPath], bool]
"""Whether the value at a path is known only later, so that the value now does not matter."""
FastCheck = Callable[[Any, Later | None], bool]
"""True: the value is valid, except where it is known only later. False: it may or may not be."""

_LEFT_TO_LIBRARY = frozenset(
    {
        *("$id", "$anchor", "$ref", "$vocabulary"),
        *("$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef"),
        *("patternProperties", "unevaluatedItems", "unevaluatedProperties", "multipleOf"),
    }
)
"""Keywords that refer elsewhere, or that the two libraries read differently."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def compile_fast_check(schema: Any) -> FastCheck | None:
    """Return the fast check of a schema; None if only the library can judge by it."""
    plain = dict(schema) if isinstance(schema, Mapping) else schema
    if not _is_known(plain):
        return None
    import jsonschema_rs

    try:
        validator = jsonschema_rs.Draft202012Validator(
            plain, validate_formats=False, offline=True, keywords={"pattern": _Pattern}
        )
    except (ValueError, re.error):  # an invalid pattern, or a keyword that is not understood
        return None
    return lambda value, later: (
        _is_json(value)
        and (
            _is_valid(validator.is_valid, value)
            or (later is not None and _fails_only(validator, value, later))
        )
    )


def is_known_valid_schema(value: Any) -> bool:
    """Return whether a value is certainly a JSON Schema; False: it may or may not be one."""
    if not _is_known(value):
        return False
    import jsonschema_rs

    return all(map(_has_pattern, _iter_tables(value))) and _is_valid(
        jsonschema_rs.meta.is_valid, value
    )


def _is_known(schema: Any) -> bool:
    """Return whether both libraries read everything in a schema in the same way."""
    return (
        type(schema) in (dict, bool)
        and _is_json(schema)
        and not any(table.keys() & _LEFT_TO_LIBRARY for table in _iter_tables(schema))
        and all(table.get("$schema", _DIALECT) == _DIALECT for table in _iter_tables(schema))
    )


def _is_json(value: Any) -> bool:
    """Return whether a value is plain JSON: jsonschema-rs takes a tuple for an array, a Decimal for a number."""
    kind = type(value)
    if kind is dict:
        return all(type(key) is str for key in value) and all(map(_is_json, value.values()))
    if kind is list:
        return all(map(_is_json, value))
    return kind in (str, int, bool, type(None)) or (kind is float and isfinite(value))


def _iter_tables(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield every table in plain JSON."""
    if type(value) is dict:
        yield value
        value = [*value.values()]
    if type(value) is list:
        for item in value:
            yield from _iter_tables(item)


def _is_valid(fits: Callable[[Any], bool], value: Any) -> bool:
    try:
        return fits(value)
    except ValueError:  # a text with half a character, lists within lists beyond its depth
        return False


def _fails_only(validator: Draft202012Validator, value: Any, later: Later) -> bool:
    """Return whether all values that are not valid are known only later."""
    try:
        return all(later((*error.instance_path,)) for error in validator.iter_errors(value))
    except ValueError:
        return False


def _has_pattern(table: Mapping[str, Any]) -> bool:
    """Return whether the pattern of a table, if it has one, is valid in Python."""
    try:
        return not isinstance(table.get("pattern"), str) or bool(re.compile(table["pattern"]))
    except (re.error, OverflowError, RecursionError):
        return False


class _Pattern:
    r"""The keyword `pattern` with Python's `re`; in Rust `$`, `\d` and others have another meaning."""

    def __init__(self, schema: Any, pattern: Any, path: Any) -> None:
        self._find = re.compile(pattern).search

    def validate(self, value: Any) -> None:
        """Raise if a text does not match."""
        if isinstance(value, str) and self._find(value) is None:
            raise ValueError
