"""Ask the questions of a run on the terminal."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from engine.base.suggestions import closest_match
from engine.cli.console import Console, is_terminal
from engine.render.progress import shorten_path
from engine.render.text import Styled, escape_unprintable, make_painter

if TYPE_CHECKING:
    from engine.cli.live_display import Display
    from engine.record.questions import Answer, Question

__all__ = ["TerminalPrompt", "create_prompt"]


def create_prompt(display: Display, console: Console) -> TerminalPrompt | None:
    """Return a prompt if a person is at the terminal, else None."""
    if not (sys.stdin and sys.stdin.isatty() and is_terminal(sys.stderr)):
        return None
    return TerminalPrompt(display, console.can_use_color(sys.stderr))


class TerminalPrompt:
    """Asks one question at a time, above the display of the run; await an instance with a question."""

    def __init__(self, display: Display, color: bool) -> None:
        import trio

        self._display, self._paint = display, make_painter(color)
        self._stream = sys.stderr
        """Standard error as it was at the start: while a run goes on, what is printed counts as output of its tasks."""
        self._lock = trio.Lock()

    async def __call__(self, question: Question) -> Answer:
        """Return the answer; ask again until it is one of the options.

        Raises EOFError if standard input ends.
        """
        import trio

        from engine.record.questions import Answer

        async with self._lock:
            self._display.suspend()
            try:
                read = trio.to_thread.run_sync
                self._print_question(question)
                while True:
                    text = await read(self._read_line, "> ", abandon_on_cancel=True)
                    option = text.strip()
                    if option in question.options:
                        break
                    guess = closest_match(option, question.options)
                    advice = f"did you mean `{guess}`?" if guess else "choose one of the options"
                    self._print(f"`{escape_unprintable(option)}` is not an option, {advice}")
                feedback = None
                if question.feedback:
                    feedback = (
                        await read(self._read_line, "feedback: ", abandon_on_cancel=True) or None
                    )
                return Answer(option, feedback)
            finally:
                self._display.resume()

    def _print_question(self, question: Question) -> None:
        where = escape_unprintable(shorten_path(question.path))
        self._print(
            self._paint(Styled("head", f"{where} asks: {escape_unprintable(question.prompt)}"))
        )
        if question.show is not None:
            for line in _to_text(question.show).splitlines():
                self._print(f"  {escape_unprintable(line)}")
        self._print("options: " + ", ".join(question.options))

    def _read_line(self, prompt: str) -> str:
        self._stream.write(prompt)
        self._stream.flush()
        line = sys.stdin.readline()
        if not line:
            raise EOFError("standard input ended before an answer was given")
        return line.rstrip("\n")

    def _print(self, text: str) -> None:
        self._stream.write(text + "\n")


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)
