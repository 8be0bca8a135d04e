"""Structures TOML data into Spec values: the strict cattrs converter of the language.

`value_hooks` checks single values, this module the tables. A hook that rejects a value raises `InvalidValue`; cattrs
groups these with their key paths, and `structuring_errors` lists them. `language.schema.json` accepts exactly the same
data; a test holds the two equal. Source: docs/language.md, "A document", "Nodes and steps", "Retry", "Routes", "Edges
and joins".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import ForbiddenExtraKeysError
from cattrs.gen import make_dict_structure_fn, override

from engine.diagnostics import codes
from engine.language.spec import (
    CONDITIONS,
    Count,
    Delay,
    Duration,
    ExitCode,
    Factor,
    Fraction01,
    Limit,
    LimitsSpec,
    NeedSpec,
    NodeSpec,
    PipelineSpec,
    Priority,
    ResourceSpec,
    RetrySpec,
    RouteSpec,
    ServiceSpec,
    Spec,
    StepSpec,
)
from engine.language.structuring_errors import (
    DERIVED_FIELDS,
    FIELD_NAMES,
    STEP_KEYS,
    InlineStepName,
    InvalidValue,
)
from engine.language.value_hooks import (
    StructureHook,
    check_exit_name,
    check_identifier,
    check_name,
    duration_hook,
    exact_type,
    expected,
    expected_one_of,
    float_range,
    integer_range,
    structure_each,
    structure_exit_reference,
    structure_for_each,
    structure_json,
    structure_literal,
    structure_tolerance,
)

__all__ = ["InvalidName", "structure_spec"]


class InvalidName(str):
    """A key already reported as an invalid name; the value under it is structured all the same."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"InvalidName({super().__repr__()})"


# -- equal tables are one object -----------------------------------------------------------------

_TABLES: ContextVar[dict[tuple[StructureHook, str], Any]] = ContextVar("_TABLES")
"""The values that hooks have built in this call of `structure_spec`, by the hook and the `repr` of the data."""


def _share_equal(hook: StructureHook) -> StructureHook:
    """Return a hook that returns one object for equal data."""

    def read(value: Any, kind: Any) -> Any:
        known, key = _TABLES.get(), (hook, repr(value))
        if key not in known:
            known[key] = hook(value, kind)
        return known[key]

    return read


# -- values with a short and a long form ----------------------------------------------------------


def _expect_table(value: Any, description: str = "a table") -> dict[str, Any]:
    if type(value) is not dict:
        raise expected(description, value)
    return value


def _structure_route(value: Any, _: Any) -> RouteSpec:
    if type(value) is str:
        return RouteSpec(value)
    found: RouteSpec = _ROUTE_HOOK(
        _expect_table(value, "a target, or a table with `to`"), RouteSpec
    )
    return found


def _structure_retry(value: Any, _: Any) -> tuple[RetrySpec, ...]:
    if type(value) is dict:
        return (_RETRY_HOOK(value, RetrySpec),)
    if type(value) is not list or not value:
        raise expected("a table with `attempts`, or an array of such tables", value)
    return tuple(
        structure_each(enumerate(value), lambda _, clause: _RETRY_HOOK(clause, RetrySpec)).values()
    )


def _structure_needs(value: Any, _: Any) -> dict[str, NeedSpec]:
    if type(value) is dict:
        return structure_each(value.items(), _structure_need)
    if type(value) is not list:
        raise expected("an array of nodes, or a table from nodes to conditions", value)
    return dict.fromkeys(_structure_unique(value, "a node"), "success")


def _structure_names(value: Any, _: Any) -> tuple[str, ...]:
    """Structure an array of distinct names."""
    if type(value) is not list:
        raise expected("an array of names", value)
    return _structure_unique(value, "a name")


def _structure_unique(value: list[Any], what: str) -> tuple[str, ...]:
    named: list[str] = []

    def structure_one(_: int, name: Any) -> None:
        if type(name) is not str:
            raise expected(what, name)
        if name in named:
            raise InvalidValue(codes.WRONG_TYPE, f"`{name}` is named twice")
        named.append(name)

    structure_each(enumerate(value), structure_one)
    return tuple(named)


def _structure_need(_: str, value: Any) -> NeedSpec:
    if type(value) is str:
        if value in CONDITIONS:
            return value
        wrong = expected_one_of(value, CONDITIONS)
        advice = wrong.help or f'write a label in an array: ["{value}"]'
        raise InvalidValue(wrong.rule, wrong.message, advice, candidates=wrong.candidates)
    if type(value) is not list or not value:
        raise expected("a condition, or an array of labels", value)
    return tuple(structure_each(enumerate(value), _structure_label).values())


