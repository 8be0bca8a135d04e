"""What a docstring says of parameters becomes what the schema says."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.sdk.decorator import as_task
from engine.sdk.docstrings import parse_parameters

GOOGLE = """Does it.

Args:
    city (str): Where,
        exactly.
    *rest: More: of it.
    days: How long.

Returns:
    other: nothing.
"""
NUMPY = """Does it.

Parameters
----------
city : str
    Where,
    exactly.
days, hours : int
    How long.

Returns
-------
other : int
    Nothing.
"""
SPHINX = """Does it.

:param str city: Where,
    exactly.
:param days: How long.
:returns: other: nothing.
"""


@pytest.mark.parametrize(
    ("doc", "more"),
    [(GOOGLE, {"rest": "More: of it."}), (NUMPY, {"hours": "How long."}), (SPHINX, {})],
    ids=["google", "numpy", "sphinx"],
)
def test_parameters_are_found(doc: str, more: dict[str, str]) -> None:
    assert parse_parameters(doc) == {"city": "Where, exactly.", "days": "How long."} | more


@pytest.mark.parametrize(
    "doc", [None, "", "Just a line.", "Args:", "Args:\n  no colon here\n\nText."]
)
def test_there_may_be_none(doc: str | None) -> None:
    assert parse_parameters(doc) == {}


@given(st.text("Args:\n -x()*param", max_size=60))
def test_any_text_is_read(doc: str) -> None:
    assert all(isinstance(text, str) for text in parse_parameters(doc).values())


def test_they_describe_the_inputs_of_a_task() -> None:
    def forecast(
        city: str, days: Annotated[int, {"description": "Its own."}] = 3, **rest: Any
    ) -> None:
        """Tells the weather.

        Args:
            city: Where.
            days: How long.
        """

    schema = as_task(forecast).input_schema
    assert schema is not None
    assert schema["properties"]["city"] == {"type": "string", "description": "Where."}
    assert schema["properties"]["days"]["description"] == "Its own."
