"""Questions to people: their options, and the checks of an answer.

A question is open from the start of its attempt to its end. Its name is the path of its step, or of its node if no
other step of the node asks.

Source: docs/language.md, "Outcomes", "Details".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.base.classes import frozen
from engine.base.suggestions import closest_match
from engine.errors import InputError
from engine.record.events import Event
from engine.record.result import Outcome

__all__ = ["Answer", "Question", "find_open_questions", "find_question", "resolve_answer"]


@frozen
class Question:
    """A question to a person; `options` are the exits, in the order of their codes."""

    key: str
    path: str
    prompt: str
    options: tuple[str, ...]
    show: Any = None
    feedback: bool = False


@frozen
class Answer:
    """An answer to a question: the chosen option, and a text if one was given."""

    option: str
    feedback: str | None = None


def build_question(key: str, path: str, inputs: Mapping[str, Any]) -> Question:
    """Build the question of an attempt from its inputs."""
    return Question(
        key,
        path,
        inputs["prompt"],
        tuple(inputs["options"]),
        inputs.get("show"),
        bool(inputs.get("feedback")),
    )


def find_open_questions(events: Sequence[Event]) -> list[Question]:
    """Return the questions that are open after these events, in the order of asking."""
    found: dict[str, Question] = {}
    for event in events:
        if event.kind == "person_asked":
            key = event.data["key"]
            found[key] = build_question(key, event.path, event.data)
        elif event.kind == "attempt_ended":
            found.pop(event.data["key"], None)
        elif event.kind == "taken_over":
            found.clear()
    return list(found.values())


def find_question(questions: Iterable[Question], name: str) -> Question:
    """Return the open question of a step or node; raises InputError unless there is exactly one."""
    asked = {question.path: question for question in questions}
    if name in asked:
        return asked[name]
    matching = [q for path, q in asked.items() if path.rpartition("/")[0] == name]
    if len(matching) == 1:
        return matching[0]
    guess = closest_match(name, [*asked, *(path.rpartition("/")[0] for path in asked)])
    hint = f", did you mean `{guess}`?" if guess else ""
    what = "more than one step asks a question" if matching else "no question is open"
    raise InputError((f"`{name}`: {what} there{hint or _list_open(asked)}",))


def _list_open(paths: Iterable[str]) -> str:
    listed = ", ".join(f"`{path}`" for path in paths)
    return f"; open: {listed}" if listed else ", nor anywhere else in this run"


def resolve_answer(question: Question, answer: Answer) -> Outcome:
    """Return the outcome of the attempt that an answer ends; raises InputError for an unknown option."""
    if answer.option not in question.options:
        guess = closest_match(answer.option, question.options)
        known = ", ".join(f"`{option}`" for option in question.options)
        advice = f"did you mean `{guess}`?" if guess else f"choose one of {known}"
        raise InputError((f"`{question.path}` has no option `{answer.option}`, {advice}",))
    output = {"option": answer.option, "feedback": answer.feedback}
    return Outcome(question.options.index(answer.option), output)
