"""Turn a function's signature into JSON Schemas, and validated inputs into arguments.

A parameter is an input of its name. One that is named `context` or annotated `Context` takes the attempt's context
instead. A default makes an input optional; `**kwargs` takes inputs that are not named.

Source: docs/language.md, "Expressions".
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from engine.schemas.type_hints import (
    build_any_of,
    is_json,
    resolve_hint,
    schema_from_hint,
    structure,
    union_members,
    unstructure,
)
from engine.sdk.context import Context, Exit
from engine.sdk.docstrings import parse_parameters
from engine.sdk.imports import TaskError, merge_errors

__all__ = ["Signature", "build_return_schema", "display_name", "read_signature"]


@attrs.frozen
class Signature:
    """The type hints of a function's inputs, its schemas, and the parameters that take the context."""

    input_hints: Mapping[str, Any]
    extra_hint: Any
    context_parameters: tuple[str, ...]
    input_schema: Mapping[str, Any]
    output_schema: Mapping[str, Any] | None

    def build_arguments(self, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Return the keyword arguments of the function; see `Task.build_arguments`."""
        built = {
            name: structure(self.input_hints.get(name, self.extra_hint), v)
            for name, v in inputs.items()
        }
        return built | dict.fromkeys(self.context_parameters, context)


def read_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function; raises `TaskError` if its inputs cannot be passed by name."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{display_name(function)} has no signature that can be read") from error
    _validate_parameters(function, signature)
    namespace = _find_namespace(function)
    given = signature.parameters.values()
    contexts = tuple(p.name for p in given if _takes_context(p, namespace))
    named = [p for p in given if p.name not in contexts and p.kind is not p.VAR_KEYWORD]
    rest = [p for p in given if p.kind is p.VAR_KEYWORD]
    hints = {p.name: _resolve_annotation(p.annotation, namespace) for p in (*named, *rest)}
    return Signature(
        input_hints={p.name: hints[p.name] for p in named},
        extra_hint=hints[rest[0].name] if rest else Any,
        context_parameters=contexts,
        input_schema=_add_descriptions(_build_input_schema(named, hints), function)
        | {"additionalProperties": _build_extra_schema(rest, hints)},
        output_schema=build_return_schema(function),
    )


def _add_descriptions(schema: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Add the docstring's description of each parameter whose hint has none."""
    described = parse_parameters(inspect.getdoc(function))
    properties = {
        name: {"description": described[name]} | part if described.get(name) else part
        for name, part in schema.get("properties", {}).items()
    }
    return schema | {"properties": properties} if properties else schema


def build_return_schema(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the schema of a function's outputs from its return annotation.

    None if there is no annotation, or it promises only None or an `Exit`.
    """
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        return None  # what it yields may be anything
    hint = _resolve_annotation(
        inspect.signature(function).return_annotation, _find_namespace(function)
    )
    left = [schema_from_hint(member) for member in union_members(hint) if member is not Exit]
    schema = build_any_of(left) if left else {}
    return None if schema in ({}, {"type": "null"}) else schema


def display_name(found: Any) -> str:
    """Return the name of a function or class for messages, in backticks."""
    return f"`{getattr(found, '__qualname__', repr(found))}`"


def _find_namespace(function: Callable[..., Any]) -> Mapping[str, Any]:
    raw = inspect.unwrap(function)
    if isinstance(raw, type):
        return vars(sys.modules[raw.__module__])
    return getattr(raw, "__globals__", {})


def _validate_parameters(function: Callable[..., Any], signature: inspect.Signature) -> None:
    raw = inspect.unwrap(function)
    wrong = []
    if inspect.isgeneratorfunction(raw):
        message = f"{display_name(function)} is a generator: a task must return one value"
        wrong.append(TaskError(message, "an `async def` that yields once provides a resource"))
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            message = (
                f"parameter `{parameter}` of {display_name(function)} cannot be passed by name"
            )
            wrong.append(
                TaskError(
                    message, "inputs are passed by name: use only parameters that take keywords"
                )
            )
    local = function.__qualname__.rpartition("<locals>.")[2]
    if "." in local and next(iter(signature.parameters), None) == "self":
        message = f"{display_name(function)} is a method"
        wrong.append(TaskError(message, "decorate its class, or a function"))
    if wrong:
        raise merge_errors(wrong)


def _takes_context(parameter: inspect.Parameter, namespace: Mapping[str, Any]) -> bool:
    if parameter.kind is parameter.VAR_KEYWORD:
        return False
    # The name of an import under TYPE_CHECKING cannot be resolved, and is known all the same.
    raw = parameter.annotation
    unresolved = isinstance(raw, str) and raw.rpartition(".")[2] == Context.__name__
    hint = _resolve_annotation(raw, namespace)
    return (
        parameter.name == "context"
        or Context in union_members(hint)
        or (unresolved and hint is Any)
    )


def _resolve_annotation(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    return Any if annotation is inspect.Parameter.empty else resolve_hint(annotation, namespace)


def _build_input_schema(named: list[inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {p.name: _build_parameter_schema(p, hints[p.name]) for p in named},
        "required": [p.name for p in named if p.default is p.empty],
    }


def _build_parameter_schema(parameter: inspect.Parameter, hint: Any) -> dict[str, Any]:
    schema = schema_from_hint(hint)
    if parameter.default is None:
        schema = build_any_of([schema, {"type": "null"}])
    default = unstructure(parameter.default)
    if parameter.default is not parameter.empty and is_json(default):
        schema = schema | {"default": default}
    return schema


def _build_extra_schema(
    rest: list[inspect.Parameter], hints: Mapping[str, Any]
) -> bool | dict[str, Any]:
    """Return the schema of inputs beyond the named ones: False without `**kwargs`."""
    return schema_from_hint(hints[rest[0].name]) or True if rest else False