def _structure_label(_: int, value: Any) -> str | int:
    if type(value) is str or (type(value) is int and 0 <= value <= 255):
        return value
    raise expected("a label or an exit code", value)


def _build_table_hook(
    hook: StructureHook, check: Callable[[str], None] = lambda name: None
) -> StructureHook:
    """Return a hook for tables: each name must pass `check`, each value is structured by `hook(name, value)`."""
    structure_one = _add_name_check(hook, check)

    def read(value: Any, _: Any) -> dict[str, Any]:
        return {
            str(name): made
            for name, made in structure_each(_expect_table(value).items(), structure_one).items()
        }

    return read


def _add_name_check(hook: StructureHook, check: Callable[[str], None]) -> StructureHook:
    """Return the hook with a check of the name added before it."""

    def structure_one(name: str, item: Any) -> Any:
        try:
            if type(name) not in (InvalidName, InlineStepName):
                check(name)
        except InvalidValue as bad:
            return _collect_errors([bad], lambda: hook(name, item))
        return hook(str(name), item)

    return structure_one


def _structure_node(name: str, value: Any) -> NodeSpec:
    """Structure a node, separating the node's own keys from those of an inline step."""
    table = _expect_table(value)
    own = {k: v for k, v in table.items() if k not in STEP_KEYS}
    step = {k: v for k, v in table.items() if k in STEP_KEYS}
    wrong: list[Exception] = []
    if own.pop("single", None) is not None:
        wrong.append(ForbiddenExtraKeysError("", NodeSpec, {"single"}))
    if single := "steps" not in table and "start" not in table:
        own |= {"start": name, "steps": {InlineStepName(name): step}}
    else:
        wrong += [_build_misplaced_key_error(key) for key in step]
    return _collect_errors(wrong, lambda: _NODE_HOOK(own | {"single": single}, NodeSpec))  # type: ignore[no-any-return]


def _collect_errors(wrong: list[Exception], make: Callable[[], Any]) -> Any:
    """Return the result of `make`, or raise its errors together with those found before."""
    try:
        made = make()
    except (InvalidValue, ExceptionGroup) as more:
        wrong = [*wrong, more]
    if wrong:
        raise ExceptionGroup("", wrong)
    return made


def _build_misplaced_key_error(key: str) -> InvalidValue:
    message = f"`{key}` belongs to a step, and this node has `steps`"
    return InvalidValue(
        codes.WRONG_TYPE, message, f"move `{key}` into one of the steps", (key,), is_key=True
    )


def _structure_steps(value: Any, _: Any) -> dict[str, StepSpec]:
    if value == {}:
        raise InvalidValue(codes.MISSING_KEY, "`steps` is empty", is_key=True)
    steps: dict[str, StepSpec] = _STEPS_HOOK(value, None)
    return steps


def _structure_object(value: Any, what: str = "a table") -> Any:
    return structure_json(_expect_table(value, what))


def _structure_state(_: str, value: Any) -> Any:
    schema = _structure_object(value, "a JSON Schema (a table) with `initial`")
    if "initial" not in schema:
        advice = "set `initial`, its value when a run starts"
        raise InvalidValue(codes.MISSING_KEY, "`initial` is missing", advice, is_key=True)
    return schema


def _structure_description(value: Any, _: Any) -> str:
    """Structure a text for people, in which `$${` is a literal `${`."""
    text: str = CONVERTER.structure(value, str)
    return text.replace("$${", "${")


def _structure_document(_: str, value: Any) -> Spec:
    found: Spec = _SPEC_HOOK(_expect_table(value), Spec)
    return found


def _build_array_hook(kind: Any) -> StructureHook:
    """Return a hook that structures an array into a tuple of values of one type."""

    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise expected("an array", value)
        found = structure_each(enumerate(value), lambda _, item: CONVERTER.structure(item, kind))
        return tuple(found.values())

    return hook


# -- the converter -----------------------------------------------------------------------------

CONVERTER = Converter(forbid_extra_keys=True, detailed_validation=True)


