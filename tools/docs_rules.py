"""The rules -> their table in `docs/language.md`.

`python tools/docs_rules.py` writes it between the marks there; a test holds it equal to what
`table` gives.
"""

from __future__ import annotations

from pathlib import Path

from engine.rules import ALL

__all__ = ["TARGET", "between", "table"]

TARGET = Path(__file__).parent.parent / "docs" / "language.md"
START, END = "<!-- rules: python tools/docs_rules.py -->\n", "<!-- end of rules -->\n"


def table() -> str:
    """The rows, by code; each name leads to the rule's page."""
    rows = [f"| {r.code} [`{r.name}`]({_page(r.name)}) | {r.summary} |" for r in ALL]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def between(text: str) -> tuple[str, str, str]:
    """What stands before the table, the table, and what stands after it."""
    head, _, rest = text.partition(START)
    inside, _, tail = rest.partition(END)
    return head + START, inside, END + tail


def _page(name: str) -> str:
    return f"../engine/rules/{name.replace('-', '_')}.md"


if __name__ == "__main__":
    before, _, after = between(TARGET.read_text(encoding="utf-8"))
    TARGET.write_text(before + table() + after, encoding="utf-8")
