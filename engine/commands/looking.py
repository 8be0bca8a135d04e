"""`engine check --live`: whether the services that the nodes of a spec require are well."""

from __future__ import annotations

import argparse

from engine.commands.console import Console
from engine.commands.inputs import inputs_of, load_plan, read_secrets

__all__ = ["look"]


def look(path: str, arguments: argparse.Namespace, console: Console) -> int:
    """Print what is not well; the status is 1 for that, 2 for what cannot be asked."""
    from engine import api
    from engine.render.text import printable

    plan = load_plan(path, console)
    if plan is None:
        return 2
    secrets = read_secrets(arguments.secrets) if arguments.secrets else {}
    problems = api.look(plan, inputs_of(plan, arguments), secrets=secrets)
    for problem in problems:
        console.out(f"{printable(path)}: {problem}")
    if not problems:
        console.out(f"{printable(path)}: all services are well")
    return 1 if problems else 0
