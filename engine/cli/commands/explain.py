"""`engine explain`: print the page of a rule, with a wrong example and a right one, or list all rules."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.cli.console import Console
from engine.errors import EngineError

if TYPE_CHECKING:
    from engine.diagnostics import Rule

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "explain a rule: what it requires and why, with examples"
EXAMPLES = """\
  engine explain                       list all rules
  engine explain E301                  explain one rule
  engine explain infinite-retry E401   several rules, by code or name
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine explain`."""
    parser.add_argument("rules", metavar="RULE", nargs="*", help="the code or the name of a rule")
    parser.add_argument(
        "--format", choices=("human", "json"), default="human", help="default: human"
    )
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="same as --format json"
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Print the pages of the named rules, or the list of all rules."""
    from engine.rules import ALL_RULES

    rules = tuple(map(_find_rule, arguments.rules)) or ALL_RULES
    if arguments.format == "json":
        console.print_output(_rules_to_json(rules))
    elif arguments.rules:
        console.print_output("\n\n".join(_iter_pages(rules)))
    else:
        console.print_output(_format_table(rules, console))
    return 0


def _find_rule(code_or_name: str) -> Rule:
    from engine.base.suggestions import closest_match
    from engine.rules import ALL_RULES

    known = {name: rule for rule in ALL_RULES for name in (rule.code, rule.name)}
    word = code_or_name.replace("_", "-")
    found = known.get(word.upper()) or known.get(word.lower())
    if found is None:
        guess = (
            closest_match(word.upper(), [rule.code for rule in ALL_RULES])
            if word[1:].isdigit()
            else None
        )
        guess = guess or closest_match(word.lower(), [rule.name for rule in ALL_RULES])
        advice = f", did you mean `{guess}`?" if guess else ": run `engine explain` for a list"
        raise EngineError(f"there is no rule `{code_or_name}`{advice}")
    return found


def _iter_pages(rules: tuple[Rule, ...]) -> Iterator[str]:
    from engine.rules import read_page

    yield from (read_page(rule).rstrip("\n") for rule in dict.fromkeys(rules))


def _format_table(rules: tuple[Rule, ...], console: Console) -> str:
    from engine.render.text import format_table, make_painter

    rows = [(rule.code, rule.name, rule.summary) for rule in rules]
    head = ("code", "name", "what is wrong")
    return "\n".join(
        format_table(head, rows, make_painter(console.can_use_color()), width=console.width)
    )


def _rules_to_json(rules: tuple[Rule, ...]) -> str:
    import json

    from engine.rules import read_page

    data = [
        {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity.value,
            "summary": rule.summary,
            "text": read_page(rule),
        }
        for rule in dict.fromkeys(rules)
    ]
    return json.dumps(data, indent=2)
