"""The layout: nothing is said differently, twice is once, and what it looks like."""

from __future__ import annotations

import io
import random
import re
from pathlib import Path
from typing import Any

import pytest
import tomli
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from engine.api import analyse
from engine.cli import main
from engine.toml.formatter import format_toml
from engine.toml.scanner import iter_comments
from engine.toml.source import Source
from tests.repo.test_specs import FILES
from tests.support.strategies import cases

FOLDER = Path(__file__).parents[1] / "fixtures"
SLOW = [HealthCheck.too_slow]

UGLY = """\


engine=1
  # of the whole
[ inputs ]   # what it takes
 a.b  =   "x=1,  [2]"


 c = [1,2 ,3,]# tight
[nodes . "a" ]
t = { x=1,y = [ ] , z={}, 'k' . l = 1979-05-27 07:32:00 }
# about the list

#about the next header
  [[nodes.list]]
m = [ [1,
2], # two
      # alone

      {a=1},

   ]
s = \"\"\"
   as it   was  \t
\"\"\"
[a]
[a.b]"""

NEAT = """\
engine = 1

# of the whole
[inputs]   # what it takes
a.b = "x=1,  [2]"

c = [1, 2, 3,] # tight

[nodes."a"]
t = { x = 1, y = [], z = {}, 'k'.l = 1979-05-27 07:32:00 }
# about the list

#about the next header
[[nodes.list]]
m = [[1,
  2], # two
  # alone

  { a = 1 },

]
s = \"\"\"
   as it   was  \t
\"\"\"

[a]

[a.b]
"""


def test_what_it_looks_like() -> None:
    assert format_toml(UGLY).splitlines() == NEAT.splitlines()
    assert format_toml(UGLY) == NEAT


def texts_of(text: str) -> list[str]:
    return [text[slice(*each)].rstrip() for each in iter_comments(text)]


def scattered(text: str, seed: int) -> str:
    """The same TOML, its layout spoilt; what `tomli_w` writes has one value or bracket a line."""
    chance = random.Random(seed)
    lines = []
    for line in text.splitlines():
        if re.match(r"[\w.-]+ = ", line):
            line = line.replace(" = ", chance.choice(["=", " = ", "\t=   "]), 1)
        line = re.sub(r"^\[([\w.-]+)\]$", chance.choice([r"[\1]", r"[ \1\t]"]), line)
        line = " " * chance.randrange(3) + line.lstrip() + chance.choice(["", " ", "\t# x ", "#y"])
        lines += [line, *[chance.choice(["", "  ", "# alone"])] * chance.randrange(3)]
    return chance.choice(["\n", "\r\n"]).join(lines) + "\n" * chance.randrange(3)


@settings(deadline=None, suppress_health_check=SLOW, max_examples=60)
@given(cases(), st.integers())
def test_a_plan_is_the_same_after_a_new_layout(
    case: tuple[dict[str, Any], Any, Any], seed: int
) -> None:
    text = scattered(tomli_w.dumps(case[0]), seed)
    laid = format_toml(text)
    assert format_toml(laid) == laid
    assert texts_of(laid) == texts_of(text)
    plan, found = analyse(Source("a.toml", text))
    again, same = analyse(Source("a.toml", laid))
    assert [each.message for each in found] == [each.message for each in same]
    if plan and again:
        assert plan.hash == again.hash


values = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.floats() | st.text("#'\"\\\n ={}[],a", max_size=6)
    | st.datetimes(timezones=st.just(None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a. \"=", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


LINES = ("", "a = 1", "[t]", "# c", 's = """', "x", '"""', "b = [", "1,", "]", "c = 2 # d")


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(["\n", "\r\n"])), max_size=9))
@example([("", "\r\n"), ('s = """', "\n"), ('"""', "\r\n")])
@example([('s = """', "\n"), ('"""', "\r\n"), ("", "\r\n")])
@example([("", "\n"), ("a = 1", "\r\n"), ("c = 2 # d", "\n")])
def test_twice_is_once_whatever_ends_the_lines(lines: list[tuple[str, str]]) -> None:
    text = "".join(map("".join, lines))
    try:
        said = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    laid = format_toml(text)
    assert format_toml(laid) == laid
    assert tomli.loads(laid) == said


@settings(deadline=None, suppress_health_check=SLOW)
@given(st.dictionaries(st.text("ab.#= \"'", max_size=4), values, max_size=4), st.integers())
@example({"a": float("nan")}, 0)
def test_any_toml_says_the_same(doc: dict[str, Any], seed: int) -> None:
    text = scattered(tomli_w.dumps(doc, multiline_strings=False), seed)
    assert repr(tomli.loads(text)) == repr(tomli.loads(tomli_w.dumps(doc)))
    laid = format_toml(text)
    assert repr(tomli.loads(laid)) == repr(tomli.loads(text))
    assert format_toml(laid) == laid
    assert texts_of(laid) == texts_of(text)
    assert "\n\n\n" not in laid.replace("\r", "")
    assert all(line == line.rstrip() or "#" in line or '"' in line for line in laid.splitlines())


@pytest.mark.parametrize("path", [*FILES, *sorted(FOLDER.glob("o*/*.toml"))], ids=lambda p: p.stem)
def test_our_own_specs_are_laid_out_so(path: Path) -> None:
    text = path.read_text()
    assert format_toml(text) == text


@pytest.mark.parametrize("text", ["", "\n", " \n\n", "# x", "\t# x \n"])
def test_a_text_of_nothing(text: str) -> None:
    assert format_toml(text) in ("", "# x\n")


# -- the command -------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").write_text("engine=1\n")
    (tmp_path / "b.toml").write_text("engine = 1\n")
    return tmp_path


def test_files_are_laid_out_in_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["fmt", "."]) == 0
    assert (folder / "a.toml").read_text() == "engine = 1\n"
    assert capsys.readouterr() == ("", "")


def test_check_and_diff_write_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["fmt", "--check", "a.toml", "b.toml"]) == 1
    assert capsys.readouterr().out == "a.toml\n"
    assert main.main(["fmt", "--diff", "a.toml"]) == 1
    assert (
        capsys.readouterr().out == "--- a.toml\n+++ a.toml\n@@ -1 +1 @@\n-engine=1\n+engine = 1\n"
    )
    assert main.main(["fmt", "--check", "b.toml"]) == 0
    assert (folder / "a.toml").read_text() == "engine=1\n"


def test_standard_input_goes_to_standard_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("a=1"))
    assert main.main(["fmt", "-"]) == 0
    assert capsys.readouterr().out == "a = 1\n"
    monkeypatch.setattr("sys.stdin", io.StringIO("a=1"))
    assert main.main(["fmt", "--check", "-"]) == 1


def test_what_is_no_toml_is_told_and_the_rest_done(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "c.toml").write_text("engine = \n")
    assert main.main(["fmt", "c.toml", "no.toml", "a.toml"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: c.toml:1:10: expected a value (a string has quotes), found the end of the line",
        "error: `no.toml` cannot be read: No such file or directory",
    ]
    assert (folder / "a.toml").read_text() == "engine = 1\n"
