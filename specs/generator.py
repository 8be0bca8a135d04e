"""The generator of `code_generation.toml`: a stand-in for a model that learns from what went wrong.

It answers from a list, so that the example needs no network and always does the same. It is given
what a model would be given: the task, its last answer, and what the machine said to that.
"""

from typing import TypedDict

RIGHT = """\
def fibonacci(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a
"""
DRAFTS = ("def fibonacci(n)\n    return n\n", "def fibonacci(n):\n    return n\n", RIGHT)
"""A syntax error, a wrong answer, a right one."""


class Code(TypedDict):
    """A program, and why it looks as it does."""

    code: str
    comment: str


def generate(task: str, last: str, complaint: str) -> Code:
    """The next draft after `last`; the first if there is none."""
    index = DRAFTS.index(last) + 1 if last in DRAFTS else 0
    heard = complaint.strip().splitlines()
    comment = f"after: {heard[-1]}" if heard else f"first try at: {task}"
    return {"code": DRAFTS[min(index, len(DRAFTS) - 1)], "comment": comment}
