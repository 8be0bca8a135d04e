"""Converts type hints to JSON Schema, JSON values to the hinted types, and values back to JSON.

A hint that JSON Schema cannot express becomes "anything" and its value is left alone, as is a value whose hint is a union
of several types other than None. Classes of attrs, dataclasses and TypedDicts are closed objects. A dict in `Annotated`
goes outside of a union: before Python 3.13 a union cannot hold an unhashable value. Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import sys
import types
import typing
from collections import abc
from collections.abc import Hashable, Iterable, Mapping
from enum import Enum
from typing import Any

import attrs

__all__ = [
    "build_any_of",
    "is_json",
    "resolve_hint",
    "schema_from_hint",
    "structure",
    "union_members",
    "unstructure",
]

_JSON_TYPE_NAMES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
}
_SEQUENCE_TYPES = (list, abc.Sequence, abc.MutableSequence, abc.Collection, abc.Iterable)
_MAPPING_TYPES = (dict, abc.Mapping, abc.MutableMapping)
_TYPE_ALIAS: Any = getattr(typing, "TypeAliasType", ())  # from Python 3.12 on
_QUALIFIERS = (
    typing.Required,
    typing.NotRequired,
    getattr(typing, "ReadOnly", typing.Required),  # from Python 3.13 on
)


@attrs.frozen
class _Field:
    """One field of a class.

    `name` is its name in JSON; `argument` is the parameter of the constructor, or None if it has none.
    """

    name: str
    hint: Any
    is_required: bool
    argument: str | None


def resolve_hint(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    """Return the type that an annotation means, with strings evaluated in `namespace`.

    Returns `Any` for an annotation that cannot be resolved.
    """
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        hints = typing.get_type_hints(holder, globalns=dict(namespace), include_extras=True)
    except (NameError, AttributeError, SyntaxError, TypeError):
        return Any
    return hints["it"]


def union_members(hint: Any) -> tuple[Any, ...]:
    """Return the types of a union, or a tuple of the hint itself."""
    bare, _ = _strip_annotations(hint)
    return typing.get_args(bare) if _is_union(bare) else (hint,)


def schema_from_hint(hint: Any) -> dict[str, Any]:
    """Return the JSON Schema of the values that a hint allows; `{}` allows anything.

    A dict in `Annotated` is merged over it.
    """
    return _build_schema(hint, ())


def build_any_of(schemas: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the schema of values that at least one of the schemas accepts, as short as simple types allow."""
    unique: list[dict[str, Any]] = []
    for schema in schemas:
        if schema not in unique:
            unique.append(schema)
    if {} in unique:
        return {}
    if len(unique) == 1:
        return unique[0]
    if any(set(schema) != {"type"} for schema in unique):
        return {"anyOf": unique}
    names: dict[str, None] = {}
    for schema in unique:
        listed = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        names.update(dict.fromkeys(listed))
    return {"type": list(names)}


def structure(hint: Any, value: Any) -> Any:
    """Convert a JSON value to the type of the hint: an instance, enum member or tuple.

    The value must fit the schema of the hint.
    """
    bare, _ = _strip_annotations(hint)
    kind, args = typing.get_origin(bare) or bare, typing.get_args(bare)
    if _is_union(bare):
        others = [arg for arg in args if arg is not types.NoneType]
        return structure(others[0], value) if len(others) == 1 and value is not None else value
    if not isinstance(kind, type):
        return value
    if issubclass(kind, Enum):
        return kind(value) if is_json(_list_enum_values(kind)) else value
    if isinstance(value, Mapping):
        return _structure_mapping(kind, args, value)
    if isinstance(value, list):
        return _structure_list(kind, args, value)
    return value


def unstructure(value: Any) -> Any:
    """Convert a value to JSON data.

    Instances of attrs classes and dataclasses become dicts, tuples become lists, and enum members become their values.
    """
    match value:
        case Enum():
            return unstructure(value.value)
        case None | str() | int() | float():
            return value
        case Mapping():
            return {key: unstructure(item) for key, item in value.items()}
        case list() | tuple():
            return [unstructure(item) for item in value]
        case _ if attrs.has(type(value)):
            return {
                field.name: unstructure(getattr(value, field.name))
                for field in attrs.fields(type(value))
            }
        case _ if dataclasses.is_dataclass(type(value)):
            return {
                field.name: unstructure(getattr(value, field.name))
                for field in dataclasses.fields(value)
            }
        case _:
            return value


def is_json(value: Any) -> bool:
    """Return whether a value could come from a JSON document as it is."""
    match value:
        case float():
            return math.isfinite(value)
        case None | str() | int():
            return not isinstance(value, Enum)
        case list():
            return all(is_json(item) for item in value)
        case dict():
            return all(isinstance(key, str) and is_json(item) for key, item in value.items())
        case _:
            return False


def _is_union(bare: Any) -> bool:
    return typing.get_origin(bare) in (typing.Union, types.UnionType)


def _strip_annotations(hint: Any) -> tuple[Any, dict[str, Any]]:
    """Return the type under aliases and qualifiers, and the merged dicts of `Annotated`."""
    said: dict[str, Any] = {}
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            hint, *notes = typing.get_args(hint)
            said |= {
                key: value
                for note in notes
                if isinstance(note, dict)
                for key, value in note.items()
            }
        elif origin in _QUALIFIERS:
            (hint,) = typing.get_args(hint)
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif isinstance(hint, _TYPE_ALIAS):
            hint = hint.__value__
        else:
            return hint, said