def _register_structure(kind: type, **hooks: StructureHook) -> StructureHook:
    """Register and return the hook of one class; `hooks` serve fields whose type does not say enough."""
    fields = {
        f.name: override(
            rename=FIELD_NAMES.get(f.name),
            omit=(f.name in DERIVED_FIELDS.get(kind, ()) and f.name != "single") or None,
            struct_hook=hooks.get(f.name),
        )
        for f in attrs.fields(kind)
    }

    @cache
    def get_hook() -> StructureHook:
        """Build the hook when the first such table is read: few specs have tables of all classes."""
        return make_dict_structure_fn(kind, CONVERTER, **fields)  # type: ignore[arg-type]

    def read(value: Any, cls: Any) -> Any:
        return get_hook()(_expect_table(value), cls)

    CONVERTER.register_structure_hook(kind, read)
    return read


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


_CODE = integer_range(0, 255, "an exit code from 0 to 255")
for _kind, _hook in (
    (str, exact_type(str, "a string")),
    (bool, exact_type(bool, "true or false")),
    (Count, integer_range(1, 1000, "a whole number from 1 to 1000")),
    (Limit, integer_range(1, None, "a whole number, 1 or more")),
    (ExitCode, _CODE),
    (Priority, integer_range(0, None, "a whole number, 0 or more")),
    (Factor, float_range(1, 1e9, "a number, 1 or more")),
    (Fraction01, float_range(0, 1, "a number from 0 to 1")),
    (Duration, duration_hook(allow_zero=False)),
    (Delay, duration_hook(allow_zero=True)),
):
    CONVERTER.register_structure_hook(_kind, _hook)
CONVERTER.register_structure_hook_func(_is_literal, structure_literal)
CONVERTER.register_structure_hook_func(lambda kind: kind == str | int, structure_exit_reference)

_ROUTE_HOOK = _register_structure(RouteSpec)
CONVERTER.register_structure_hook(RouteSpec, _structure_route)
_RETRY_HOOK = _register_structure(RetrySpec, on=_build_array_hook(str | int))
_STEP_HOOK = _register_structure(
    StepSpec,
    with_=lambda value, _: _structure_object(value),
    exits=_share_equal(_build_table_hook(lambda _, value: _CODE(value, ExitCode), check_exit_name)),
    routes=_share_equal(_build_table_hook(lambda _, value: _structure_route(value, None))),
    retry=_share_equal(_structure_retry),
    set=lambda value, _: _structure_object(value),
    description=_structure_description,
)
_STEPS_HOOK = _build_table_hook(lambda _, value: _STEP_HOOK(value, StepSpec), check_identifier)
_NODE_HOOK = _register_structure(
    NodeSpec,
    steps=_structure_steps,
    needs=_structure_needs,
    outputs=lambda value, _: _structure_object(value),
    for_each=structure_for_each,
    tolerate=structure_tolerance,
    uses=_structure_names,
    requires=_structure_names,
    description=_structure_description,
)
_SERVICE_HOOK = _register_structure(
    ServiceSpec,
    with_=lambda value, _: _structure_object(value),
    retry=_structure_retry,
    description=_structure_description,
)
_RESOURCE_HOOK = _register_structure(
    ResourceSpec,
    with_=lambda value, _: _structure_object(value),
    description=_structure_description,
)
_register_structure(LimitsSpec)
_register_structure(PipelineSpec, tasks=_build_array_hook(str), description=_structure_description)
_SPEC_HOOK = _register_structure(
    Spec,
    inputs=_build_table_hook(
        lambda _, value: _structure_object(value, "a JSON Schema (a table)"), check_identifier
    ),
    state=_build_table_hook(_structure_state, check_identifier),
    pools=_build_table_hook(lambda _, value: CONVERTER.structure(value, Limit), check_name),
    nodes=_build_table_hook(_structure_node, check_identifier),
    finally_=_build_table_hook(_structure_node, check_identifier),
    services=_build_table_hook(
        lambda _, value: _SERVICE_HOOK(value, ServiceSpec), check_identifier
    ),
    resources=_build_table_hook(
        lambda _, value: _RESOURCE_HOOK(value, ResourceSpec), check_identifier
    ),
    outputs=lambda value, _: _structure_object(value),
    pipelines=_build_table_hook(_structure_document, check_name),
)


def structure_spec(data: Mapping[str, Any]) -> Spec:
    """Return the Spec of one document's data, without the key `engine`.

    Raises an exception group that `structuring_errors.flatten_errors` reads.
    """
    token = _TABLES.set({})
    try:
        return _SPEC_HOOK(dict(data), Spec)  # type: ignore[no-any-return]
    finally:
        _TABLES.reset(token)
