"""People who are asked while a run goes on: questions go out, answers come in.

Where the caller gives a function that asks, each question goes to it. Else a question waits for an
answer from outside; a run in which nothing else goes on is stored, and costs no process until it is
resumed with one. Source: LANGUAGE.md section 13.
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
    """Call it with the attempt of a step that asks. `early` are answers that were there before their questions, by node or step.
    `when_open` is called when a question is open."""

    def __init__(
        self,
        ask: Ask | None,
        stored: bool,
        early: Mapping[str, Answer],
        when_open: Callable[[], None],
    ) -> None:
        self.stored = stored
        """Whether an answer may come when this process is gone."""
        self._ask, self._early = ask, dict(early)
        self._open: dict[str, tuple[Question, trio.Event]] = {}
        self._given: dict[str, Outcome] = {}
        self._when_open = when_open

    def all_open(self, count: int) -> bool:
        """Whether so many questions wait for an answer from outside, and none has come."""
        return self.stored and len(self._open) == count and not self._given

    async def __call__(self, attempt: LiveAttempt) -> Outcome:
        """How the attempt ends: when the answer is there."""
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
        """An answer to the question of an attempt has come: of no account if that is not open any more."""
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
