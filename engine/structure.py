"""TOML data -> Spec values: the cattrs converter of the language, strict, and what each value must look like.

Nothing is coerced. A hook that refuses a value raises `Wrong`; cattrs gathers all of them with the key path it was at, and
`mistakes` lists them. `dump` is the way back: the data of a Spec, defaults left out. Source: LANGUAGE.md sections 1 to 5.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, get_args, get_origin

import attrs
from cattrs import Converter, IterableValidationError
from cattrs.errors import AttributeValidationNote, ForbiddenExtraKeysError, IterableValidationNote
from cattrs.gen import make_dict_structure_fn, override

from engine import codes
from engine.diagnostics import Rule, nearest
from engine.durations import format_duration, parse_duration
from engine.source import KeyPath
from engine.spec import (
    CONDITIONS,
    Code,
    Count,
    Delay,
    Duration,
    Factor,
    Limit,
    NeedSpec,
    NodeSpec,
    PipelineSpec,
    Rank,
    RetrySpec,
    RouteSpec,
    Share,
    Spec,
    StepSpec,
)

__all__ = ["NAME", "NOT_YET", "RESERVED", "Mistake", "Wrong", "dump", "mistakes", "structure"]

NAME = r"[A-Za-z_][A-Za-z0-9_]*"

RESERVED = frozenset(
    "inputs steps state item index run env secrets resources services finally done fail "
    # CEL: literals and operators, reserved words, types and functions
    "true false null in as break const continue else for function if import let loop package namespace return "
    "var void while has all exists exists_one map filter size string int uint double bool bytes type dyn list "
    "duration timestamp matches contains startsWith endsWith getFullYear getMonth getDate getDayOfMonth "
    "getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds max min optional".split()
)

NOT_YET: Mapping[type, Mapping[str, str]] = {
    NodeSpec: {
        "for_each": "fan-out",
        "max_parallel": "fan-out",
        "tolerate": "fan-out",
        "uses": "resources",
        "requires": "services",
        "set": "state",
    },
    StepSpec: {"set": "state"},
    Spec: {
        "state": "state",
        "services": "services",
        "resources": "resources",
        "finally": "`finally` nodes",
        "limits": "limits on the worst case",
    },
}
"""Keys of the language that this version refuses by name, and what they belong to."""


class Wrong(Exception):
    """One mistake at the value being structured, or `at` keys below it (`key`: the key is wrong, not the value)."""

    def __init__(
        self, rule: Rule, message: str, help: str | None = None, at: KeyPath = (), key: bool = False
    ) -> None:
        super().__init__(message)
        self.rule, self.message, self.help, self.at, self.key = rule, message, help, at, key


@attrs.frozen
class Mistake:
    """A `Wrong` with its whole key path."""

    path: KeyPath
    rule: Rule
    message: str
    help: str | None
    key: bool
    meant: str | None = None
    """For an unknown key: the known one it was likely meant to be."""


# -- what a single value must be -------------------------------------------------------------------------------


def describe(value: Any) -> str:
    """What a value is, in TOML's words."""
    match value:
        case bool():
            return f"the boolean `{str(value).lower()}`"
        case int() | float():
            return f"the number `{value}`"
        case str():
            return f"the string `{value}`" if len(value) <= 40 else "a string"
        case list():
            return "an array"
        case dict():
            return "a table"
        case _:
            return "a date or time"


def wanted(what: str, value: Any) -> Wrong:
    """`expected WHAT, found …`."""
    return Wrong(codes.WRONG_TYPE, f"expected {what}, found {describe(value)}")


