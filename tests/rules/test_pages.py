"""Pages and fixtures: what each says about itself is what `check` finds, no more and no less.

`# ^ E301` at the end of a line, or alone on the line below, says that these findings start there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import rules
from engine.analysis import node_reachability
from engine.api import check
from engine.diagnostics import Rule
from engine.diagnostics.codes import CODES
from engine.rules import RULES
from engine.toml.source import Source

FOLDER = Path(rules.__file__).parent
FIXTURES = Path(__file__).parents[1] / "fixtures"
ALL = (*CODES, *(rule for rule, _ in RULES))
NOT_RULES = {"__init__", "locations", "scenario_notes"}
CONTRACT = """
    E101 syntax E102 unknown-key E103 wrong-type E104 bad-name E105 missing-key
    E201 unknown-name E202 dependency-cycle E203 unknown-exit E204 pipeline-recursion
    E301 infinite-retry E302 unreachable-step E303 no-way-out W304 unrouted-exit W305 dead-route
    W306 retry-on-success E401 unreachable-node E402 never-succeeds E501 missing-value
    E502 type-mismatch E503 unknown-field E504 missing-input E505 bad-expression E506 state-race
    E601 limit-exceeded W602 deadline-too-short W603 unbounded-time W701 unused
    W702 unused-ignore
