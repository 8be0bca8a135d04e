"""All generated pages: path -> text. One module a page."""

from __future__ import annotations

from pathlib import Path

from site_pages import (
    DOCS,
    command_line,
    events,
    json_output,
    keys,
    python_api,
    rules,
    settings,
    tasks,
)

__all__ = ["generated"]


def generated() -> dict[Path, str]:
    """Every generated page."""
    reference = DOCS / "reference"
    language = DOCS / "language.md"
    return {
        DOCS / "tasks.md": tasks.page(),
        language: rules.with_table(language.read_text(encoding="utf-8")),
        reference / "command-line.md": command_line.page(),
        reference / "events.md": events.page(),
        reference / "json.md": json_output.page(),
        reference / "keys.md": keys.page(),
        reference / "python.md": python_api.page(),
        reference / "rules" / "index.md": rules.index(),
        reference / "settings.md": settings.page(),
        **{reference / "rules" / f"{name}.md": text for name, text in rules.pages().items()},
    }
