"""`engine resume`: continue a run whose process died where its journal ends, or from a node on."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from engine.cli.console import Console
from engine.cli.resumed_run import add_resume_arguments, run_again
from engine.cli.store_arguments import resolve_store
from engine.errors import InputError

if TYPE_CHECKING:
    from engine.record.questions import Answer

__all__ = ["EXAMPLES", "SUMMARY", "configure", "execute"]

SUMMARY = "continue a run from the end of its journal, or from a node"
EXAMPLES = """\
  engine resume 3f2a                      attempts whose end was recorded do not run again
  engine resume 3f2a --secrets .secrets   secrets are not stored: give them again
  engine resume 3f2a --from build         run `build` and all nodes that depend on it again
  engine resume 3f2a --mark build=0       treat the last attempt of `build` as exit 0
  engine resume 3f2a --answer publish=approve   answer a question that the run waits for

  exit status as for `engine run`
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `engine resume`."""
    add_resume_arguments(parser)
    parser.add_argument(
        "--from",
        dest="start",
        metavar="NODE",
        help="run this node and all nodes that depend on it again",
    )
    parser.add_argument(
        "--mark",
        metavar="NODE=EXIT",
        action="append",
        default=[],
        help="treat a node's last attempt as ended with this exit, a name or a number",
    )
    parser.add_argument(
        "--answer",
        metavar="NODE=OPTION",
        action="append",
        default=[],
        help="answer the question of a node, or of a step NODE/STEP; works for a run in another process too",
    )
    parser.add_argument("--feedback", metavar="TEXT", help="a text to send with the answer")
    parser.add_argument(
        "--accept-change",
        action="store_true",
        help="continue even if the spec has changed in parts that have already run",
    )


def execute(arguments: argparse.Namespace, console: Console) -> int:
    """Run it to its end, print its result, and return the exit status.

    Answers to a run that goes on in another process are delivered there, and the command ends.
    """
    from engine import stored

    said = _parse_pairs("--answer", "NODE=OPTION", arguments.answer)
    answers = {name: stored.Answer(said[name], arguments.feedback) for name in said}
    if answers and _try_deliver_answers(arguments, answers):
        console.print_note("answered: the run continues in its process")
        return 0
    wish: dict[str, Any] = {
        "start": arguments.start,
        "marks": _parse_pairs("--mark", "NODE=EXIT", arguments.mark),
        "accept_change": arguments.accept_change,
        "answers": answers,
    }
    return run_again(stored.resume, wish, arguments, console)


def _try_deliver_answers(arguments: argparse.Namespace, answers: Mapping[str, Answer]) -> bool:
    """Return whether another process executes the run and has received all answers."""
    from engine import stored

    where = resolve_store(arguments)
    delivered = [stored.answer(arguments.run, name, answers[name], store=where) for name in answers]
    return all(delivered)


def _parse_pairs(option: str, pattern: str, texts: list[str]) -> dict[str, str]:
    problems = [f"`{option} {text}`: expected {pattern}" for text in texts if "=" not in text]
    if problems:
        raise InputError(tuple(problems))
    return dict(text.split("=", 1) for text in texts)
