"""JSON Schema: does a value fit, and if not, where and why, in the engine's words.

Draft 2020-12 through jsonschema, which is imported when the first schema is used. `true` is no number and `"3"` no integer.
Source: LANGUAGE.md section 9; FEATURES.md 42 and 43.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import attrs

from engine.diagnostics import nearest
from engine.source import KeyPath

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

__all__ = ["Problem", "misfits", "schema_error"]


@attrs.frozen
class Problem:
    """One way in which a value does not fit: `kind` is `missing` (key `name`), `unknown` (key `name`) or `misfit`."""

    kind: str
    path: KeyPath
    message: str
    name: str = ""
    help: str | None = None

    def __str__(self) -> str:
        where = ".".join(map(str, self.path))
        return f"`{where}`: {self.message}" if where else self.message


def misfits(schema: Mapping[str, Any], value: Any) -> list[Problem]:
    """Every way in which a JSON value does not fit a schema, in the order of their places; empty if it does."""
    validator = _validator(_ById(schema))
    found = [problem for error in validator.iter_errors(value) for problem in _problems(error)]
    return sorted(found, key=lambda p: ([str(part) for part in p.path], p.message))


def schema_error(schema: Any) -> tuple[KeyPath, str] | None:
    """Where and why a table is no JSON Schema, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA)
    error = best_match(metaschema.iter_errors(schema))
    return (tuple(error.absolute_path), _why(error)) if error else None


class _ById:
    """A schema as a key: the same object, whatever is in it; being held here, its id is not used again."""

    __slots__ = ("schema",)

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and self.schema is other.schema


@lru_cache(maxsize=1024)
def _validator(key: _ById) -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(key.schema)


def _problems(error: ValidationError) -> list[Problem]:
    path = tuple(error.absolute_path)
    if error.validator == "required":
        return [_required(error, path)]
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        patterns = list(error.schema.get("patternProperties", {}))
        extra = [n for n in error.instance if n not in known and not any(re.search(p, n) for p in patterns)]
        return [_additional(name, path, known) for name in extra]
    return [Problem("misfit", path, _why(error))]


def _required(error: ValidationError, path: KeyPath) -> Problem:
    name = next(n for n in error.validator_value if error.message.startswith(repr(n)))
    return Problem("missing", path, f"`{name}` is missing", name)


def _additional(name: str, path: KeyPath, known: list[str]) -> Problem:
    guess = nearest(name, known)
    listed = ", ".join(f"`{k}`" for k in sorted(known))
    help = f"did you mean `{guess}`?" if guess else f"known here: {listed}" if known else None
    return Problem("unknown", (*path, name), f"`{name}` is not known here", name, help)


def _why(error: ValidationError) -> str:
    """What a value should be, in a line."""
    value, rule = error.validator_value, error.validator
    shown = json.dumps(error.instance, ensure_ascii=False, default=str)
    shown = shown if len(shown) <= 60 else shown[:57] + "…"
    match rule:
        case "type":
            kinds = " or ".join(value) if isinstance(value, list) else value
            return f"expected {kinds}, found {shown}"
        case "enum":
            return f"expected one of {', '.join(json.dumps(v, ensure_ascii=False) for v in value)}, found {shown}"
        case "minimum" | "exclusiveMinimum":
            return f"{shown} is below the minimum {value}"
        case "maximum" | "exclusiveMaximum":
            return f"{shown} is above the maximum {value}"
        case "minLength" | "minItems" | "minProperties":
            return f"{shown} is too short: at least {value}"
        case "maxLength" | "maxItems" | "maxProperties":
            return f"{shown} is too long: at most {value}"
        case "pattern":
            return f"{shown} does not match {value}"
        case _:
            return f"{shown} does not fit `{rule}`"
