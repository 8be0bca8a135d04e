"""The documentation site: pages generated from the code, and the build. `python tools/docs.py` does both."""

from __future__ import annotations

from pathlib import Path

__all__ = ["DOCS", "ROOT", "cell"]

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"


def cell(text: str) -> str:
    """Text that stands in a cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
