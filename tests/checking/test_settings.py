"""What is shown: words for rules, `[tool.engine]`, levels; what cannot be ignored stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import engine
from engine.api import analyse, check
from engine.checking.selection import (
    IGNORABLE_ERRORS,
    Settings,
    UnknownRule,
    find_rule_codes,
    get_rules_by_code,
    parse_ignored,
    select_diagnostics,
)
from engine.diagnostics import Diagnostic, Severity
from engine.errors import EngineError, SettingsError
from engine.settings import apply_options, find_settings
from engine.toml.source import Source, Span

SOURCE = Source("a.toml", "engine = 1\n")
EVERY = [Diagnostic(rule, "x", SOURCE, Span(1, 1, 1, 2)) for rule in get_rules_by_code().values()]
ORPHAN = """\
engine = 1
[nodes.a.steps]
one = { task = "sleep", with = { seconds = 0 } }
two = { task = "sleep", with = { seconds = 0 } }
[nodes.a]
start = "one"
"""

Project = Callable[[str], Path]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Writes `[tool.engine]` of a project; gives the path of a spec in it that has an E302."""

    def put(text: str) -> Path:
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "x"\n[tool.engine]\n{text}\n')
        spec = tmp_path / "specs" / "deep" / "orphan.toml"
        spec.parent.mkdir(parents=True, exist_ok=True)
        spec.write_text(ORPHAN)
        return spec

    return put


def may(code: str) -> bool:
    return code[0] in "WN" or code in IGNORABLE_ERRORS


# -- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", get_rules_by_code().values(), ids=lambda rule: rule.code)
def test_a_rule_has_its_code_and_its_name(rule: object) -> None:
    code, name = rule.code, rule.name  # type: ignore[attr-defined]
    assert find_rule_codes(code) == find_rule_codes(name) == {code}


@pytest.mark.parametrize("word", ["E", "W", "E3", "E30", "E4"])
def test_the_beginning_of_codes_is_all_of_them(word: str) -> None:
    assert find_rule_codes(word) == {code for code in get_rules_by_code() if code.startswith(word)}


def test_an_unknown_word_is_told_with_the_nearest() -> None:
    with pytest.raises(UnknownRule, match="there is no rule `E3O2`, did you mean `E302`"):
        find_rule_codes("E3O2")
    with pytest.raises(UnknownRule, match="did you mean `unreachable-step`"):
        find_rule_codes("unreachable-stap")
    with pytest.raises(UnknownRule):
        find_rule_codes("")


def test_what_cannot_be_ignored_is_told() -> None:
    can = "only warnings and E302, E303, E401, E402 can be"
    with pytest.raises(UnknownRule, match=f"`E201` cannot be ignored, {can}"):
        parse_ignored("E201")
    with pytest.raises(UnknownRule, match="`E3` covers `E301`, which cannot be ignored"):
        parse_ignored("E3")
    assert parse_ignored("W") == {code for code in get_rules_by_code() if code[0] == "W"}


# -- what is left ------------------------------------------------------------------------------

codes = st.frozensets(st.sampled_from(sorted(get_rules_by_code())))
levels = st.dictionaries(
    st.sampled_from(sorted(get_rules_by_code())), st.sampled_from([*Severity, None])
)


@given(st.none() | codes, codes, levels, st.booleans())
def test_settings_leave_what_they_say(
    select: frozenset[str] | None, ignore: frozenset[str], level: dict[str, Severity], here: bool
) -> None:
    glob = str(Path("a.toml" if here else "b.toml").absolute())
    left = select_diagnostics(
        EVERY, Settings(select, ignore, level, ((glob, frozenset({"W702"})),))
    )
    expected = {
        code
        for code in get_rules_by_code()
        if not may(code)
        or (
            (select is None or code in select)
            and code not in ignore
            and level.get(code, "") is not None
            and not (here and code == "W702")
        )
    }
    assert {each.rule.code for each in left} == expected
    for each in left:
        assert each.severity is (level.get(each.rule.code) or each.rule.severity)


# -- in a file ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("", ["error"]),
        ('select = ["E302"]', ["error"]),
        ('select = ["E4"]', []),
        ('ignore = ["E302"]', []),
        ('ignore = ["unreachable-step"]', []),
        ('levels = { E302 = "warning" }', ["warning"]),
        ('levels = { unreachable-step = "off" }', []),
        ('levels = { E302 = "off", E3 = "error" }', []),
        ('per-file-ignores = { "specs/*" = ["E302"] }', []),
        ('per-file-ignores = { "specs/deep/orphan.toml" = ["E302"] }', []),
        ('per-file-ignores = { "deep/*" = ["E302"] }', ["error"]),
    ],
)
def test_settings_of_a_project_hold_for_its_specs(
    text: str, left: list[str], project: Project
) -> None:
    spec = project(text)
    plan, found = analyse(spec)
    assert [each.severity.value for each in found] == left
    assert (plan is None) == ("error" in left)


