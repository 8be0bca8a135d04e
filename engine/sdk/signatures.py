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

from engine.schemas.type_hints import any_of, build, is_json, members, plain, resolve, schema_of
from engine.sdk.context import Context, Exit
from engine.sdk.docstrings import parameters
from engine.sdk.imports import TaskError, together

__all__ = ["Signature", "called", "read_signature", "return_schema"]


@attrs.frozen
class Signature:
    """The type hints of a function's inputs, its schemas, and the parameters that take the context."""

    hints: Mapping[str, Any]
    rest: Any
    contexts: tuple[str, ...]
    schema: Mapping[str, Any]
    output: Mapping[str, Any] | None

    def arguments(self, inputs: Mapping[str, Any], context: Context) -> dict[str, Any]:
        """Return the keyword arguments of the function; see `Task.build_arguments`."""
        built = {name: build(self.hints.get(name, self.rest), v) for name, v in inputs.items()}
        return built | dict.fromkeys(self.contexts, context)


def read_signature(function: Callable[..., Any]) -> Signature:
    """Return the signature of a function; raises `TaskError` if its inputs cannot be passed by name."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TaskError(f"{called(function)} has no signature that can be read") from error
    _check_kinds(function, signature)
    namespace = _namespace(function)
    given = signature.parameters.values()
    contexts = tuple(p.name for p in given if _takes_context(p, namespace))
    named = [p for p in given if p.name not in contexts and p.kind is not p.VAR_KEYWORD]
    rest = [p for p in given if p.kind is p.VAR_KEYWORD]
    hints = {p.name: _hint(p.annotation, namespace) for p in (*named, *rest)}
    return Signature(
        hints={p.name: hints[p.name] for p in named},
        rest=hints[rest[0].name] if rest else Any,
        contexts=contexts,
        schema=_described(_input_schema(named, hints), function)
        | {"additionalProperties": _open(rest, hints)},
        output=return_schema(function),
    )


def _described(schema: dict[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Add the docstring's description of each parameter whose hint has none."""
    told = parameters(inspect.getdoc(function))
    properties = {
        name: {"description": told[name]} | part if told.get(name) else part
        for name, part in schema.get("properties", {}).items()
    }
    return schema | {"properties": properties} if properties else schema


def return_schema(function: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the schema of a function's outputs from its return annotation.

    None if there is no annotation, or it promises only None or an `Exit`.
    """
    if inspect.isasyncgenfunction(inspect.unwrap(function)):
        return None  # what it yields may be anything
    hint = _hint(inspect.signature(function).return_annotation, _namespace(function))
    left = [schema_of(member) for member in members(hint) if member is not Exit]
    schema = any_of(left) if left else {}
    return None if schema in ({}, {"type": "null"}) else schema


def called(found: Any) -> str:
    """Return the name of a function or class for messages, in backticks."""
    return f"`{getattr(found, '__qualname__', repr(found))}`"


def _namespace(function: Callable[..., Any]) -> Mapping[str, Any]:
    raw = inspect.unwrap(function)
    if isinstance(raw, type):
        return vars(sys.modules[raw.__module__])
    return getattr(raw, "__globals__", {})


def _check_kinds(function: Callable[..., Any], signature: inspect.Signature) -> None:
    raw = inspect.unwrap(function)
    wrong = []
    if inspect.isgeneratorfunction(raw):
        message = f"{called(function)} is a generator: a task must return one value"
        wrong.append(TaskError(message, "an `async def` that yields once provides a resource"))
    for parameter in signature.parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL):
            message = f"parameter `{parameter}` of {called(function)} cannot be passed by name"
            wrong.append(
                TaskError(
                    message, "inputs are passed by name: use only parameters that take keywords"
                )
            )
    local = function.__qualname__.rpartition("<locals>.")[2]
    if "." in local and next(iter(signature.parameters), None) == "self":
        message = f"{called(function)} is a method"
        wrong.append(TaskError(message, "decorate its class, or a function"))
    if wrong:
        raise together(wrong)


def _takes_context(parameter: inspect.Parameter, namespace: Mapping[str, Any]) -> bool:
    if parameter.kind is parameter.VAR_KEYWORD:
        return False
    # The name of an import under TYPE_CHECKING cannot be resolved, and is known all the same.
    raw = parameter.annotation
    unresolved = isinstance(raw, str) and raw.rpartition(".")[2] == Context.__name__
    hint = _hint(raw, namespace)
    return parameter.name == "context" or Context in members(hint) or (unresolved and hint is Any)


def _hint(annotation: Any, namespace: Mapping[str, Any]) -> Any:
    return Any if annotation is inspect.Parameter.empty else resolve(annotation, namespace)


def _input_schema(named: list[inspect.Parameter], hints: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {p.name: _parameter_schema(p, hints[p.name]) for p in named},
        "required": [p.name for p in named if p.default is p.empty],
    }


def _parameter_schema(parameter: inspect.Parameter, hint: Any) -> dict[str, Any]:
    schema = schema_of(hint)
    if parameter.default is None:
        schema = any_of([schema, {"type": "null"}])
    default = plain(parameter.default)
    if parameter.default is not parameter.empty and is_json(default):
        schema = schema | {"default": default}
    return schema


def _open(rest: list[inspect.Parameter], hints: Mapping[str, Any]) -> bool | dict[str, Any]:
    """Return the schema of inputs beyond the named ones: False without `**kwargs`."""
    return schema_of(hints[rest[0].name]) or True if rest else False
