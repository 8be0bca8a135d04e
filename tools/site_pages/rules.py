"""The rules -> a page for each, their index, and their table in `docs/language.md`."""

from __future__ import annotations

import re

from engine.rules import ALL_RULES, read_page

__all__ = ["index", "pages", "table", "with_table"]

START, END = "<!-- rules: python tools/docs.py -->\n", "<!-- end of rules -->\n"
GROUPS = (
    ("E1", "Reading the file"),
    ("E2", "Names and structure"),
    ("E3 W3", "Steps and routes"),
    ("E4", "Nodes and runs"),
    ("E5", "Values"),
    ("E6 W6", "Limits"),
    ("W7", "Unused"),
    ("N", "Notes"),
)


def table(folder: str = "reference/rules/", start: tuple[str, ...] = ("",)) -> str:
    """The rows, by code; each name leads to the rule's page."""
    rows = [
        f"| {rule.code} [`{rule.name}`]({folder}{rule.name}.md) | {rule.summary} |"
        for rule in ALL_RULES
        if rule.code.startswith(start)
    ]
    return "\n".join(["| | |", "|---|---|", *rows, ""])


def with_table(text: str) -> str:
    """The page with its table as it is now."""
    head, _, rest = text.partition(START)
    _, _, tail = rest.partition(END)
    return f"{head}{START}{table()}{END}{tail}"


def index() -> str:
    """The list of all rules."""
    parts = [
        (
            "# Rules\n\nEvery finding of `engine check` has a code and a name, which never change. Codes that begin with E "
            "are errors: the spec does not run. W is a warning, and N is a note. `engine explain CODE` prints the page of a rule.\n"
        )
    ]
    for codes, title in GROUPS:
        parts.append(f"## {title}\n\n{table('', tuple(codes.split()))}")
    return "\n".join(parts)


def pages() -> dict[str, str]:
    """The page of each rule, by name: what stands beside the rule in the code, and how to ignore it."""
    return {rule.name: f"{_linked(read_page(rule))}\n\n{_footer(rule.code)}" for rule in ALL_RULES}


def _linked(text: str) -> str:
    """Links between the pages, by the names that they have here."""
    found = re.sub(r"\]\(([a-z_]+)\.md\)", lambda link: link[0].replace("_", "-"), text)
    return found.rstrip()


def _footer(code: str) -> str:
    ignorable = code.startswith(("W", "N")) or code in ("E302", "E303", "E401", "E402")
    how = "can be [ignored or set to another level](../../how-to/choose-findings.md)"
    said = how if ignorable else "cannot be ignored"
    return f"---\n\n{code} {said}. [All rules](index.md)\n"
