"""The site is built from pages that are what the generators give, and asks no other host for anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from site_pages.events import FIELDS

from docs import outdated

ROOT = Path(__file__).parents[2]
LOADED = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(https?:|//)|<link\b[^>]*\brel="?(?:stylesheet|preconnect|preload)"?[^>]*href="?(https?:|//)'
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "--quiet",
        "--site-dir",
        str(folder),
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_the_generated_pages_are_up_to_date() -> None:
    assert outdated() == [], "python tools/docs.py"


def test_every_page_is_in_the_site(site: Path) -> None:
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix("")
        folder = name.parent if name.name == "index" else name
        assert (site / folder / "index.html").exists(), name


def test_no_page_loads_anything_from_another_host(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not LOADED.search(page.read_text(encoding="utf-8")), page


def test_the_words_for_the_tests_are_not_shown(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "```" not in page.read_text(encoding="utf-8"), page


def test_events_have_the_fields_that_their_page_lists() -> None:
    import engine

    seen = []
    plan = engine.load_plan(ROOT / "specs" / "multi_step.toml")
    engine.run(plan, sinks=[seen.append])
    assert seen
    for event in seen:
        assert set(event.data) <= set(FIELDS[event.kind][1].split()), event


def test_sarif_leads_to_the_page_of_a_rule(site: Path) -> None:
    from engine.render.sarif import DOCUMENTATION, _rule_to_json
    from engine.rules import ALL_RULES

    assert f"site_url: {DOCUMENTATION}\n" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    for rule in ALL_RULES:
        path = _rule_to_json(rule)["helpUri"].removeprefix(DOCUMENTATION)
        assert (site / path / "index.html").exists(), path