"""
"""The codes and names that the language promises (docs/language.md, "Diagnostics")."""

Marks = list[tuple[int, str]]
MARK = re.compile(r"(?P<code>.*?)\s*# \^ (?P<codes>[EWN]\d{3}(?: [EWN]\d{3})*)")


def marks(text: str) -> Marks:
    """The findings that a text says it has: line and code, in order."""
    found: Marks = []
    above = 0
    for number, line in enumerate(text.splitlines(), 1):
        marked = MARK.fullmatch(line)
        if marked is None or marked["code"]:
            above = number
        if marked:
            found += [(above, code) for code in marked["codes"].split()]
    return sorted(found)


def findings(source: Source) -> Marks:
    return sorted((each.span.line, each.rule.code) for each in check(source))


def fixtures(kind: str) -> list[Path]:
    return sorted((FIXTURES / kind).glob("*.toml"))


def by_stem(path: Path) -> str:
    return path.stem


def page(rule: Rule) -> Path:
    return FOLDER / f"{rule.name.replace('-', '_')}.md"


def examples(text: str, heading: str) -> Iterator[str]:
    """The TOML blocks under a heading of a page."""
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    yield from re.findall(r"```toml\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize("path", fixtures("err"), ids=by_stem)
def test_a_wrong_spec_gives_what_it_says(path: Path) -> None:
    text = path.read_text()
    assert marks(text)
    assert findings(Source(path, text)) == marks(text)


@pytest.mark.parametrize("path", fixtures("ok"), ids=by_stem)
def test_a_right_spec_gives_nothing(path: Path) -> None:
    assert [str(each) for each in check(path)] == []


@pytest.mark.parametrize("path", fixtures("lab/wrong"), ids=by_stem)
def test_what_other_checkers_let_pass_is_found(path: Path) -> None:
    text = path.read_text()
    assert marks(text)
    assert findings(Source(path, text)) == marks(text)


def test_what_other_checkers_let_pass_is_silent_once_it_is_right() -> None:
    right = fixtures("lab/right")
    assert [path.stem for path in right] == [path.stem for path in fixtures("lab/wrong")]
    assert [str(each) for path in right for each in check(path)] == []


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_a_page_describes_its_rule(rule: Rule) -> None:
    text = page(rule).read_text()
    assert text.startswith(f"# {rule.code} {rule.name}\n\n")
    wrong = list(examples(text, "Wrong"))
    assert wrong
    assert list(examples(text, "Right"))
    for example in wrong:
        assert rule.code in {code for _, code in marks(example)}


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_the_wrong_examples_of_a_page_give_what_they_say(rule: Rule) -> None:
    for example in examples(page(rule).read_text(), "Wrong"):
        assert findings(Source("page.toml", example)) == marks(example)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_the_right_examples_of_a_page_give_nothing(rule: Rule) -> None:
    for example in examples(page(rule).read_text(), "Right"):
        assert [str(each) for each in check(Source("page.toml", example))] == []


def test_every_page_and_every_file_is_a_rules_own() -> None:
    names = {rule.name.replace("-", "_") for rule in ALL}
    assert {path.stem for path in FOLDER.glob("*.md")} == names
    own = {path.stem for path in FOLDER.glob("*.py")} - NOT_RULES
    assert own == {rule.name.replace("-", "_") for rule, _ in RULES}


def test_every_code_is_emitted_by_a_fixture() -> None:
    emitted = {code for path in fixtures("err") for _, code in marks(path.read_text())}
    assert {rule.code for rule in ALL} <= emitted


def test_every_declared_code_is_a_rule_of_ours() -> None:
    trees = (ast.parse(path.read_text()) for path in FOLDER.parent.rglob("*.py"))
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call))
    declared = [
        (ast.literal_eval(call.args[0]), ast.literal_eval(call.args[1]))
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "Rule"
    ]
    assert sorted(declared) == sorted((rule.code, rule.name) for rule in ALL)


def test_every_code_of_the_contract_is_there_under_its_name() -> None:
    words = CONTRACT.split()
    wanted = dict(zip(words[::2], words[1::2], strict=True))
    ours = {rule.code: rule.name for rule in ALL}
    assert {code: ours.get(code) for code in wanted} == wanted


def test_codes_and_names_are_given_once() -> None:
    assert len({rule.code for rule in ALL}) == len({rule.name for rule in ALL}) == len(ALL)


@pytest.mark.parametrize("rule", ALL, ids=lambda rule: rule.code)
def test_a_finding_stands_alone(rule: Rule) -> None:
    """A message is one line in lower case without a full stop, at a place in the text."""
    for example in examples(page(rule).read_text(), "Wrong"):
        for each in check(Source("page.toml", example)):
            assert each.message == each.message.strip().rstrip(".")
            assert not each.message[0].isupper()
            assert "\n" not in each.message
            assert each.span.line <= example.count("\n") + 1


# -- what the messages say -------------------------------------------------------------------------


def the_one(name: str) -> tuple[str, str | None]:
    """Message and help of the first finding in a fixture, by code."""
    found, *_ = sorted(check(FIXTURES / "err" / f"{name}.toml"), key=lambda d: d.rule.code)
    return found.message, found.help


def test_a_loop_is_shown_with_its_exits_and_the_route_to_bound() -> None:
    assert the_one("multi_step_as_written") == (
        "review → process → review can repeat for ever, by `failure`, then `success`",
        'set a bound: `failure = { to = "process", max = 3 }`',
    )


def test_the_cure_of_a_loop_keeps_its_delay_and_quotes_its_key() -> None:
    assert (
        the_one("loop_with_delay")[1]
        == 'set a bound: `75 = { to = "poll", max = 3, delay = "30s" }`'
    )
    assert the_one("catch_all_self_loop")[1] == 'set a bound: `"*" = { to = "poll", max = 3 }`'


def test_a_loop_that_a_then_closes_is_mended_there() -> None:
    assert the_one("loop_by_then") == (
        "two → one → two can repeat for ever, by the `then` of `3`, then `success`",
        'end the loop: `then = "fail"`',
    )


def test_the_other_hops_of_a_loop_are_noted() -> None:
    [found] = check(FIXTURES / "err" / "multi_step_as_written.toml")
    assert [note.message for note in found.notes] == ["the loop continues here"]
    assert found.notes[0].span.line < found.span.line


WHY = {
    "self_loop_orphan": ["`orphan` is never reached: no route leads to it"],
    "step_after_a_timeout_that_never_comes": [
        "`two` is never reached: ",
        "only `timeout` of `one` leads there, and it can never be taken",
    ],
    "then_behind_a_smaller_bound": [
        "`three` is never reached: ",
        "only the `then` of `3` of `one` leads there, and it can never be reached",
    ],
    "join_on_exclusive_branches": [
        "`report` never runs: it needs ",
        "`ship` to succeed, which needs `build` to succeed, ",
        "and `mend` to succeed, which needs `build` to fail",
    ],
    "two_labels_at_once": [
        "`purple` never runs: it needs ",
        "`red` to succeed, which needs `sort` to end with `red`, ",
        "and `blue` to succeed, which needs `sort` to end with `blue`",
    ],
    "needs_a_failure_that_never_comes": [
        "`mend` never runs: it needs `tidy` to fail, which it never does"
    ],
    "when_that_is_never_true": ["`build` never runs: its `when` is never true"],
    "join_any_without_a_way": [
        "`report` never runs: each way to it contradicts itself, such as when it needs ",
        "`build` to succeed and ",
        "`either` to succeed, which needs `early` to succeed, which needs `build` to fail",
    ],
    "cancelled_before_it_starts": [
        "`report` never runs: it needs `probe` to finish, which can only fail, ",
        "and a failure that nothing handles cancels the rest",
    ],
    "reads_what_was_skipped": ["`build` has no output when it ends with `error`"],
    "outputs_of_a_node_that_may_fail": [
        "`extra` has no output when it ends with `error`, and the run still succeeds"
    ],
}


@pytest.mark.parametrize(("name", "why"), WHY.items())
def test_a_finding_says_why(name: str, why: list[str]) -> None:
    assert the_one(name)[0] == "".join(why)


def test_what_needs_a_node_that_never_runs_says_so() -> None:
    found = check(FIXTURES / "err" / "needs_success_and_rollback.toml")
    ways = "`build` to succeed and `rollback` to succeed, which needs `build` to fail"
    assert [each.message for each in found] == [
        f"`deploy` never runs: it needs {ways}",
        "`announce` never runs: it needs `deploy` to succeed, which never runs",
    ]


def test_both_sides_of_a_contradiction_are_noted() -> None:
    found = check(FIXTURES / "err" / "needs_success_and_rollback.toml")[0]
    assert [note.message for note in found.notes] == [
        "`deploy` needs `build` to succeed",
        "`rollback` needs `build` to fail",
    ]


def read_in(text: str) -> list[tuple[str, str | None]]:
    """Message and help of all findings about a pipeline of shell nodes `a` to `d`."""
    found = check(Source("case.toml", f"engine = 1\n{text}"))
    return [(each.message, each.help) for each in found if each.rule.code != "E105"]


SHELL = 'task = "shell"\nwith = { argv = ["x"] }'
READER = 'task = "shell"\nwith = { argv = ["${b.stdout}"] }'


@pytest.mark.parametrize(
    ("b", "c", "message"),
    [
        (
            'needs = { a = [3] }\nallow_failure = true\nroutes = { 0 = "fail", "*" = "fail" }',
            'needs = { a = "success", b = "always" }',
            "`b` has no output when it is skipped, as `a` ends with `success`",
        ),
        (
            'when = "inputs.flag"\nroutes = { error = "b" }',
            'needs = { a = "success", b = "always" }',
            "`b` has no output when it is skipped, as its `when` is false",
        ),
        (
            'routes = { error = "done:odd" }',
            "",
            "`b` has no output when it ends with `odd` without an exit code",
        ),
        (
            "needs = { a = [3] }",
            'needs = { a = "failure", b = ["error"] }',
            "`b` has no output when it ends with `error` and `a` ends with `3`",
        ),
    ],
)
def test_a_missing_value_tells_the_run(b: str, c: str, message: str) -> None:
    flag = "inputs.flag = { type = 'boolean', default = true }"
    text = f"{flag}\n[nodes.a]\n{SHELL}\n[nodes.b]\n{b}\n{SHELL}\n[nodes.c]\n{c}\n{READER}\n"
    told = [found for found, _ in read_in(text) if "output" in found]
    assert told == [message]


def test_the_walk_to_a_step_that_reads_nothing_is_told() -> None:
    [own, other] = sorted(check(FIXTURES / "err" / "step_reads_itself.toml"), reverse=True, key=str)
    assert own.message == "`write` does not have its own output yet when its first attempt starts"
    assert other.message == "`review` has not run when `write` ends with `1`"
    assert [note.message for note in other.notes] == ["ends with `1`"]


INPUTS = """inputs.text = { type = "string" }
inputs.flag = { type = ["boolean", "string"] }
inputs.any = {}
"""


@pytest.mark.parametrize(
    ("when", "gives"),
    [
        ("${run.id}", "string"),
        (" run.id ", "string"),
        ("${inputs.text}", "string"),
        ("inputs.text ?? 'no'", "string"),
        ("${ env.X }", "string"),
        ("${inputs}", "object"),
        ("${a.stderr}", "string"),
        ("${a.stdout}", None),
        ("${a}", "object"),
        ("${inputs.text ?? true}", None),
        ("${inputs.flag}", None),
        ("${inputs.any}", None),
        ("inputs.text == 'x'", None),
        ("${inputs.text in ['x']}", None),
    ],
)
def test_a_condition_that_is_never_true_or_false_is_told(when: str, gives: str | None) -> None:
    nodes = f"[nodes.a]\n{SHELL}\n[nodes.b]\n{SHELL}\nwhen = {when!r}\n"
    used = "[outputs]\nx = ['${inputs.text}', '${inputs.flag}', '${inputs.any}']\n"
    message = f"expected boolean, found a reference that gives {gives}"
    told = [(message, "a condition must be true or false: compare the value with something")]
    assert read_in(INPUTS + nodes + used) == (told if gives else [])


def test_what_is_not_decided_is_no_error() -> None:
    found = check(FIXTURES / "err" / "more_states_than_are_counted.toml")
    assert [each.message for each in found] == [
        "cannot decide whether any run uses up the bound of `3`",
        "cannot decide whether any run uses up the bound of `4`",
        "cannot decide whether any run visits `c`",
    ]
    assert {each.rule.severity.value for each in found} == {"note"}


def test_whether_a_run_succeeds_may_be_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"[nodes.a]\n{SHELL}\nroutes = {{ 0 = 'fail' }}\n"
    [(never, _)] = read_in(text)
    assert never.startswith("no run of `case` can succeed")
    monkeypatch.setattr(node_reachability, "SEARCH_BUDGET", 0)
    assert read_in(text) == [("cannot decide whether any run of `case` can succeed", None)]


def test_a_field_that_is_not_there_is_told_with_the_nearest() -> None:
    found = check(FIXTURES / "err" / "fields_of_inputs.toml")
    assert [(each.message, each.help) for each in found if each.rule.code == "E503"] == [
        ("`inputs.server` has no field `hots`", "did you mean `host`?"),
        ("`inputs.server.host` is of type string and has no field `name`", None),
    ]
