"""Parses and evaluates CEL expressions with the `cel` library, imported only when a spec has one.

The references of an expression are found by scanning its tokens: a reference is a name that is neither a field, nor a
function, nor bound by a macro there, with the constant path behind it. For `has()` a node without output is an empty
map, so that `has(a.x)` is false there; for everything else it is undeclared. Function names are checked when the spec
is compiled, since the library checks them only when it evaluates. Source: docs/language.md, "Expressions"; the CEL
specification for the language itself.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import find_spec, module_from_spec
from itertools import takewhile
from typing import Any

import attrs

from engine.base.suggestions import closest_match
from engine.expressions.cel_messages import (
    check_integers,
    describe_non_json,
    translate_runtime_error,
    translate_syntax_error,
)
from engine.expressions.model import (
    QUOTED_PATTERN,
    STRING_PATTERN,
    BadExpression,
    EvaluationError,
    Read,
    Scope,
    describe_missing,
    unquote,
)
from engine.toml.key_paths import KeyPath, format_path

__all__ = ["FUNCTIONS", "CompiledExpression", "parse_cel"]

_MODULE = "cel.cel"


def _load_library() -> Any:
    """Import the module that does the work, without its package.

    The package also imports a command line with everything that needs for a terminal: ten times the cost of the
    library.
    """
    package = None if _MODULE in sys.modules else find_spec("cel")
    folders = package and package.submodule_search_locations
    found = PathFinder.find_spec(_MODULE, folders) if folders else None
    if found is None or found.loader is None:
        return import_module(_MODULE)
    module = sys.modules[_MODULE] = module_from_spec(found)
    found.loader.exec_module(module)
    return module


compile_cel = _load_library().compile

_TYPE_NAMES = "bool bytes double dyn duration int list map null_type string timestamp type uint"
_FUNCTION_NAMES = """
has size contains startsWith endsWith matches string int uint double bytes type dyn duration
timestamp getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours
getMinutes getSeconds getMilliseconds none of ofNonZeroValue value orValue hasValue
"""

MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
FUNCTIONS = MACROS | frozenset(_FUNCTION_NAMES.split())
"""The functions and macros that an expression may call."""

_NON_VARIABLES = frozenset(f"true false null in optional {_TYPE_NAMES}".split())
"""Names that never stand for a value of a scope: literals, operators and types."""


@attrs.frozen(eq=False)
class CompiledExpression:
    """A compiled CEL expression."""

    reads: tuple[Read, ...]
    evaluate: Callable[[Scope], Any]


def parse_cel(body: str, start: int, at: KeyPath) -> CompiledExpression:
    """Compile the expression `body`, which starts at offset `start` of its string.

    `at` is the key path of the string in its value. Raises BadExpression with the offsets of the mistake.
    """
    try:
        program = compile_cel(body)
    except ValueError as error:
        raise _build_syntax_error(body, start, at, str(error)) from None
    reads = tuple(_iter_reads(body, start, at))

    def evaluate(scope: Scope) -> Any:
        try:
            check_integers(reads, scope)
            return _to_json(program.execute(_build_variables(reads, scope)), body)
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            raise EvaluationError(_describe_failure(body, reads, scope, error)) from None

    return CompiledExpression(reads, evaluate)


def _build_variables(reads: tuple[Read, ...], scope: Scope) -> dict[str, Any]:
    """Build the variables for the library: the roots that are read, with an empty map for each that only `has()` reads."""
    values: dict[str, Any] = {}
    for read in reads:
        root = str(read.path[0])
        if root in scope:
            values[root] = scope[root]
        elif read.may_be_absent:
            values[root] = {}
    for read in reads:
        match read.path:
            case ("steps", str(step), _, *_) if read.may_be_absent and step not in values["steps"]:
                values["steps"] = {**values["steps"], step: {}}
    return values


# -- errors ------------------------------------------------------------------------------------

_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (Syntax error: )?(.*)")
_EXPECTING = re.compile(r"\s*expecting [\s\S]*")


def _build_syntax_error(body: str, start: int, at: KeyPath, message: str) -> BadExpression:
    errors = list(_ERROR.finditer(message))
    found = next((error for error in errors if error[3]), errors[0] if errors else None)
    if not found:
        return BadExpression(f"`{body}` is not an expression", start, start + len(body), None, at)
    before = body.split("\n")[: int(found[1]) - 1]
    offset = min(sum(len(line) + 1 for line in before) + int(found[2]), len(body)) - 1
    token = _TOKEN.match(body, offset)
    end = token.end() if token else offset + 1
    why, advice = translate_syntax_error(_EXPECTING.sub("", found[4]))
    return BadExpression(f"not a CEL expression: {why}", start + offset, start + end, advice, at)


def _describe_failure(body: str, reads: tuple[Read, ...], scope: Scope, error: Exception) -> str:
    if isinstance(error, EvaluationError):
        return str(error)
    for read in reads:
        if not read.may_be_absent and (
            message := describe_missing(scope, read.path, format_path(read.path))
        ):
            return message
    if isinstance(error, KeyError):
        return f"`{body}`: there is no `{error.args[0]}`"
    return f"`{body}`: {translate_runtime_error(str(error), _TOKEN.finditer(body), reads, scope)}"


def _to_json(value: Any, body: str) -> Any:
    """Convert a CEL value to JSON, keys sorted since maps of CEL have no order.

    Raises EvaluationError for a value that JSON does not have.
    """
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _to_json(value[key], body) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_to_json(item, body) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise EvaluationError(
        f"`{body}` gives a value that JSON cannot represent: {describe_non_json(value)}"
    )


# -- reads -------------------------------------------------------------------------------------

_TOKEN = re.compile(
    rf"""(?P<skip>\s+|//[^\n]*) | (?P<string>{STRING_PATTERN}) | (?P<number>[0-9][0-9A-Za-z_.]*)
    | (?P<name>[A-Za-z_]\w*) | (?P<other>[\s\S])""",
    re.ASCII | re.VERBOSE,
)
_PATH_PART = re.compile(
    rf"""\s*\.\s*(?P<name>[A-Za-z_]\w*)(?!\w)(?!\s*\()
    | \s*\[\s*(?:(?P<index>[0-9]{{1,9}})|(?P<key>{QUOTED_PATTERN}))\s*\]""",
    re.ASCII | re.VERBOSE,
)


@attrs.frozen
class _Path:
    """A path and its position in the expression; `in_has` is whether it is the argument of a `has()`."""

    parts: tuple[str | int, ...]
    start: int
    end: int
    in_has: bool


def _iter_reads(body: str, start: int, at: KeyPath) -> Iterator[Read]:
    tokens = [token for token in _TOKEN.finditer(body) if token.lastgroup != "skip"]
    _check_calls(tokens, start, at)
    found = list(_iter_paths(body, tokens))
    asked = {path.parts for path in found if path.in_has}
    for path in found:
        guarded = any(path.parts[: len(parts)] == parts for parts in asked)
        yield Read(
            path.parts, guarded, at, start + path.start, start + path.end, is_whole_expression=False
        )


def _check_calls(tokens: list[re.Match[str]], start: int, at: KeyPath) -> None:
    """Raise BadExpression for unknown functions, and for values of CEL that the library does not support."""
    texts = ["", *(token[0] for token in tokens), ""]
    for before, token, after in zip(texts, tokens, texts[2:], strict=False):
        if token.lastgroup != "name":
            continue
        place = (start + token.start(), start + token.end())
        if after == "(" and token[0] not in FUNCTIONS:
            guess = closest_match(token[0], FUNCTIONS)
            advice = f"did you mean `{guess}`?" if guess else None
            raise BadExpression(f"there is no function `{token[0]}`", *place, advice, at)
        if after == "{" and token[0] != "in":
            raise BadExpression("message literals are not supported, only maps", *place, None, at)
        if before == "." and _has_no_operand(texts, token, tokens):
            raise BadExpression("a name cannot begin with `.`", *place, None, at)


def _has_no_operand(texts: list[str], token: re.Match[str], tokens: list[re.Match[str]]) -> bool:
    """Return whether the `.` before a name follows no value."""
    index = tokens.index(token)
    behind = texts[index - 1]
    return not (behind[-1:].isalnum() or behind[-1:] in ('"', "'", ")", "]", "}", "_"))


def _iter_paths(body: str, tokens: list[re.Match[str]]) -> Iterator[_Path]:
    bound = list(_iter_bound_variables(tokens))
    texts = ["", "", *(token[0] for token in tokens), ""]
    resume = 0
    for index, token in enumerate(tokens):
        has, before, name, after = texts[index : index + 4]
        if token.lastgroup != "name" or token.start() < resume:
            continue
        if before == "." or after == "(" or name in _NON_VARIABLES:
            continue
        if any(name == local and token.start() in inside for local, inside in bound):
            continue
        parts, resume = _parse_path(body, token)
        yield _Path(parts, token.start(), resume, in_has=before == "(" and has == "has")


def _parse_path(body: str, name: re.Match[str]) -> tuple[tuple[str | int, ...], int]:
    parts: list[str | int] = [name[0]]
    end = name.end()
    while step := _PATH_PART.match(body, end):
        if step["key"]:
            parts.append(unquote(step["key"]))
        else:
            parts.append(step["name"] or int(step["index"]))
        end = step.end()
    return tuple(parts), end


def _iter_bound_variables(tokens: list[re.Match[str]]) -> Iterator[tuple[str, range]]:
    """Yield the variable of each macro with the range of offsets in which it is bound."""
    texts = [token[0] for token in tokens]
    for index, text in enumerate(texts[:-3]):
        if text in MACROS and index and texts[index - 1] == "." and texts[index + 1] == "(":
            depths = _iter_depths(texts[index + 1 :])
            inside = len(list(takewhile(bool, depths)))
            yield texts[index + 2], range(tokens[index].end(), tokens[index + 1 + inside].end())


def _iter_depths(texts: list[str]) -> Iterator[int]:
    depth = 0
    for text in texts:
        depth += {"(": 1, ")": -1}.get(text, 0)
        yield depth
