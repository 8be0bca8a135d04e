"""Ask the questions of a run on the terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from engine.base.suggestions import nearest
from engine.cli.console import Console, is_terminal
from engine.render.progress import short
from engine.render.text import Styled, painter, printable

if TYPE_CHECKING:
    from engine.cli.live_display import Display
    from engine.record.questions import Answer, Question

__all__ = ["Terminal", "asker"]


def asker(shown: Display, console: Console) -> Terminal | None:
    """Return a prompt if a person is at the terminal, else None."""
    if not (sys.stdin and sys.stdin.isatty() and is_terminal(sys.stderr)):
        return None
    return Terminal(shown, console.colored(sys.stderr))


class Terminal:
    """Asks one question at a time, above the display of the run; await an instance with a question."""

    def __init__(self, shown: Display, color: bool) -> None:
        import trio

        self._shown, self._paint = shown, painter(color)
        self._stream = sys.stderr
        """Standard error as it was at the start: while a run goes on, what is printed counts as output of its tasks."""
        self._one = trio.Lock()

    async def __call__(self, question: Question) -> Answer:
        """Return the answer; ask again until it is one of the options.

        Raises EOFError if standard input ends.
        """
        import trio

        from engine.record.questions import Answer

        async with self._one:
            self._shown.hold()
            try:
                read = trio.to_thread.run_sync
                self._say(question)
                while True:
                    text = await read(self._line, "> ", abandon_on_cancel=True)
                    option = text.strip()
                    if option in question.options:
                        break
                    guess = nearest(option, question.options)
                    cure = f"did you mean `{guess}`?" if guess else "choose one of the options"
                    self._print(f"`{printable(option)}` is not an option, {cure}")
                feedback = None
                if question.feedback:
                    feedback = await read(self._line, "feedback: ", abandon_on_cancel=True) or None
                return Answer(option, feedback)
            finally:
                self._shown.go_on()

    def _say(self, question: Question) -> None:
        where = printable(short(question.path))
        self._print(self._paint(Styled("head", f"{where} asks: {printable(question.prompt)}")))
        if question.show is not None:
            for line in _text(question.show).splitlines():
                self._print(f"  {printable(line)}")
        self._print("options: " + ", ".join(question.options))

    def _line(self, prompt: str) -> str:
        self._stream.write(prompt)
        self._stream.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError("standard input ended before an answer was given")
        return line.rstrip("\n")

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
