"""The functions of `multi_step.toml`: make a text shorter until it is short enough."""

from engine import Context, Exit

FILLERS = ("very", "really", "quite", "just", "rather")
"""Words that each pass over the text takes out, one kind a pass."""


def prepare(text: str) -> list[str]:
    """The words of the text."""
    return text.split()


def process(words: list[str], context: Context) -> list[str]:
    """Without one more kind of filler each time the step is visited."""
    gone = FILLERS[: context.visit]
    return [word for word in words if word.lower() not in gone]


def review(words: list[str], most: int) -> Exit:
    """Exit `failure` while there are more words than `most`."""
    return Exit("failure" if len(words) > most else "success", {"count": len(words)})


def finalize(words: list[str]) -> str:
    """The text again."""
    return " ".join(words)
