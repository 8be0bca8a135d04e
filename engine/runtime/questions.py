"""Questions to people while a run goes on: questions go out, answers come in.

If the caller gives a function that asks, each question goes to it. Otherwise a question waits for an
answer from outside; a run in which nothing else goes on is stored, and needs no process until it is
resumed with an answer. Source: docs/language.md, "Details".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from engine.errors import InputError
from engine.record.questions import Answer, Question, build_question, find_question, resolve_answer
from engine.record.result import Outcome
from engine.scheduling.scheduler import AttemptState

__all__ = ["Ask", "QuestionBoard"]

Ask = Callable[[Question], Awaitable[Answer]]


class QuestionBoard:
    """Holds the open questions of one run; call it with the attempt of a step that asks.

    `given_answers` are answers that exist before their questions, by node or step. `on_open` is called when a
    question becomes open.
    """

    def __init__(
        self,
        ask: Ask | None,
        stored: bool,
        given_answers: Mapping[str, Answer],
        on_open: Callable[[], None],
    ) -> None:
        self.is_stored = stored
        """Whether an answer may come after this process has ended."""
        self._ask, self._given_answers = ask, dict(given_answers)
        self._open_questions: dict[str, tuple[Question, trio.Event]] = {}
        self._outcomes: dict[str, Outcome] = {}
        self._on_open = on_open

    def has_all_open(self, count: int) -> bool:
        """Return whether exactly `count` questions wait for an answer from outside, and none has been answered."""
        return self.is_stored and len(self._open_questions) == count and not self._outcomes

    async def __call__(self, attempt: AttemptState) -> Outcome:
        """Wait for the answer and return the outcome of the attempt; a trio checkpoint."""
        question = build_question(attempt.key, attempt.path, attempt.inputs)
        if self._ask is not None:
            return await _ask_caller(self._ask, question)
        if not self.is_stored:
            return Outcome("error", error=_CANNOT_ASK, permanent=True)
        come = trio.Event()
        self._open_questions[question.key] = (question, come)
        self._use_given_answers()
        self._on_open()
        try:
            await come.wait()
            return self._outcomes.pop(question.key)
        finally:
            del self._open_questions[question.key]

    def answer(self, key: str, answer: Answer) -> None:
        """Accept the answer to the question of an attempt; it is ignored if the question is no longer open."""
        if key in self._open_questions:
            question, come = self._open_questions[key]
            self._outcomes[key] = resolve_answer(question, answer)
            come.set()

    def _use_given_answers(self) -> None:
        for name in tuple(self._given_answers):
            try:
                question = find_question((each for each, _ in self._open_questions.values()), name)
            except InputError:
                continue
            self.answer(question.key, self._given_answers.pop(name))


async def _ask_caller(ask: Ask, question: Question) -> Outcome:
    try:
        return resolve_answer(question, await ask(question))
    except Exception as error:  # the caller's code; no answer never counts as one
        return Outcome("error", error=f"no answer was given: {error}", permanent=True)


_CANNOT_ASK = "the question cannot be asked: there is no terminal, and the run is not stored"
