"""Questions to people while a run goes on: questions go out, answers come in.

If the caller gives a function that asks, each question goes to it. Otherwise a question waits for an
answer from outside; a run in which nothing else goes on is stored, and needs no process until it is
resumed with an answer. Source: docs/language.md, "Details".
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import trio

from engine.errors import InputError
from engine.record.questions import Answer, Question, answered, found, question_of
from engine.record.result import Outcome
from engine.scheduling.scheduler import LiveAttempt

__all__ = ["Ask", "People"]

Ask = Callable[[Question], Awaitable[Answer]]


class People:
    """Holds the open questions of one run; call it with the attempt of a step that asks.

    `given_answers` are answers that exist before their questions, by node or step. `when_open` is called when a
    question becomes open.
    """

    def __init__(
        self,
        ask: Ask | None,
        stored: bool,
        early: Mapping[str, Answer],
        when_open: Callable[[], None],
    ) -> None:
        self.stored = stored
        """Whether an answer may come after this process has ended."""
        self._ask, self._early = ask, dict(early)
        self._open: dict[str, tuple[Question, trio.Event]] = {}
        self._given: dict[str, Outcome] = {}
        self._when_open = when_open

    def all_open(self, count: int) -> bool:
        """Return whether exactly `count` questions wait for an answer from outside, and none has been answered."""
        return self.stored and len(self._open) == count and not self._given

    async def __call__(self, attempt: LiveAttempt) -> Outcome:
        """Wait for the answer and return the outcome of the attempt; a trio checkpoint."""
        question = question_of(attempt.key, attempt.path, attempt.inputs)
        if self._ask is not None:
            return await _asked(self._ask, question)
        if not self.stored:
            return Outcome("error", error=_NOBODY, permanent=True)
        come = trio.Event()
        self._open[question.key] = (question, come)
        self._use_early()
        self._when_open()
        try:
            await come.wait()
            return self._given.pop(question.key)
        finally:
            del self._open[question.key]

    def answer(self, key: str, answer: Answer) -> None:
        """Accept the answer to the question of an attempt; it is ignored if the question is no longer open."""
        if key in self._open:
            question, come = self._open[key]
            self._given[key] = answered(question, answer)
            come.set()

    def _use_early(self) -> None:
        for name in tuple(self._early):
            try:
                question = found((each for each, _ in self._open.values()), name)
            except InputError:
                continue
            self.answer(question.key, self._early.pop(name))


async def _asked(ask: Ask, question: Question) -> Outcome:
    try:
        return answered(question, await ask(question))
    except Exception as error:  # the caller's code; no answer never counts as one
        return Outcome("error", error=f"no answer was given: {error}", permanent=True)


_NOBODY = "the question cannot be asked: there is no terminal, and the run is not stored"
