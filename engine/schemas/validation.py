"""Validates JSON values with JSON Schema and explains each violation in the engine's words.

Implements draft 2020-12 through jsonschema, which is imported when the first schema is used. `true` is not a number and
`"3"` is not an integer. A schema may name what a pattern expects: `x-expected = "a URL"`. A `$ref` is resolved in its
own schema and nowhere else; nothing is ever fetched. Source: docs/language.md, "A document"; JSON Schema 2020-12.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.schemas.fast_validation import (
    FastCheck,
    Later,
    compile_fast_check,
    is_known_valid_schema,
)
from engine.toml.key_paths import KeyPath, format_path

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

__all__ = ["SchemaViolation", "find_schema_error", "is_endless_recursion", "validate_value"]


@frozen
class SchemaViolation:
    """One way in which a value violates a schema.

    `kind` is `missing` (key `name`), `unknown` (key `name`) or `misfit`.
    """

    kind: str
    path: KeyPath
    message: str
    name: str = ""
    help: str | None = None
    known_keys: tuple[str, ...] = ()
    """The known keys, for an unknown one."""

    def __str__(self) -> str:
        return f"`{format_path(self.path)}`: {self.message}" if self.path else self.message


def validate_value(
    schema: Mapping[str, Any], value: Any, later: Later | None = None
) -> list[SchemaViolation]:
    """Return every violation of a schema by a JSON value, sorted by path; empty if the value is valid.

    With `later`, also empty if it is true of the path of each violation: that value is known only later.
    """
    look = _get_fast_check(_IdentityKey(schema))
    if look is not None and look(value, later):
        return []
    validator = _get_validator(_IdentityKey(schema))
    try:
        errors = validator.iter_errors(value)
        found = list(
            dict.fromkeys(problem for error in errors for problem in _build_violations(error))
        )
    except BaseException as error:
        if not is_endless_recursion(error):
            raise
        return [SchemaViolation("misfit", (), "its schema refers to itself endlessly")]
    return sorted(found, key=lambda p: ([str(part) for part in p.path], p.message))


def is_endless_recursion(error: BaseException) -> bool:
    """Whether jsonschema has recursed too deeply; in the Rust code below it that is a panic, not an Exception."""
    return isinstance(error, RecursionError) or type(error).__name__ == "PanicException"


def find_schema_error(schema: Any) -> tuple[KeyPath, str] | None:
    """Return the key path and message of the first mistake in a JSON Schema, or None."""
    if is_known_valid_schema(schema):
        return None
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    checker = Draft202012Validator.FORMAT_CHECKER
    metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=checker)
    if error := best_match(metaschema.iter_errors(schema)):
        return tuple(error.absolute_path), _describe_violation(error)
    return next(_iter_dangling_references(schema), None)


def _iter_dangling_references(schema: Any) -> Iterator[tuple[KeyPath, str]]:
    """Yield every `$ref` that cannot be resolved, such as one into another document."""
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    resolver = REGISTRY.with_resource("", root).resolver()
    for path, ref in _iter_references(schema, ()):
        try:
            resolver.lookup(ref)
        except Unresolvable:
            yield path, f"`{ref}` does not exist in it"


def _iter_references(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from _iter_references(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in ("$ref", "$dynamicRef") and isinstance(item, str):
                yield (*path, key), item
            elif key not in ("const", "enum", "default", "examples"):
                yield from _iter_references(item, (*path, key))


class _IdentityKey:
    """Makes a schema hashable by identity; holding the schema keeps its id from being reused."""

    __slots__ = ("schema",)

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _IdentityKey) and self.schema is other.schema


@lru_cache(maxsize=1024)
def _get_fast_check(key: _IdentityKey) -> FastCheck | None:
    return compile_fast_check(key.schema)


@lru_cache(maxsize=1024)
def _get_validator(key: _IdentityKey) -> Draft202012Validator:
    from jsonschema import Draft202012Validator
    from jsonschema_specifications import REGISTRY

    return Draft202012Validator(key.schema, registry=REGISTRY)


def _build_violations(error: Any) -> list[SchemaViolation]:
    path = tuple(error.absolute_path)
    if rivals := _find_exclusive_keys(error):
        listed = " and ".join(f"`{name}`" for name in rivals)
        return [SchemaViolation("misfit", path, f"{listed} exclude each other")]
    match error.validator:
        case "required":
            return [_build_missing(error, path)]
        case "oneOf" | "anyOf" if name := _describe_alternatives(error):
            return [SchemaViolation("missing", path, f"one of `{name}` is missing", name)]
        case "dependentRequired":
            return [SchemaViolation("misfit", path, _describe_dependency(error))]
        case "additionalProperties" if isinstance(error.instance, dict):
            return _find_unknown_keys(error, path)
    return [SchemaViolation("misfit", path, _describe_violation(error))]


def _find_exclusive_keys(error: Any) -> list[str]:
    """Return the keys that exclude each other, sorted, if that is the error; otherwise an empty list.

    That is so when several alternatives of a `oneOf` are present, or a key whose `dependentSchemas` forbid others.
    """
    where, rule = list(error.absolute_schema_path), error.validator_value
    if error.validator == "oneOf" and not error.context:
        return sorted(_iter_required_keys(rule, error.instance))
    if error.validator == "not" and where[-3:-2] == ["dependentSchemas"] and "anyOf" in rule:
        return sorted({str(where[-2]), *_iter_required_keys(rule["anyOf"], error.instance)})
    return []


def _iter_required_keys(alternatives: Any, instance: Any) -> Iterator[str]:
    """Yield the keys of a table that alternatives require, if they require nothing else."""
    asks = [isinstance(each, Mapping) and [*each] == ["required"] for each in alternatives]
    if all(asks) and isinstance(instance, Mapping):
        yield from (key for each in alternatives for key in each["required"] if key in instance)


def _describe_alternatives(error: Any) -> str | None:
    """Return the keys of which one is missing, if the alternatives differ in required keys alone."""
    if not error.context or any(inner.validator != "required" for inner in error.context):
        return None
    return "` or `".join(_build_missing(inner, ()).name for inner in error.context)


def _describe_dependency(error: Any) -> str:
    key, name = next(
        (key, name)
        for key, names in error.validator_value.items()
        for name in names
        if key in error.instance and name not in error.instance
    )
    return f"`{key}` needs `{name}`"


def _find_unknown_keys(error: Any, path: KeyPath) -> list[SchemaViolation]:
    known = list(error.schema.get("properties", {}))
    patterns = list(error.schema.get("patternProperties", {}))
    return [
        _build_unknown(name, path, known)
        for name in error.instance
        if name not in known and not any(re.search(pattern, name) for pattern in patterns)
    ]


def _build_missing(error: Any, path: KeyPath) -> SchemaViolation:
    name = next(n for n in error.validator_value if error.message.startswith(repr(n)))
    return SchemaViolation("missing", path, f"`{name}` is missing", name)


def _build_unknown(name: str, path: KeyPath, known: list[str]) -> SchemaViolation:
    guess = closest_match(name, known)
    listed = ", ".join(f"`{k}`" for k in sorted(known))
    advice = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
    message = f"`{name}` is not known here"
    return SchemaViolation("unknown", (*path, name), message, name, advice, tuple(known))


def _describe_violation(error: Any) -> str:
    """Return a message of one line on the value that a keyword expects."""
    value, rule = error.validator_value, error.validator
    shown = json.dumps(error.instance, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    match rule:
        case None:
            return f"{shown} is not allowed here"
        case "type":
            kinds = " or ".join(value) if isinstance(value, list) else value
            return f"expected {kinds}, found {shown}"
        case "enum":
            listed = ", ".join(json.dumps(v, ensure_ascii=False) for v in value)
            return f"expected one of {listed}, found {shown}"
        case "const":
            return f"expected {json.dumps(value, ensure_ascii=False)}, found {shown}"
        case "oneOf" if not error.context:
            return f"{shown} matches more than one of the alternatives, which exclude each other"
        case "oneOf" | "anyOf":
            return _describe_violation(
                max(error.context, key=lambda inner: len(inner.absolute_path))
            )
        case "format":
            return f"{shown} is not a valid {value}"
        case "uniqueItems":
            return f"{shown} has duplicate items"
        case "multipleOf":
            return f"{shown} is not a multiple of {value}"
        case "minimum" | "exclusiveMinimum":
            return f"{shown} is below the minimum {value}"
        case "maximum" | "exclusiveMaximum":
            return f"{shown} is above the maximum {value}"
        case "minLength" | "minItems" | "minProperties":
            return f"{shown} is too short: at least {value}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"{shown} is too long: at most {value}"
        case "pattern":
            expected = error.schema.get("x-expected")
            return f"{shown} is not {expected}" if expected else f"{shown} does not match {value}"
        case _:
            return f"{shown} does not fit `{rule}`"