def _build_schema(hint: Any, within: tuple[type, ...]) -> dict[str, Any]:
    bare, said = _strip_annotations(hint)
    kind, args = typing.get_origin(bare) or bare, typing.get_args(bare)
    if bare is None:
        schema: dict[str, Any] = {"type": "null"}
    elif kind is typing.Literal:
        schema = {"enum": unstructure(list(args))}
    elif _is_union(bare):
        schema = build_any_of(_build_schema(arg, within) for arg in args)
    elif isinstance(kind, type):
        schema = _build_class_schema(kind, args, within)
    else:
        schema = {}
    return schema | said


def _build_class_schema(
    kind: type, args: tuple[Any, ...], within: tuple[type, ...]
) -> dict[str, Any]:
    if kind in _JSON_TYPE_NAMES:
        return {"type": _JSON_TYPE_NAMES[kind]}
    if issubclass(kind, Enum):
        return {"enum": _list_enum_values(kind)} if is_json(_list_enum_values(kind)) else {}
    if kind is tuple:
        return _build_tuple_schema(args, within)
    if kind in _SEQUENCE_TYPES:
        items = _build_schema(args[0], within) if args else {}
        return {"type": "array", "items": items} if items else {"type": "array"}
    if kind in _MAPPING_TYPES:
        rest = _build_schema(args[1], within) if args else {}
        return {"type": "object", "additionalProperties": rest} if rest else {"type": "object"}
    fields = _list_fields(typing.cast(Hashable, kind))
    return {} if fields is None else _build_object_schema(kind, fields, within)


def _list_enum_values(kind: type[Enum]) -> list[Any]:
    return [member.value for member in kind]


def _build_tuple_schema(args: tuple[Any, ...], within: tuple[type, ...]) -> dict[str, Any]:
    if not args:
        return {"type": "array"}
    if args[-1] is Ellipsis:
        items = _build_schema(args[0], within)
        return {"type": "array", "items": items} if items else {"type": "array"}
    heads = [_build_schema(arg, within) for arg in args]
    return {"type": "array", "prefixItems": heads, "minItems": len(heads), "maxItems": len(heads)}


def _build_object_schema(
    kind: type, fields: tuple[_Field, ...], within: tuple[type, ...]
) -> dict[str, Any]:
    if (
        kind in within
    ):  # a recursive class: its depth is not JSON Schema's to say without a reference
        return {"type": "object"}
    given = [field for field in fields if field.argument is not None]
    schema: dict[str, Any] = {
        "type": "object",
        "properties": {field.name: _build_schema(field.hint, (*within, kind)) for field in given},
        "required": [field.name for field in given if field.is_required],
    }
    if len(given) == len(fields):  # else an instance has fields that no input may give
        schema["additionalProperties"] = False
    return schema


def _structure_mapping(kind: type, args: tuple[Any, ...], value: Mapping[str, Any]) -> Any:
    if kind in _MAPPING_TYPES:
        return (
            {key: structure(args[1], item) for key, item in value.items()} if args else dict(value)
        )
    fields = _list_fields(kind)
    if fields is None:
        return value
    known = {field.name: field for field in fields}
    arguments: dict[str, Any] = {}
    for name, item in value.items():
        field = known.get(name)  # an unknown name goes along: the constructor itself refuses it
        arguments[(field and field.argument) or name] = (
            structure(field.hint, item) if field else item
        )
    return dict(arguments) if typing.is_typeddict(kind) else kind(**arguments)


def _structure_list(kind: type, args: tuple[Any, ...], value: list[Any]) -> Any:
    if kind is tuple:
        if not args:
            return tuple(value)
        hints = [args[0]] * len(value) if args[-1] is Ellipsis else args
        return tuple(structure(hint, item) for hint, item in zip(hints, value, strict=True))
    if kind in _SEQUENCE_TYPES and args:
        return [structure(args[0], item) for item in value]
    return value


@functools.cache
def _list_fields(kind: Any) -> tuple[_Field, ...] | None:
    """Return the fields of an attrs class, dataclass or TypedDict in order, or None for any other class."""
    if typing.is_typeddict(kind):
        return tuple(
            _build_typed_dict_field(kind, name, hint) for name, hint in _resolve_hints(kind).items()
        )
    if attrs.has(kind):
        return tuple(_build_attrs_field(kind, field) for field in attrs.fields(kind))
    if dataclasses.is_dataclass(kind):
        return tuple(_build_dataclass_field(kind, field) for field in dataclasses.fields(kind))
    return None


def _build_typed_dict_field(kind: Any, name: str, hint: Any) -> _Field:
    # `__required_keys__` does not see qualifiers in annotations that were strings.
    origin = typing.get_origin(hint)
    required = origin is typing.Required or (
        name in kind.__required_keys__ and origin is not typing.NotRequired
    )
    return _Field(name, hint, required, name)


def _build_attrs_field(kind: type, field: attrs.Attribute[Any]) -> _Field:
    hint = _resolve_hints(kind).get(field.name, Any)
    return _Field(
        field.name, hint, field.default is attrs.NOTHING, field.alias if field.init else None
    )


def _build_dataclass_field(kind: Any, field: dataclasses.Field[Any]) -> _Field:
    hint = _resolve_hints(kind).get(field.name, Any)
    bare = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    return _Field(field.name, hint, bare, field.name if field.init else None)


@functools.cache
def _resolve_hints(kind: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        namespace = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        for name, annotation in inspect.get_annotations(base).items():
            found[name] = resolve_hint(annotation, namespace)
    return found
