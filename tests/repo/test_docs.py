"""What the documents show is true: specs pass the check or fail as they say, Python code works."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import attrs
import pytest

import engine
from engine.diagnostics import Rule
from engine.render import diagnostics as render
from engine.rules import RULES
from engine.testing.scripts import parse_script
from engine.testing.simulation import simulate
from engine.toml.source import Source

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RULE_PAGES = ROOT / "docs" / "reference" / "rules"
"""Their examples are tested where they come from, beside the rules."""
STEP = '[nodes.example]\ntask = "shell"\nwith = { argv = ["true"] }\n'


@attrs.frozen
class Block:
    """A fenced block: its language, the words after it, its text and where it stands."""

    language: str
    marks: tuple[str, ...]
    text: str
    place: str


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text(encoding="utf-8")
    for found in re.finditer(r"^```(\S+)(.*)\n((?:.*\n)*?)```$", text, re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(found[1], tuple(found[2].split()), found[3], f"{page.name}:{line}")


ALL = [block for page in PAGES if page.parent != RULE_PAGES for block in blocks(page)]


def of(language: str, mark: str | None = None) -> list[Block]:
    marked = [b for b in ALL if b.language == language and (mark in b.marks if mark else True)]
    return [b for b in marked if mark or not b.marks]


def place(block: Block) -> str:
    return block.place


def source(text: str) -> Source:
    return Source(ROOT / "specs" / "pipeline.toml", text)


def find(pattern: str, page: str) -> str:
    found = re.search(pattern, (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found[1]


# -- specs -----------------------------------------------------------------------------------------


def test_every_block_is_of_a_kind_that_is_tested() -> None:
    kinds = {(b.language, b.marks[0] if b.marks else "") for b in ALL}
    assert kinds <= {
        *(("toml", mark) for mark in ("", "fragment", "step", "example", "broken")),
        *(("python", ""), ("python", "run"), ("text", ""), ("text", "findings")),
        *(("json", ""), ("console", "")),
    }


@pytest.mark.parametrize("block", of("toml"), ids=place)
def test_whole_specs_pass_the_check(block: Block) -> None:
    assert render.render_human(engine.check(source(block.text)), color=False) == ""


@pytest.mark.parametrize("block", of("toml", "fragment"), ids=place)
def test_parts_of_specs_pass_the_check(block: Block) -> None:
    assert render.render_human(engine.check(source(f"engine = 1\n{block.text}")), color=False) == ""


@pytest.mark.parametrize("block", of("toml", "step"), ids=place)
def test_parts_of_steps_pass_the_check(block: Block) -> None:
    text = f"engine = 1\n{STEP}{block.text}"
    assert render.render_human(engine.check(source(text)), color=False) == ""


@pytest.mark.parametrize("block", of("toml", "example"), ids=place)
def test_examples_lack_nothing_but_what_they_read(block: Block) -> None:
    found = engine.check(source(f"engine = 1\n{block.text}"))
    assert {each.rule.name for each in found} <= {"unknown-name"}


@pytest.mark.parametrize("block", of("toml", "broken"), ids=place)
def test_broken_specs_fail_as_shown(block: Block) -> None:
    shown = ALL[ALL.index(block) + 1]
    name = re.search(r"--> (\S+?):", shown.text)
    assert name
    found = engine.check(Source(name[1], block.text))
    assert sorted(each.rule.code for each in found) == sorted(block.marks[1:])
    assert shown.marks == ("findings",)
    assert render.render_human(found, color=False) == shown.text.rstrip("\n")


def test_the_simulation_of_the_readme_gives_what_it_shows() -> None:
    plan = engine.load_plan(Source("deploy.toml", of("toml")[0].text))
    result = simulate(plan, parse_script(json.loads(of("json")[0].text), plan))
    from engine.render import results

    for page in ("README.md", "docs/how-to/test.md"):
        assert results.render_result(result) in find("(.*)", page)


def test_the_worst_case_of_the_readme_is_what_it_shows() -> None:
    from engine.api import compute_worst_case
    from engine.render import bounds

    found, _ = compute_worst_case(Source("deploy.toml", of("toml")[0].text))
    assert bounds.render_bounds("deploy.toml", found) in find("(.*)", "docs/how-to/worst-case.md")


# -- Python ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", of("python"), ids=place)
def test_python_code_declares_what_it_says(block: Block, tmp_path: Path) -> None:
    file = tmp_path / "block.py"
    file.write_text(block.text, encoding="utf-8")
    assert runpy.run_path(str(file))


@pytest.mark.parametrize("block", of("python", "run"), ids=place)
def test_python_code_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "block.py"
    file.write_text(block.text, encoding="utf-8")
    assert runpy.run_path(str(file))


# -- what the pages list ---------------------------------------------------------------------------


def test_the_reference_lists_every_diagnostic() -> None:
    from engine.diagnostics import codes

    rules: list[Rule] = [*codes.CODES, *(rule for rule, _ in RULES)]
    listed = re.findall(
        r"^\| ([EWN]\d+) \[`([a-z-]+)`\]", find("(.*)", "docs/language.md"), re.MULTILINE
    )
    assert sorted(listed) == sorted((rule.code, rule.name) for rule in rules)


def test_what_is_not_there_yet_is_listed_and_refused_by_name() -> None:
    table = find(r"## Not yet in this version(.*)", "docs/language.md")
    _, found = engine.analyse(
        Source("case.toml", f"engine = 1\n{STEP}routes = {{ lost = 'done' }}\n")
    )
    assert [each.rule.name for each in found] == ["not-supported"]
    assert "`lost`" in table


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_picture_has_the_labels_of_the_graph() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "picture.py"))
    drawn = unescape(made["TARGET"].read_text(encoding="utf-8"))
    assert made["labels"](made["graph"]()) <= set(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))


def test_ci_runs_the_command_of_the_readme() -> None:
    command = re.search(r"^(.*-m pytest)$", find("(.*)", "README.md"), re.MULTILINE)
    script = find("(.*)", ".ci/run")
    assert command
    written = command[1].replace(".venv/", "$venv/").replace("venv .venv", "venv $venv")
    ran = re.sub(r'"(\$venv[^"]*)"', r"\1", script).replace(" --quiet", "")
    assert written in ran