def _exactly(kind: type, what: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> Any:
        if type(value) is not kind:
            raise wanted(what, value)
        return value

    return hook


def _between(low: int, high: int | None, what: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> int:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise wanted(what, value)
        return value

    return hook


def _real(low: float, high: float, what: str) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise wanted(what, value)
        return float(value)

    return hook


def _duration(zero: bool) -> Callable[[Any, Any], Any]:
    def hook(value: Any, _: Any) -> float:
        if type(value) is not str:
            raise wanted('a duration such as "1m30s"', value)
        try:
            seconds = parse_duration(value)
        except ValueError as error:
            raise Wrong(codes.WRONG_TYPE, str(error)) from None
        if not (seconds or zero):
            raise Wrong(codes.WRONG_TYPE, f"`{value}` must be above zero")
        return seconds

    return hook


def _literal(value: Any, kind: Any) -> Any:
    known = get_args(kind)
    if type(value) is not str or value not in known:
        raise _choice(value, known)
    return value


def _choice(value: Any, known: tuple[str, ...]) -> Wrong:
    listed = " or ".join(f'"{k}"' for k in known)
    guess = nearest(value, known) if isinstance(value, str) else None
    hint = f'did you mean "{guess}"?' if guess else None
    return Wrong(codes.WRONG_TYPE, f"expected {listed}, found {describe(value)}", hint)


def _exit(value: Any, _: Any) -> str | int:
    if type(value) is str or (type(value) is int and 0 <= value <= 255):
        return value  # type: ignore[no-any-return]
    raise wanted("the name or number (0 to 255) of an exit", value)


# -- what has a short and a long form --------------------------------------------------------------------------


def _table(value: Any, what: str = "a table") -> dict[str, Any]:
    if type(value) is not dict:
        raise wanted(what, value)
    return value


def _route(value: Any, _: Any) -> RouteSpec:
    if type(value) is str:
        return RouteSpec(value)
    return _ROUTE(_table(value, "a target, or a table with `to`"), RouteSpec)  # type: ignore[no-any-return]


def _retry(value: Any, _: Any) -> tuple[RetrySpec, ...]:
    if type(value) is dict:
        return (_RETRY(value, RetrySpec),)
    if type(value) is not list or not value:
        raise wanted("a table with `attempts`, or an array of such tables", value)
    return _CLAUSES(value, tuple[RetrySpec, ...])  # type: ignore[no-any-return]


def _needs(value: Any, _: Any) -> dict[str, NeedSpec]:
    if type(value) is dict:
        return _named(_need, check=False)(value, None)  # type: ignore[no-any-return]
    if type(value) is not list:
        raise wanted("an array of nodes, or a table from nodes to conditions", value)
    for index, name in enumerate(value):
        if type(name) is not str:
            raise Wrong(codes.WRONG_TYPE, f"expected a node, found {describe(name)}", at=(index,))
        if name in value[:index]:
            raise Wrong(codes.WRONG_TYPE, f"`{name}` is named twice", at=(index,))
    return dict.fromkeys(value, "success")


def _need(_: str, value: Any) -> NeedSpec:
    if type(value) is str:
        if value not in CONDITIONS:
            wrong = _choice(value, CONDITIONS)
            raise Wrong(wrong.rule, wrong.message, wrong.help or f'a label goes into an array: ["{value}"]')
        return value
    if type(value) is not list or not value:
        raise wanted("a condition, or an array of labels", value)
    for index, label in enumerate(value):
        if type(label) is not str and not (type(label) is int and 0 <= label <= 255):
            raise Wrong(codes.WRONG_TYPE, f"expected a label or an exit code, found {describe(label)}", at=(index,))
    return tuple(value)


def _named(hook: Callable[[str, Any], Any], check: bool = True) -> Callable[[Any, Any], Any]:
    """A table from names to what `hook(name, value)` gives; all its mistakes at once."""

    def structure_table(value: Any, _: Any) -> dict[str, Any]:
        found, wrong = {}, []
        for name, item in _table(value).items():
            try:
                if check:
                    _identifier(name)
                found[name] = hook(name, item)
            except (Wrong, ExceptionGroup) as error:
                error.__notes__ = [*getattr(error, "__notes__", ()), IterableValidationNote("", name, None)]
                wrong.append(error)
        if wrong:
            raise IterableValidationError("", wrong, dict)
        return found

    return structure_table


def _identifier(name: str) -> None:
    if not _IDENTIFIER(name):
        raise Wrong(codes.BAD_NAME, f"`{name}` is not a name", "letters, digits and `_`, no digit first", key=True)
    if name in RESERVED:
        raise Wrong(codes.BAD_NAME, f"`{name}` is a reserved word", f"call it `{name}_` or the like", key=True)


def _node(name: str, value: Any) -> NodeSpec:
    """Part the node's own keys from those of the step written in it."""
    table = _table(value)
    own = {k: v for k, v in table.items() if k not in _STEP_ONLY}
    step = {k: v for k, v in table.items() if k in _STEP_ONLY}
    if "steps" not in table and "start" not in table:
        return _NODE(own | {"start": name, "single": True, "steps": {name: step}}, NodeSpec)
    if step:
        raise ExceptionGroup("", [_astray(key) for key in step])
    return _NODE(own | {"single": False}, NodeSpec)


def _astray(key: str) -> Wrong:
    message = f"`{key}` belongs to a step, and this node has `steps`"
    return Wrong(codes.WRONG_TYPE, message, f"move `{key}` into one of the steps", (key,), key=True)


def _object(_: str, value: Any) -> dict[str, Any]:
    return _table(value, "a JSON Schema (a table)")


def _document(_: str, value: Any) -> Spec:
    return _SPEC(_table(value), Spec)


# -- the converter ---------------------------------------------------------------------------------------------

_IDENTIFIER = re.compile(NAME).fullmatch
_RENAMED = {"with_": "with"}
_STEP_ONLY = frozenset({"task", "pipeline", "with", "exits", "routes", "retry", "timeout", "set"})
_INTERNAL = {Spec: frozenset({"source", "at", "name", "files", "broken"}), NodeSpec: frozenset({"single"})}
"""Fields that no key of a file fills."""

CONVERTER = Converter(forbid_extra_keys=True, detailed_validation=True)


def _reader(kind: type, **hooks: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The structuring function of one table of the language; `hooks` serve fields whose type does not say enough."""
    fields = {
        f.name: override(
            rename=_RENAMED.get(f.name), omit=(kind is Spec and f.name in _INTERNAL[Spec]) or None, struct_hook=hooks.get(f.name)
        )
        for f in attrs.fields(kind)
    }
    made = make_dict_structure_fn(kind, CONVERTER, **fields)  # type: ignore[arg-type]

    def read(value: Any, cls: Any) -> Any:
        return made(_table(value), cls)

    CONVERTER.register_structure_hook(kind, read)
    return read


for _kind, _hook in (
    (str, _exactly(str, "a string")),
    (bool, _exactly(bool, "true or false")),
    (Count, _between(1, 1000, "a whole number from 1 to 1000")),
    (Limit, _between(1, None, "a whole number, 1 or more")),
    (Code, _between(0, 255, "an exit code from 0 to 255")),
    (Rank, _between(0, None, "a whole number, 0 or more")),
    (Factor, _real(1, 1e9, "a number, 1 or more")),
    (Share, _real(0, 1, "a number from 0 to 1")),
    (Duration, _duration(zero=False)),
    (Delay, _duration(zero=True)),
):
    CONVERTER.register_structure_hook(_kind, _hook)
CONVERTER.register_structure_hook_func(lambda kind: get_origin(kind) is Literal, _literal)
CONVERTER.register_structure_hook_func(lambda kind: kind == str | int, _exit)

_ROUTE = _reader(RouteSpec)
CONVERTER.register_structure_hook(RouteSpec, _route)
_RETRY = _reader(RetrySpec)
_CLAUSES = CONVERTER.get_structure_hook(tuple[RetrySpec, ...])
_STEP = _reader(
    StepSpec,
    with_=lambda value, _: _table(value),
    exits=_named(lambda _, value: CONVERTER.structure(value, Code)),
    routes=_named(lambda _, value: _route(value, None), check=False),
    retry=_retry,
)
_NODE = _reader(
    NodeSpec,
    steps=_named(lambda _, value: _STEP(value, StepSpec)),
    needs=_needs,
    outputs=_named(lambda _, value: value),
)
_reader(PipelineSpec)
_SPEC = _reader(
    Spec,
    inputs=_named(_object),
    pools=_named(lambda _, value: CONVERTER.structure(value, Limit)),
    nodes=_named(_node),
    outputs=_named(lambda _, value: value),
    pipelines=_named(_document),
)


def structure(data: Mapping[str, Any]) -> Spec:
    """The Spec of one document's data (without `engine`); raises a group that `mistakes` reads."""
    return _SPEC(dict(data), Spec)  # type: ignore[no-any-return]


# -- what went wrong -------------------------------------------------------------------------------------------


def mistakes(error: BaseException, path: KeyPath = ()) -> Iterator[Mistake]:
    """Every mistake in a group that `structure` raised, each with its key path."""
    path += _place(error)
    match error:
        case Wrong():
            yield Mistake(_written(path + error.at), error.rule, error.message, error.help, error.key)
        case ForbiddenExtraKeysError():
            for name in sorted(error.extra_fields):
                yield _unknown(name, error.cl, path)
        case KeyError():
            name = _RENAMED.get(error.args[0], error.args[0])
            yield Mistake(_written(path[:-1]), codes.MISSING_KEY, f"`{name}` is missing", None, True, name)
        case BaseExceptionGroup():
            for part in error.exceptions:
                yield from mistakes(part, path)
        case _:
            raise error


def _place(error: BaseException) -> KeyPath:
    for note in getattr(error, "__notes__", ()):
        if type(note) is AttributeValidationNote:
            return (_RENAMED.get(note.name, note.name),)
        if type(note) is IterableValidationNote:
            return (note.index,)
    return ()


def _written(path: KeyPath) -> KeyPath:
    """The path as it stands in the file: a step written in its node has no `steps` table."""
    for at, part in enumerate(path):
        if part == "steps" and path[at - 1 : at] == path[at + 1 : at + 2] and at >= 2 and path[at - 2] == "nodes":
            return path[:at] + path[at + 2 :]
    return path


def _unknown(name: str, cls: type, path: KeyPath) -> Mistake:
    refused = NOT_YET.get(cls, {})
    place = _written((*path, name))
    if name in refused:
        message = f"`{name}` is not supported yet: this version does not run {refused[name]}"
        return Mistake(place, codes.NOT_SUPPORTED, message, None, True)
    guess = nearest(name, known_keys(cls))
    help = f"did you mean `{guess}`?" if guess else "known here: " + ", ".join(f"`{k}`" for k in known_keys(cls))
    return Mistake(place, codes.UNKNOWN_KEY, f"`{name}` is not a key here", help, True, guess)


def known_keys(cls: type) -> list[str]:
    """The keys a table may have; a node's are also those of the step written in it."""
    internal = _INTERNAL.get(cls, frozenset())
    own = {_RENAMED.get(f.name, f.name) for f in attrs.fields(cls) if f.name not in internal}
    return sorted(own | (_STEP_ONLY - {"set"} if cls is NodeSpec else set()))
