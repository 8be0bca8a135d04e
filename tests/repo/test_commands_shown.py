"""Every command that a spec, the README or a page shows is one that works, and ends as is said there."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from engine.cli import main
from tests.repo.test_specs import serving
from tests.support import model_server

ROOT = Path(__file__).parents[2]
SPECS = sorted((ROOT / "specs").rglob("*.toml"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

HEAD = re.compile(r"^#   (engine [^#\n]*)(?:# (.*))?$", re.MULTILINE)
INLINE = re.compile(r"`(engine [a-z]+[^`\n]*)`")
NAMED = re.compile(r"…|\b[A-Z]{2,}\b")
"""What stands for something: such a command is only parsed."""
PAGE = b'{"id": %d, "title": "x", "words": 200}'
ANSWERS = {
    "/search": [(200, {}, b'{"hits": 3}')],
    **{f"/page/{at}": [(200, {}, PAGE % at)] for at in (1, 2, 3)},
    **{f"/{name}": [(200, {}, b"{}")] for name in ("orders", "stock", "weather", "notify")},
}
SAID = json.dumps({"code": "x = 1"})
ENDS = {"failed": 1, "waiting": 3}


@attrs.frozen
class Shown:
    """A command, the status it is said to end with, and where it stands."""

    line: str
    status: int
    place: str


def in_heads() -> Iterator[Shown]:
    for path in SPECS:
        for found in HEAD.finditer(path.read_text(encoding="utf-8").partition("\nengine = 1")[0]):
            told = re.search(r"ends `(\w+)`", found[2] or "")
            status = ENDS[told[1]] if told else 0
            yield Shown(found[1].strip(), status, path.stem)


def in_pages() -> Iterator[Shown]:
    for path in PAGES:
        text = path.read_text(encoding="utf-8").partition("\n## Not yet in this version")[0]
        for found in INLINE.finditer(text):
            yield Shown(found[1], 0, path.stem)


def by_line(shown: Shown) -> str:
    return f"{shown.place}: {shown.line}"


def whole(shown: Shown) -> bool:
    """Whether a command can be run as it is: nothing in it stands for something, and with an option
    it has a file to work on."""
    words = shown.line.split()
    aimed = "--" not in shown.line or any("/" in word or "." in word for word in words[2:])
    return len(words) > 2 and aimed and not NAMED.search(shown.line)


IN_PAGES = list(dict.fromkeys(in_pages()))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the README has its readers write, and the project's own specs and code."""
    for name, page in (("deploy.toml", "README.md"), ("script.json", "docs/how-to/test.md")):
        text = (ROOT / page).read_text(encoding="utf-8")
        language = name.rpartition(".")[2]
        found = re.search(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
        assert found
        (tmp_path / name).write_text(found[1], encoding="utf-8")
    for name in ("specs", "engine"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("shown", list(in_heads()), ids=by_line)
def test_a_command_in_the_head_of_a_spec_ends_as_it_says(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    with serving(ANSWERS) as base, model_server.serving(model_server.text(SAID)) as server:
        line = shown.line.replace("http://localhost:8000", base).replace("=src", "=specs")
        line = line.replace("http://localhost:11434/v1", server.url)
        status = main.main(shlex.split(line)[1:])
    assert status == shown.status, capsys.readouterr().out


# Those of the tutorial are run in their order, by test_tutorial.
@pytest.mark.parametrize(
    "shown", [each for each in IN_PAGES if whole(each) and each.place != "tutorial"], ids=by_line
)
def test_a_command_on_a_page_works(
    shown: Shown, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(shlex.split(shown.line)[1:]) == shown.status
    assert capsys.readouterr().out


@pytest.mark.parametrize("shown", IN_PAGES, ids=by_line)
def test_a_command_on_a_page_is_one(shown: Shown) -> None:
    assert shown.line.split()[1] in {*main.COMMANDS, "--version"}
