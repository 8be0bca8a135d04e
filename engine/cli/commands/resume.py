"""`engine resume`: go on with a run whose process died, where its journal ends; or from a node on."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.cli.resumed_run import add_again, once_more
from engine.cli.store_arguments import store_of
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.record.questions import Answer

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "go on with a run, where its journal ends or from a node on"
EXAMPLES = """\
  engine resume 3f2a                      no attempt whose end was recorded runs again
  engine resume 3f2a --secrets .secrets   secrets are not kept: they are given again
  engine resume 3f2a --from build         `build` and all behind it run again
  engine resume 3f2a --mark build=0       the last attempt of `build` counts as exit 0
  engine resume 3f2a --answer publish=approve   what a person says to a run that waits for it

  exit status as of `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    add_again(parser)
    parser.add_argument(
        "--from", dest="start", metavar="NODE", help="run it and all behind it again"
    )
    parser.add_argument(
        "--mark",
        metavar="NODE=EXIT",
        action="append",
        default=[],
        help="let a node's last attempt have ended with another exit, a name or a number",
    )
    parser.add_argument(
        "--answer",
        metavar="NODE=OPTION",
        action="append",
        default=[],
        help="answer what a node, or a step NODE/STEP, asks; also of a run that goes on in another process",
    )
    parser.add_argument("--feedback", metavar="TEXT", help="a text with the answer")
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="go on though what has run means something else in the spec as it is now",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print what became of it."""
    from engine import stored

    said = _pairs("--answer", "NODE=OPTION", arguments.answer)
    answers = {name: stored.Answer(said[name], arguments.feedback) for name in said}
    if answers and _told(arguments, answers):
        console.note("answered: the run goes on in its process")
        return 0
    wish: dict[str, Any] = {
        "start": arguments.start,
        "marks": _pairs("--mark", "NODE=EXIT", arguments.mark),
        "accept_change": arguments.accept_change,
        "answers": answers,
    }
    return once_more(stored.resume, wish, arguments, console)


def _told(arguments: argparse.Namespace, answers: Mapping[str, Answer]) -> bool:
    """Whether a process runs the run, and has got the answers."""
    from engine import stored

    where = store_of(arguments)
    told = [stored.answer(arguments.run, name, answers[name], store=where) for name in answers]
    return all(told)


def _pairs(option: str, form: str, given: list[str]) -> dict[str, str]:
    problems = [f"`{option} {text}`: expected {form}" for text in given if "=" not in text]
    if problems:
        raise InputError(tuple(problems))
    return dict(text.split("=", 1) for text in given)
