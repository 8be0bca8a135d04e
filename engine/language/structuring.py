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
    Code,
    Count,
    Delay,
    Duration,
    Factor,
    Limit,
    LimitsSpec,
    NeedSpec,
    NodeSpec,
    PipelineSpec,
    Rank,
    ResourceSpec,
    RetrySpec,
    RouteSpec,
    ServiceSpec,
    Share,
    Spec,
    StepSpec,
)
from engine.language.structuring_errors import INTERNAL, RENAMED, STEP_KEYS, Own, Wrong
from engine.language.value_hooks import (
    Hook,
    between,
    choice,
    code,
    duration,
    each,
    exactly,
    exit_name,
    identifier,
    items,
    json,
    literal,
    real,
    tolerance,
    wanted,
    word,
)

__all__ = ["Misnamed", "structure"]


class Misnamed(str):
    """A key already reported as an invalid name; the value under it is structured all the same."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"Misnamed({super().__repr__()})"


# -- equal tables are one object -----------------------------------------------------------------

_TABLES: ContextVar[dict[tuple[Hook, str], Any]] = ContextVar("_TABLES")
"""What hooks made in this call of `structure`, by the data that it was made of, written out."""


def _shared(hook: Hook) -> Hook:
    """The hook, which gives one object for equal data."""

    def read(value: Any, kind: Any) -> Any:
        known, key = _TABLES.get(), (hook, repr(value))
        if key not in known:
            known[key] = hook(value, kind)
        return known[key]

    return read


# -- what has a short and a long form ----------------------------------------------------------


def _table(value: Any, what: str = "a table") -> dict[str, Any]:
    if type(value) is not dict:
        raise wanted(what, value)
    return value


def _route(value: Any, _: Any) -> RouteSpec:
    if type(value) is str:
        return RouteSpec(value)
    found: RouteSpec = _ROUTE(_table(value, "a target, or a table with `to`"), RouteSpec)
    return found


def _retry(value: Any, _: Any) -> tuple[RetrySpec, ...]:
    if type(value) is dict:
        return (_RETRY(value, RetrySpec),)
    if type(value) is not list or not value:
        raise wanted("a table with `attempts`, or an array of such tables", value)
    return tuple(each(enumerate(value), lambda _, clause: _RETRY(clause, RetrySpec)).values())


def _needs(value: Any, _: Any) -> dict[str, NeedSpec]:
    if type(value) is dict:
        return each(value.items(), _need)
    if type(value) is not list:
        raise wanted("an array of nodes, or a table from nodes to conditions", value)
    return dict.fromkeys(_several(value, "a node"), "success")


def _names(value: Any, _: Any) -> tuple[str, ...]:
    """Structure an array of distinct names."""
    if type(value) is not list:
        raise wanted("an array of names", value)
    return _several(value, "a name")


def _several(value: list[Any], what: str) -> tuple[str, ...]:
    named: list[str] = []

    def one(_: int, name: Any) -> None:
        if type(name) is not str:
            raise wanted(what, name)
        if name in named:
            raise Wrong(codes.WRONG_TYPE, f"`{name}` is named twice")
        named.append(name)

    each(enumerate(value), one)
    return tuple(named)


def _need(_: str, value: Any) -> NeedSpec:
    if type(value) is str:
        if value in CONDITIONS:
            return value
        wrong = choice(value, CONDITIONS)
        cure = wrong.help or f'write a label in an array: ["{value}"]'
        raise Wrong(wrong.rule, wrong.message, cure, known=wrong.known)
    if type(value) is not list or not value:
        raise wanted("a condition, or an array of labels", value)
    return tuple(each(enumerate(value), _label).values())


def _label(_: int, value: Any) -> str | int:
    if type(value) is str or (type(value) is int and 0 <= value <= 255):
        return value
    raise wanted("a label or an exit code", value)


def _named(hook: Hook, check: Callable[[str], None] = lambda name: None) -> Hook:
    """Return a hook for tables: each name must pass `check`, each value is structured by `hook(name, value)`."""
    one = _of_name(hook, check)

    def read(value: Any, _: Any) -> dict[str, Any]:
        return {str(name): made for name, made in each(_table(value).items(), one).items()}

    return read


def _of_name(hook: Hook, check: Callable[[str], None]) -> Hook:
    """Return the hook with a check of the name added before it."""

    def one(name: str, item: Any) -> Any:
        try:
            if type(name) not in (Misnamed, Own):
                check(name)
        except Wrong as bad:
            return _beside([bad], lambda: hook(name, item))
        return hook(str(name), item)

    return one


def _node(name: str, value: Any) -> NodeSpec:
    """Structure a node, separating the node's own keys from those of an inline step."""
    table = _table(value)
    own = {k: v for k, v in table.items() if k not in STEP_KEYS}
    step = {k: v for k, v in table.items() if k in STEP_KEYS}
    wrong: list[Exception] = []
    if own.pop("single", None) is not None:
        wrong.append(ForbiddenExtraKeysError("", NodeSpec, {"single"}))
    if single := "steps" not in table and "start" not in table:
        own |= {"start": name, "steps": {Own(name): step}}
    else:
        wrong += [_astray(key) for key in step]
    return _beside(wrong, lambda: _NODE(own | {"single": single}, NodeSpec))  # type: ignore[no-any-return]


def _beside(wrong: list[Exception], make: Callable[[], Any]) -> Any:
    """Return the result of `make`, or raise its errors together with those found before."""
    try:
        made = make()
    except (Wrong, ExceptionGroup) as more:
        wrong = [*wrong, more]
    if wrong:
        raise ExceptionGroup("", wrong)
    return made


