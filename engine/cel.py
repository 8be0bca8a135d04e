"""CEL expressions, by the library of that language; imported only when a spec has one.

What an expression reads is found by scanning its tokens: a name that is neither a field, nor a function, nor bound by a macro,
with the constant path behind it. Absent nodes are empty maps to CEL, so that `has(a.x)` is false where `a` has no output.
Source: LANGUAGE.md section 9; the CEL specification for the language itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import attrs
from cel import compile as compile_cel

from engine.expressions import BadExpression, EvaluationError, Read, Scope, path_of
from engine.source import KeyPath

__all__ = ["Cel", "compile"]


@attrs.frozen(eq=False)
class Cel:
    """A compiled expression."""

    reads: tuple[Read, ...]
    evaluate: Callable[[Scope], Any]


_ERROR = re.compile(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)")
_EXPECTING = re.compile(r"\s*expecting .*", re.S)


def compile(body: str, start: int, at: KeyPath) -> Cel:
    """Parse an expression that stands at offset `start` of its string; BadExpression says where it goes wrong."""
    try:
        program = compile_cel(body)
    except ValueError as error:
        raise _bad(body, start, at, str(error)) from None
    reads = tuple(_reads(body, start, at))
    roots = {str(read.path[0]) for read in reads}

    def evaluate(scope: Scope) -> Any:
        values = {root: scope.get(root, {}) for root in roots}
        try:
            return _json(program.execute(values), body)
        except KeyError as error:
            raise EvaluationError(f"`{body}`: there is no {error}") from None
        except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
            raise EvaluationError(f"`{body}`: {_short(str(error))}") from None

    return Cel(reads, evaluate)


def _short(message: str) -> str:
    sentence = message.strip().split("\n")[0].split(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:]


def _bad(body: str, start: int, at: KeyPath, message: str) -> BadExpression:
    found = _ERROR.search(message)
    if not found:
        return BadExpression(f"`{body}` is not an expression", start, start + len(body), None, at)
    lines = body.split("\n")
    row, column = int(found[1]), int(found[2])
    offset = sum(len(line) + 1 for line in lines[: row - 1]) + column - 1
    where = start + min(offset, max(len(body) - 1, 0))
    why = _EXPECTING.sub("", found[3]).replace("'<EOF>'", "the end")
    return BadExpression(f"not a CEL expression: {why}", where, where + 1, None, at)


def _json(value: Any, body: str) -> Any:
    """A CEL value as JSON: maps and lists through, times as text; what JSON lacks is an error."""
    if isinstance(value, Mapping):
        return {str(k): _json(v, body) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(v, body) for v in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise EvaluationError(f"`{body}` gives a value that JSON does not have: {value!r}")


# -- what it reads ---------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"""(?P<skip>\s+|//[^\n]*)|(?P<string>[rRbB]{0,2}(?:\"\"\".*?\"\"\"|'''.*?'''|"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'))"""
    r"""|(?P<number>[0-9][0-9A-Za-z_.]*)|(?P<name>[A-Za-z_]\w*)|(?P<other>.)""",
    re.S | re.A,
)
_TAIL = re.compile(r"""(?:\s*\.\s*[A-Za-z_]\w*(?!\w)(?!\s*\()|\[\s*(?:[0-9]+|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')\s*\])*""", re.A)
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_WORDS = frozenset({"true", "false", "null", "in"})


def _reads(body: str, start: int, at: KeyPath) -> Iterator[Read]:
    found = list(_paths(body))
    guards = {path for path, _, _, guard in found if guard}
    for path, begin, end, guard in found:
        guarded = guard or any(path[: len(g)] == g for g in guards)
        yield Read(path, guarded, at, start + begin, start + end)


def _paths(body: str) -> Iterator[tuple[tuple[str | int, ...], int, int, bool]]:
    """Every path with its place, and whether it is the argument of `has()`."""
    tokens = [t for t in _TOKEN.finditer(body) if t.lastgroup != "skip"]
    bound = {
        tokens[i + 2][0]
        for i, token in enumerate(tokens[:-2])
        if token[0] in _MACROS and i and tokens[i - 1][0] == "." and tokens[i + 1][0] == "("
    }
    resume = 0
    for i, token in enumerate(tokens):
        if token.lastgroup != "name" or token.start() < resume:
            continue
        before = tokens[i - 1][0] if i else ""
        after = tokens[i + 1][0] if i + 1 < len(tokens) else ""
        if before == "." or after == "(" or token[0] in bound or token[0] in _WORDS:
            continue
        if after == ":" and before in ("{", ",") and _in_message(tokens, i):
            continue
        tail = _TAIL.match(body, token.end())
        resume = tail.end() if tail else token.end()
        guard = before == "(" and i >= 2 and tokens[i - 2][0] == "has"
        yield path_of(re.sub(r"\s+", "", body[token.start() : resume])), token.start(), resume, guard


def _in_message(tokens: list[re.Match[str]], i: int) -> bool:
    """Whether a name before `:` is a field of a message literal `Type{field: …}` rather than a key of a map."""
    depth = 0
    for back in range(i - 1, 0, -1):
        if tokens[back][0] == "}":
            depth += 1
        elif tokens[back][0] == "{":
            if not depth:
                return tokens[back - 1].lastgroup == "name"
            depth -= 1
    return False
