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
    from engine.rules import ALL

    rules = tuple(map(_rule, arguments.rules)) or ALL
    if arguments.format == "json":
        console.out(_as_json(rules))
    elif arguments.rules:
        console.out("\n\n".join(_pages(rules)))
    else:
        console.out(_listing(rules, console))
    return 0


def _rule(asked: str) -> Rule:
    from engine.base.suggestions import nearest
    from engine.rules import ALL

    known = {name: rule for rule in ALL for name in (rule.code, rule.name)}
    word = asked.replace("_", "-")
    found = known.get(word.upper()) or known.get(word.lower())
    if found is None:
        guess = nearest(word.upper(), [rule.code for rule in ALL]) if word[1:].isdigit() else None
        guess = guess or nearest(word.lower(), [rule.name for rule in ALL])
        cure = f", did you mean `{guess}`?" if guess else ": run `engine explain` for a list"
        raise EngineError(f"there is no rule `{asked}`{cure}")
    return found


def _pages(rules: tuple[Rule, ...]) -> Iterator[str]:
    from engine.rules import page

    yield from (page(rule).rstrip("\n") for rule in dict.fromkeys(rules))


def _listing(rules: tuple[Rule, ...], console: Console) -> str:
    from engine.render.text import painter, table

    rows = [(rule.code, rule.name, rule.summary) for rule in rules]
    head = ("code", "name", "what is wrong")
    return "\n".join(table(head, rows, painter(console.colored()), width=console.width))


def _as_json(rules: tuple[Rule, ...]) -> str:
    import json

    from engine.rules import page

    data = [
        {
            "code": rule.code,
            "name": rule.name,
            "severity": rule.severity.value,
            "summary": rule.summary,
            "text": page(rule),
        }
        for rule in dict.fromkeys(rules)
    ]
    return json.dumps(data, indent=2)
