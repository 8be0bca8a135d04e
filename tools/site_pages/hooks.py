"""A hook of mkdocs: the words after the language of a code block are for the tests, not for readers."""

from __future__ import annotations

import re
from typing import Any

__all__ = ["on_page_markdown"]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Without the words."""
    return re.sub(r"^(```\w+) .+$", r"\1", markdown, flags=re.MULTILINE)
