"""Hooks of mkdocs: the pages of the rules in the navigation, and code blocks without the words that are for the tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

__all__ = ["on_config", "on_page_markdown"]

RULES = "reference/rules"


def on_config(config: Any) -> Any:
    """With a page for each rule, by code."""
    folder = Path(config["docs_dir"], RULES)
    titles = {
        path.name: path.read_text(encoding="utf-8").split("\n", 1)[0][2:]
        for path in folder.glob("*.md")
    }
    pages = sorted(
        (title[1:], {title: f"{RULES}/{name}"})
        for name, title in titles.items()
        if name != "index.md"
    )
    [reference] = [each["Reference"] for each in config["nav"] if "Reference" in each]
    [rules] = [each["Rules"] for each in reference if "Rules" in each]
    rules[1:] = [page for _, page in pages]
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Without the words."""
    return re.sub(r"^(```\w+) .+$", r"\1", markdown, flags=re.MULTILINE)
