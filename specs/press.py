"""The writer of `review_and_publish.toml`: a stand-in for a model that takes remarks."""

from typing import TypedDict

from engine import Context


class Draft(TypedDict):
    """A text."""

    text: str


def draft(topic: str, remarks: str, context: Context) -> Draft:
    """A text on the topic; each visit takes the remarks in."""
    heard = f"\n\n(After a remark: {remarks})" if remarks else ""
    return {"text": f"# On {topic}, draft {context.visit}\n\nMuch could be said.{heard}\n"}