def _astray(key: str) -> Wrong:
    message = f"`{key}` belongs to a step, and this node has `steps`"
    return Wrong(codes.WRONG_TYPE, message, f"move `{key}` into one of the steps", (key,), key=True)


def _steps(value: Any, _: Any) -> dict[str, StepSpec]:
    if value == {}:
        raise Wrong(codes.MISSING_KEY, "`steps` is empty", key=True)
    steps: dict[str, StepSpec] = _STEPS(value, None)
    return steps


def _object(value: Any, what: str = "a table") -> Any:
    return json(_table(value, what))


def _state(_: str, value: Any) -> Any:
    schema = _object(value, "a JSON Schema (a table) with `initial`")
    if "initial" not in schema:
        cure = "set `initial`, its value when a run starts"
        raise Wrong(codes.MISSING_KEY, "`initial` is missing", cure, key=True)
    return schema


def _description(value: Any, _: Any) -> str:
    """Structure a text for people, in which `$${` is a literal `${`."""
    text: str = CONVERTER.structure(value, str)
    return text.replace("$${", "${")


def _document(_: str, value: Any) -> Spec:
    found: Spec = _SPEC(_table(value), Spec)
    return found


def _array(kind: Any) -> Hook:
    """Return a hook that structures an array into a tuple of values of one type."""

    def hook(value: Any, _: Any) -> tuple[Any, ...]:
        if type(value) is not list:
            raise wanted("an array", value)
        found = each(enumerate(value), lambda _, item: CONVERTER.structure(item, kind))
        return tuple(found.values())

    return hook


# -- the converter -----------------------------------------------------------------------------

CONVERTER = Converter(forbid_extra_keys=True, detailed_validation=True)


def _reader(kind: type, **hooks: Hook) -> Hook:
    """Register and return the hook of one class; `hooks` serve fields whose type does not say enough."""
    fields = {
        f.name: override(
            rename=RENAMED.get(f.name),
            omit=(f.name in INTERNAL.get(kind, ()) and f.name != "single") or None,
            struct_hook=hooks.get(f.name),
        )
        for f in attrs.fields(kind)
    }

    @cache
    def made() -> Hook:
        """Written and compiled when the first such table is read: few specs have all of them."""
        return make_dict_structure_fn(kind, CONVERTER, **fields)  # type: ignore[arg-type]

    def read(value: Any, cls: Any) -> Any:
        return made()(_table(value), cls)

    CONVERTER.register_structure_hook(kind, read)
    return read


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


_CODE = between(0, 255, "an exit code from 0 to 255")
for _kind, _hook in (
    (str, exactly(str, "a string")),
    (bool, exactly(bool, "true or false")),
    (Count, between(1, 1000, "a whole number from 1 to 1000")),
    (Limit, between(1, None, "a whole number, 1 or more")),
    (Code, _CODE),
    (Rank, between(0, None, "a whole number, 0 or more")),
    (Factor, real(1, 1e9, "a number, 1 or more")),
    (Share, real(0, 1, "a number from 0 to 1")),
    (Duration, duration(zero=False)),
    (Delay, duration(zero=True)),
):
    CONVERTER.register_structure_hook(_kind, _hook)
CONVERTER.register_structure_hook_func(_is_literal, literal)
CONVERTER.register_structure_hook_func(lambda kind: kind == str | int, code)

_ROUTE = _reader(RouteSpec)
CONVERTER.register_structure_hook(RouteSpec, _route)
_RETRY = _reader(RetrySpec, on=_array(str | int))
_STEP = _reader(
    StepSpec,
    with_=lambda value, _: _object(value),
    exits=_shared(_named(lambda _, value: _CODE(value, Code), exit_name)),
    routes=_shared(_named(lambda _, value: _route(value, None))),
    retry=_shared(_retry),
    set=lambda value, _: _object(value),
    description=_description,
)
_STEPS = _named(lambda _, value: _STEP(value, StepSpec), identifier)
_NODE = _reader(
    NodeSpec,
    steps=_steps,
    needs=_needs,
    outputs=lambda value, _: _object(value),
    for_each=items,
    tolerate=tolerance,
    uses=_names,
    requires=_names,
    description=_description,
)
_SERVICE = _reader(
    ServiceSpec, with_=lambda value, _: _object(value), retry=_retry, description=_description
)
_RESOURCE = _reader(ResourceSpec, with_=lambda value, _: _object(value), description=_description)
_reader(LimitsSpec)
_reader(PipelineSpec, tasks=_array(str), description=_description)
_SPEC = _reader(
    Spec,
    inputs=_named(lambda _, value: _object(value, "a JSON Schema (a table)"), identifier),
    state=_named(_state, identifier),
    pools=_named(lambda _, value: CONVERTER.structure(value, Limit), word),
    nodes=_named(_node, identifier),
    finally_=_named(_node, identifier),
    services=_named(lambda _, value: _SERVICE(value, ServiceSpec), identifier),
    resources=_named(lambda _, value: _RESOURCE(value, ResourceSpec), identifier),
    outputs=lambda value, _: _object(value),
    pipelines=_named(_document, word),
)


def structure(data: Mapping[str, Any]) -> Spec:
    """Return the Spec of one document's data, without the key `engine`.

    Raises an exception group that `structuring_errors.flatten_errors` reads.
    """
    token = _TABLES.set({})
    try:
        return _SPEC(dict(data), Spec)  # type: ignore[no-any-return]
    finally:
        _TABLES.reset(token)