def test_a_file_without_the_table_is_passed_by(project: Project) -> None:
    spec = project('ignore = ["E302"]')
    (spec.parent / "pyproject.toml").write_text('[project]\nname = "engine"\n')
    assert not check(spec)
    (spec.parent / "pyproject.toml").write_text("[tool.engine]\n")
    assert check(spec)


def test_a_text_in_no_file_has_no_settings(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project('ignore = ["E302"]').parent)
    assert check(Source("orphan.toml", ORPHAN))
    assert not check("orphan.toml")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("selct = []", "4:1: `selct` is not a key of `[tool.engine]`, did you mean `select`?"),
        (
            "x = []",
            "4:1: `x` is not a key of `[tool.engine]`, known: `select`, `ignore`, `levels`, ",
        ),
        ('ignore = ["E302", "E3O3"]', "4:19: there is no rule `E3O3`, did you mean `E303`?"),
        ('ignore = ["E201"]', "4:11: `E201` cannot be ignored, only warnings and E302, "),
        ('ignore = "E302"', "4:10: expected an array of codes"),
        ("select = [3]", "4:11: expected a code or a name of a rule"),
        ('levels = { W305 = ["error"] }', '4:19: expected "error", "warning" or "off"'),
        ('levels = { E302 = "of" }', '4:19: expected "error", "warning" or "off"'),
        ('levels = { E201 = "off" }', "4:12: `E201` cannot be ignored"),
        ('levels = { E999 = "error" }', "4:12: there is no rule `E999`"),
        ("levels = 3", "4:10: expected a table from codes to levels"),
        ('per-file-ignores = { "a" = ["E2"] }', "4:29: `E2` covers `E201`, which cannot be"),
        ("per-file-ignores = []", "4:20: expected a table from globs"),
        ("x = {", "4:5: this inline table"),
    ],
)
def test_a_mistake_in_settings_is_told_with_its_place(
    text: str, problem: str, project: Project
) -> None:
    spec = project(text)
    with pytest.raises(SettingsError) as raised:
        find_settings(spec)
    [told] = raised.value.problems
    assert told.startswith(f"{spec.parents[2] / 'pyproject.toml'}:{problem}")


def test_all_mistakes_in_settings_are_told_at_once(project: Project) -> None:
    with pytest.raises(SettingsError) as raised:
        find_settings(project('selct = 1\nignore = ["E3O2"]\nlevels = 3'))
    assert len(raised.value.problems) == 3


def test_settings_that_are_no_table_are_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("tool.engine = 3\n")
    with pytest.raises(SettingsError, match="expected a table"):
        find_settings(tmp_path / "a.toml")


def test_settings_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").mkdir()
    with pytest.raises(EngineError, match="cannot be read"):
        find_settings(tmp_path / "a.toml")


def test_a_changed_file_is_read_again(project: Project) -> None:
    assert not check(project('ignore = ["E302"]'))
    assert check(project(""))


# -- in a call ---------------------------------------------------------------------------------


def test_a_call_goes_before_the_file() -> None:
    of_file = Settings(select=frozenset({"E401"}), ignore=frozenset({"E303"}))
    assert apply_options(of_file, None, None) == of_file
    found = apply_options(of_file, "E3", "W, unreachable-step")
    assert found.select == {"E301", "E302", "E303"}
    assert found.ignore == {"E302", "E303", *find_rule_codes("W")}


def test_every_wrong_word_of_a_call_is_told() -> None:
    with pytest.raises(SettingsError) as raised:
        apply_options(Settings(), "E9,E3", "E201,W9")
    assert raised.value.problems == (
        "--select: there is no rule `E9`",
        "--ignore: `E201` cannot be ignored, only warnings and E302, E303, E401, E402 can be",
        "--ignore: there is no rule `W9`",
    )


ALLOWED = '[tool.engine]\ntasks = ["collect", "file.*"]\n'
TASKS = """\
engine = 1
[nodes.a]
task = "collect"
[nodes.b]
task = "file.read"
with = { path = "x" }
[nodes.c]
task = "shell"
with = { argv = ["x"] }
[nodes.d]
task = "python:os:getcwd"
"""


def test_a_project_may_allow_some_tasks_alone(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(ALLOWED)
    spec = tmp_path / "a.toml"
    spec.write_text(TASKS)
    told = [(d.rule.code, d.span.line, d.message, d.help) for d in engine.check(spec)]
    cure = "allowed: `collect`, `file.*`"
    assert told == [
        ("E201", 8, "task `shell` is not allowed here", cure),
        ("E201", 11, "task `python:os:getcwd` is not allowed here", cure),
    ]
    with pytest.raises(engine.SpecError):
        engine.run(spec)


def test_a_task_that_the_caller_gives_is_allowed(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(ALLOWED)
    spec = tmp_path / "a.toml"
    spec.write_text('engine = 1\n[nodes.a]\ntask = "mine"\n')

    @engine.task
    async def mine() -> int:
        return 1

    assert engine.run(spec, tasks=[mine]).status == "succeeded"


def test_a_wrong_list_of_tasks_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.engine]\ntasks = [1]\n")
    with pytest.raises(SettingsError, match="expected the id of a task"):
        find_settings(tmp_path / "a.toml")
