"""`${…}` against a naive evaluator, what it reads, and what is said of one that is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from cel import compile as compile_cel
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.expressions import cel
from engine.expressions.model import BadExpression, EvaluationError, Template
from engine.expressions.templates import parse_condition, parse_template
from engine.toml.key_paths import format_path

ABSENT = object()


def evaluate(value: Any, **scope: Any) -> Any:
    return parse_template(value).evaluate(scope)


def reads(made: Template) -> list[tuple[str, bool]]:
    return [(format_path(read.path), read.may_be_absent) for read in made.reads]


# --------------------------------------------------------------------------------- the naive way


def look_up(scope: Any, path: list[Any]) -> Any:
    for part in path:
        if not isinstance(scope, dict if isinstance(part, str) else list):
            return ABSENT
        try:
            scope = scope[part]
        except LookupError:
            return ABSENT
    return scope


def naive(tree: Any, scope: Any) -> Any:
    """What a tree of `trees()` means; ABSENT if something it reads is not there."""
    if isinstance(tree, dict):
        found = {key: naive(item, scope) for key, item in tree.items()}
        return ABSENT if ABSENT in found.values() else found
    if isinstance(tree, list):
        items = [naive(item, scope) for item in tree]
        return ABSENT if any(item is ABSENT for item in items) else items
    if not isinstance(tree, tuple):
        return tree
    pieces = [piece for piece in tree if piece]
    values = [piece if isinstance(piece, str) else read(piece, scope) for piece in pieces]
    if any(value is ABSENT for value in values):
        return ABSENT
    if len(values) == 1:
        return values[0]
    return "".join(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values)


def read(piece: dict[str, Any], scope: Any) -> Any:
    value = look_up(scope, piece["path"])
    return piece["default"] if "default" in piece and value in (ABSENT, None) else value


def written(tree: Any) -> Any:
    """A tree as it stands in a spec."""
    if isinstance(tree, dict):
        return {key: written(item) for key, item in tree.items()}
    if isinstance(tree, list):
        return [written(item) for item in tree]
    return "".join(map(piece_text, tree)) if isinstance(tree, tuple) else tree


def piece_text(piece: Any) -> str:
    if isinstance(piece, str):
        return piece.replace("${", "$${")
    path = piece["path"][0] + "".join(map(part_text, piece["path"][1:]))
    default = (
        f" ?? {json.dumps(piece['default'], ensure_ascii=False)}" if "default" in piece else ""
    )
    return f"${{{path}{default}}}"


def part_text(part: Any) -> str:
    if isinstance(part, int):
        return f"[{part}]"
    return (
        f".{part}"
        if part.isidentifier() and part.isascii()
        else f"[{json.dumps(part, ensure_ascii=False)}]"
    )


NAMES = st.sampled_from(["a", "b", "x_1", "two words", "it's", 'say "hi"', "}", "é", "\\", "\n"])
SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.just(0.5) | st.text(max_size=4)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
SCOPES = st.dictionaries(st.sampled_from(["n", "m"]), JSON)
PATHS = st.tuples(st.sampled_from(["n", "m"]), st.lists(NAMES | st.integers(0, 2), max_size=3)).map(
    lambda parts: [parts[0], *parts[1]]
)
READS = st.fixed_dictionaries({"path": PATHS}, optional={"default": SCALARS})
TEXTS = st.text(st.sampled_from("ab{}$?'\" \n")).filter(lambda text: not text.endswith("$"))


@st.composite
def strings(draw: st.DrawFn) -> tuple[Any, ...]:
    """Pieces of a string; two texts do not touch."""
    pieces = draw(st.lists(READS, max_size=3))
    return tuple(p for piece in pieces for p in (draw(TEXTS), piece) if p) + (draw(TEXTS),) * (
        not pieces or draw(st.booleans())
    )


TREES = st.recursive(
    strings() | READS.map(lambda piece: (piece,)) | st.booleans() | st.integers() | st.just(1.5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=5,
)


@given(TREES, SCOPES)
@example(({"path": ["n"]},), {"n": None})
@example(({"path": ["n"], "default": 1},), {"n": None})
@example(({"path": ["n", "a"], "default": None},), {})
@example(("${", {"path": ["n"]}, "}"), {"n": [1, {"a": None}]})
def test_a_template_gives_what_it_means(tree: Any, scope: dict[str, Any]) -> None:
    made = parse_template(written(tree))
    expected = naive(tree, scope)
    if expected is ABSENT:
        with pytest.raises(EvaluationError):
            made.evaluate(scope)
    else:
        assert repr(made.evaluate(scope)) == repr(expected)


@given(TREES)
def test_what_reads_nothing_is_constant(tree: Any) -> None:
    made = parse_template(written(tree))
    assert made.is_constant == (not made.reads)
    if made.is_constant:
        assert made.evaluate({}) == naive(tree, {})


@given(st.lists(NAMES | st.integers(0, 2)), st.booleans())
def test_what_is_read_is_where_it_is_written(path: list[Any], guarded: bool) -> None:
    text = f"x {piece_text({'path': ['n', *path], **({'default': 1} if guarded else {})})} y"
    (found,) = parse_template({"k": ["", text]}).reads
    assert found.path == ("n", *path)
    assert found.may_be_absent == guarded
    assert found.key_path == ("k", 1)
    assert text[found.start : found.end] == "n" + "".join(map(part_text, path))


@given(st.lists(NAMES | st.integers(0, 2), max_size=3), SCOPES)
def test_cel_agrees_on_plain_paths(path: list[Any], scope: dict[str, Any]) -> None:
    text = "n" + "".join(map(part_text, path))
    expected = look_up(scope, ["n", *path])
    found = cel.parse_cel(text, 0, ())
    assert [read.path for read in found.reads] == [("n", *path)]
    if expected is ABSENT:
        with pytest.raises(EvaluationError):
            found.evaluate(scope)
    else:
        assert json.dumps(found.evaluate(scope)) == json.dumps(expected, sort_keys=True)


@given(st.text(st.sampled_from("a\\\"'nxu01f{}é\n\t")))
def test_strings_are_those_of_cel(text: str) -> None:
    try:
        expected = compile_cel(f'"{text}"').execute({})
    except ValueError:
        return
    if isinstance(expected, str):
        assert evaluate(f'${{n ?? "{text}"}}') == expected


@given(st.text(st.sampled_from("ab.?[]0'\"${} x+(")))
def test_any_text_is_a_template_or_a_bad_one(text: str) -> None:
    for make in (parse_template, parse_condition):
        spans: list[tuple[int, int]] = []
        try:
            spans += [(read.start, read.end) for read in make(text).reads]
        except BadExpression as error:
            spans.append((error.start, error.end))
        assert all(0 <= start < max(end, 1) <= max(len(text), 1) for start, end in spans)


# --------------------------------------------------------------------------------- what it gives


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${n}", {"x": [1, "two"], "none": None}),
        ("${n.x}", [1, "two"]),
        ("${ n.x[1] }", "two"),
        ("${n['x'][0]}", 1),
        ('${n["x"][0]}', 1),
        ("<${n.x}>", '<[1, "two"]>'),
        ("${n.x[0]}${n.x[1]}", "1two"),
        ("${n.none}", None),
        ("${n.none}!", "null!"),
        ("${n.none ?? 'x'}", "x"),
        ("${n.y ?? 'x'}", "x"),
        ("${n.x[9] ?? -1.5e1}", -15.0),
        ("${m ?? null}", None),
        ("${m ?? true}", True),
        ("${n.x.y ?? ''}", ""),
        ("${n.y??'}'}", "}"),
        ("$${n}", "${n}"),
        ("$$${n}", "$${n}"),
        ("$${${n.x[0]}}", "${1}"),
        ("$", "$"),
        ("{n}", "{n}"),
        ("${'a' + 'b'}", "ab"),
        ("${size(n.x) > 1 ? 'many' : 'one'}", "many"),
        ("${{'k': n.x[0]}}", {"k": 1}),
        ("${{'}': 1}['}']}", 1),
        ("${n.x.map(v, string(v))}", ["1", "two"]),
        ("${has(n.y) ? n.y : 3}", 3),
        ("${has(m.y)}", False),
        ("${has(steps.s.y)}", False),
        ("${'a' // }\n}", "a"),
        ("${'''it's }'''}", "it's }"),
        (r"${r'\}'}", r"\}"),
        ("${true}", True),
        ("${1.0}", 1.0),
    ],
)
def test_values(text: str, expected: Any) -> None:
    scope = {"n": {"x": [1, "two"], "none": None}, "steps": {}}
    assert repr(parse_template(text).evaluate(scope)) == repr(expected)


@pytest.mark.parametrize("text", ["n.x > 1", "${n.x > 1}", "  ${n.x > 1}\n", "${ n.x > 1 }"])
def test_a_condition_may_be_bare(text: str) -> None:
    made = parse_condition(text)
    assert made.evaluate({"n": {"x": 2}}) is True
    assert [text[read.start : read.end] for read in made.reads] == ["n.x"]


def test_a_value_is_never_shared() -> None:
    made = parse_template({"list": [1]})
    made.evaluate({})["list"].append(2)
    assert made.evaluate({}) == {"list": [1]}


def test_plain_paths_do_not_need_the_cel_library() -> None:
    code = (
        "import sys; from engine.expressions.templates import parse_condition, parse_template;"
        "parse_template({'a': ['${x.y[0]}', 'b ${x ?? 1}']}); parse_condition('x.y ?? false');"
        "sys.exit('cel' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${m.x}", "`m.x`: `m` has no output"),
        ("${steps.s.x}", "`steps.s.x`: `s` has no output"),
        ("${n.y.z}", "`n.y.z`: object `n` has no field `y`"),
        ("${n.x[2]}", "`n.x[2]`: array `n.x` has no item 2"),
        ("${n.x.y}", "`n.x.y`: array `n.x` has no field `y`"),
        ("${n.x[1].y}", "`n.x[1].y`: string `n.x[1]` has no field `y`"),
        ("${n.none.y}", "`n.none.y`: null `n.none` has no field `y`"),
        ("${n.x[0].y}", "`n.x[0].y`: number `n.x[0]` has no field `y`"),
        ("${n.yes[0]}", "`n.yes[0]`: boolean `n.yes` has no item 0"),
        ("${inputs.a}", "`inputs.a`: object `inputs` has no field `a`"),
        ("${size(m) + 1}", "`m`: `m` has no output"),
        ("${n.y + 1}", "`n.y`: object `n` has no field `y`"),
        ("${n[inputs.k] + 1}", "`inputs.k`: object `inputs` has no field `k`"),
        ("${n['a' + 'b'] + 1}", "`n['a' + 'b'] + 1`: there is no `ab`"),
        ("${n.x[0] / 0}", "`n.x[0] / 0`: division by zero"),
        (
            "${{1: 2}}",
            "`{1: 2}` gives a value that JSON cannot represent: an object with keys that are not strings",
        ),
        (
            "${double('nan')}",
            "`double('nan')` gives a value that JSON cannot represent: not a number",
        ),
        ("${[b'x']}", "`[b'x']` gives a value that JSON cannot represent: bytes"),
    ],
)
def test_what_is_missing_is_named(text: str, message: str) -> None:
    scope = {"n": {"x": [1, "two"], "none": None, "yes": True}, "steps": {}, "inputs": {}}
    with pytest.raises(EvaluationError) as caught:
        parse_template(text).evaluate(scope)
    assert str(caught.value) == message


TYPES = "the types do not fit the operation"
CURE = "types are not converted implicitly, write"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "n.i + 1.5",
            f"{TYPES}: `n.i` is an integer, `1.5` is a number; {CURE} `double(n.i)`",
        ),
        (
            "n.f + 1",
            f"{TYPES}: `n.f` is a number, `1` is an integer; {CURE} `double(1)`",
        ),
        (
            "n.s + n.i",
            f"{TYPES}: `n.s` is a string, `n.i` is an integer; {CURE} `string(n.i)`",
        ),
        ("!n.o", f"{TYPES}: `n.o` is an object"),
        ("n.l[n.s]", f"{TYPES}: `n.l` is an array, `n.s` is a string"),
        ("size(n.i)", "`size` does not accept these types: `n.i` is an integer"),
        ("n.i % 0", "remainder of a division by zero"),
        ("9223372036854775807 + n.i", "an integer of more than 64 bits"),
        ("int(1e30)", "an integer of more than 64 bits"),
        ("n.l[n.i]", "there is no item 3"),
        ("n.s.matches('(')", "`(` is not a valid regular expression"),
        ("timestamp(n.s)", "`timestamp` cannot convert its argument"),
        ("{1.5: 2}", "a floating-point number cannot be the key of a map"),
    ],
)
def test_what_cannot_be_evaluated_is_told_in_our_words(text: str, message: str) -> None:
    scope = {"n": {"i": 3, "f": 1.5, "s": "x", "o": {}, "l": [1]}}
    with pytest.raises(EvaluationError) as caught:
        parse_template(f"${{{text}}}").evaluate(scope)
    assert str(caught.value) == f"`{text}`: {message}"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("timestamp('2024-01-01T00:00:00Z')", "a timestamp"),
        ("duration('1s')", "a duration"),
        ("1.0 / 0.0", "an infinite number"),
        ("optional.of(1)", "a value of a type that only CEL has"),
    ],
)
def test_values_that_json_does_not_have_are_named(text: str, what: str) -> None:
    with pytest.raises(EvaluationError, match=f"a value that JSON cannot represent: {what}$"):
        parse_template(f"${{{text}}}").evaluate({})


@pytest.mark.parametrize("text", ["[n.x]", "n.x + 1", "size(n)", "n.y.map(v, v)"])
@pytest.mark.parametrize("value", [9007199254740993000000, 2**64, -(2**63) - 1])
def test_integers_of_more_than_64_bits_are_refused_not_rounded(text: str, value: int) -> None:
    with pytest.raises(EvaluationError, match=f"the integer {value} has more than 64 bits"):
        parse_template(f"${{{text}}}").evaluate({"n": {"x": value, "y": [value]}})


@pytest.mark.parametrize("value", [2**63 - 1, 2**64 - 1, -(2**63)])
def test_integers_of_64_bits_are_kept(value: int) -> None:
    assert parse_template("${[n.x]}").evaluate({"n": {"x": value, "y": 2**70}}) == [value]
    assert parse_template("${n.y}").evaluate({"n": {"y": 2**70}}) == 2**70


@given(st.text("n.x1'\"()[]{}+-*/?:,!=<>&|% and", max_size=12))
@settings(deadline=None)
def test_no_message_is_the_librarys(text: str) -> None:
    assert not re.search("mismatched|extraneous|viable|recognition|overload|Error", said(text))


def said(text: str) -> str:
    try:
        parse_template(f"${{{text} + n.x}}").evaluate({"n": {"x": 1}})
    except (BadExpression, EvaluationError) as error:
        return str(error)
    return ""


def test_a_null_output_is_there() -> None:
    assert evaluate("${n == null}", n=None) is True


def test_what_is_not_reached_need_not_be_there() -> None:
    assert evaluate("${true || m.x > 1}") is True


# --------------------------------------------------------------------------------- what it reads


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("n.x + m.y", [("n.x", False), ("m.y", False)]),
        ("n.x.size()", [("n.x", False)]),
        ("n . x\n[ 0 ] . y > 1", [("n.x[0].y", False)]),
        ("n['two words'].x == 1", [('n["two words"].x', False)]),
        ("n[m.i].x == 1", [("n", False), ("m.i", False)]),
        ("n['a' + 'b'] == 1", [("n", False)]),
        ("n[1 + 1] == 1", [("n", False)]),
        ("has(n.x) && n.x > 1", [("n.x", True), ("n.x", True)]),
        ("has(n.x) && n.x.y > 1", [("n.x", True), ("n.x.y", True)]),
        ("has(n.x.y) && n.x.z > 1", [("n.x.y", True), ("n.x.z", False)]),
        ("has ( n.x ) || m.x", [("n.x", True), ("m.x", False)]),
        ("n.all(v, v.x > m.x)", [("n", False), ("m.x", False)]),
        ("n.x.exists(m, m.y) && m.z", [("n.x", False), ("m.z", False)]),
        ("n.map(v, v.map(w, w + v))", [("n", False)]),
        ("n.filter(v, has(v.x))", [("n", False)]),
        ("'n.x' + \"m.y\" + n.z", [("n.z", False)]),
        ("'''m.x ' ''' + n.z", [("n.z", False)]),
        (r"r'\' + n.z", [("n.z", False)]),
        ("{'m': n.x, n.k: 1}", [("n.x", False), ("n.k", False)]),
        ("{n.k: {'a': n.x}}", [("n.k", False), ("n.x", False)]),
        ("n.x // m.y\n + 1", [("n.x", False)]),
        ("[n.x, true, null, 1.5e3, 0x1F, 1u]", [("n.x", False)]),
        ("'a' in n.x", [("n.x", False)]),
        ("n.x in {'é': 1}", [("n.x", False)]),
        ("type(n.x) == string", [("n.x", False)]),
        ("int(n.x) + size(n.y)", [("n.x", False), ("n.y", False)]),
        ("-n.x", [("n.x", False)]),
        ("n.x ? m.y : k.z", [("n.x", False), ("m.y", False), ("k.z", False)]),
        ("timestamp(n.at).getFullYear() > 2000", [("n.at", False)]),
        ("optional.of(n.x).orValue(1)", [("n.x", False)]),
        ("(n).x", [("n", False)]),
    ],
)
def test_reads_of_cel(text: str, expected: list[tuple[str, bool]]) -> None:
    made = parse_template(f"${{{text}}}")
    assert reads(made) == expected


def test_reads_of_cel_are_where_they_are_written() -> None:
    text = "a ${n.x[0] + 1} b ${m.y}"
    assert [text[r.start : r.end] for r in parse_template(text).reads] == ["n.x[0]", "m.y"]


@pytest.mark.parametrize("name", sorted(cel.FUNCTIONS - cel.MACROS - {"has"}))
def test_functions_are_those_of_the_library(name: str) -> None:
    receivers = [f"optional.{name}(1)", f"optional.{name}()", f"optional.of(1).{name}(1)"]
    receivers += [f"optional.of(1).{name}()", f"{name}('1')", f"'1'.{name}('1')"]
    receivers += [f"{name}('1s')", f"{name}('2024-01-01T00:00:00Z')"]
    receivers += [f"timestamp('2024-01-01T00:00:00Z').{name}()"]
    assert any(runs(text) for text in receivers)


def runs(text: str) -> bool:
    try:
        compile_cel(text).execute({})
    except (RuntimeError, ValueError, TypeError):
        return False
    return True


# --------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        ("a ${n.x", "${", "`${` is not closed"),
        ("${n.x ?? '}", "'", "expected a literal after `??`"),
        ("${n // }", "${", "`${` is not closed"),
        ("a ${} b", "${}", "empty expression"),
        ("a ${  } b", "${  }", "empty expression"),
        ("${n.x ?? }", "??", "expected a literal after `??`"),
        ("${n.x ?? m.y}", "m.y", "expected a literal after `??`"),
        ("${n.x ?? 007}", "007", "expected a literal after `??`"),
        ("${n.x ?? 1e999}", "1e999", "expected a literal after `??`"),
        (r"${n.x ?? '\d'}", r"'\d'", "expected a literal after `??`"),
        ("${n.x ?? 1 ?? 2}", "1 ?? 2", "expected a literal after `??`"),
        ("${n.x + 1 ?? 2}", "??", "`??` needs a plain path on its left and a literal on its right"),
        (
            "${'??' + (n ?? 2)}",
            "??",
            "`??` needs a plain path on its left and a literal on its right",
        ),
        ("${n.x +}", "+", "not a CEL expression: the expression ends too early"),
        ("a ${n.x ++ 1}", "+", "not a CEL expression: `+` is not expected here"),
        ("${n.x\n + * 1}", "*", "not a CEL expression: `*` is not expected here"),
        ("${n.x == 1 and m}", "and", "not a CEL expression: `and` is not an operator"),
        ("${has(n)}", "n", "not a CEL expression: `has()` needs a field"),
        ("${1 + lenght(n.x)}", "lenght", "there is no function `lenght`"),
        ("${n.x.upper()}", "upper", "there is no function `upper`"),
        ("${Foo{a: 1}}", "Foo", "message literals are not supported, only maps"),
        ("${1 + .n.x}", "n", "a name cannot begin with `.`"),
        ("${n.x.}", ".", "not a CEL expression: `.` must be followed by a name"),
        ("${n.x =}", "=", "not a CEL expression: `=` is not an operator"),
        ("${n.x & m}", "&", "not a CEL expression: `&` is not an operator"),
        ("${(n.x}", "x", "not a CEL expression: `)` is missing at the end"),
        ("${[1 2]}", "2", "not a CEL expression: `2` is not expected here"),
        ("${{1 2}}", "2", "not a CEL expression: `:` is missing before `2`"),
        ("${n # m}", "#", "not a CEL expression: `#` has no meaning here"),
        (
            "${1 + 99999999999999999999}",
            "99999999999999999999",
            "not a CEL expression: the integer has more than 64 bits",
        ),
        (
            f"${{{'(' * 99}1{')' * 99}}}",
            "(",
            "not a CEL expression: the expression is nested too deeply",
        ),
    ],
)
def test_bad_expressions(text: str, marked: str, message: str) -> None:
    with pytest.raises(BadExpression) as caught:
        parse_template(text)
    error = caught.value
    assert (text[error.start : error.end], error.message) == (marked, message)


@pytest.mark.parametrize("text", ["a ${n.x}", "${n.x} b", "${n.x}${n.y}", "$${n.x}"])
def test_a_condition_is_no_text(text: str) -> None:
    with pytest.raises(BadExpression, match="one expression, not text"):
        parse_condition(text)


def test_a_bare_condition_may_have_an_escape_in_its_strings() -> None:
    text = "n.x == '$${x}' + '$${' + m.y"
    made = parse_condition(text)
    assert [text[r.start : r.end] for r in made.reads] == ["n.x", "m.y"]
    assert made.evaluate({"n": {"x": "${x}${z"}, "m": {"y": "z"}}) is True


def test_what_is_wrong_behind_an_escape_is_found_where_it_is_written() -> None:
    text = "n.x == '$${x}' + lenght(n.y)"
    with pytest.raises(BadExpression) as caught:
        parse_condition(text)
    assert text[caught.value.start : caught.value.end] == "lenght"


def test_a_bad_string_is_found_in_a_table() -> None:
    with pytest.raises(BadExpression) as caught:
        parse_template({"a": [1, {"b": "${"}]})
    assert caught.value.key_path == ("a", 1, "b")


def test_the_nearest_function_is_offered() -> None:
    with pytest.raises(BadExpression) as caught:
        parse_template("${startwith('a')}")
    assert caught.value.help == "did you mean `startsWith`?"
