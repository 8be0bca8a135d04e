"""What a simulation makes of names that are not set: placeholders where a run would be refused, else nothing."""

from __future__ import annotations

import pytest

from engine.testing import simulate
from tests.kit import plan_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${env.NOT_SET_X}", "<NOT_SET_X>"),
        ("${env.NOT_SET_X ?? 'none'}", "none"),
        ("${has(env.NOT_SET_X)}", False),
        ("${env.SET_X ?? 'none'}", "here"),
        ("${env.SET_X}", "here"),
        ("${secrets.NOT_SET_X}", "<NOT_SET_X>"),
        ("${secrets.NOT_SET_X ?? 'none'}", "none"),
        ("${has(secrets.NOT_SET_X)}", False),
    ],
)
def test_only_what_must_be_set_has_a_placeholder(
    monkeypatch: pytest.MonkeyPatch, text: str, value: object
) -> None:
    monkeypatch.delenv("NOT_SET_X", raising=False)
    monkeypatch.setenv("SET_X", "here")
    plan = plan_of({"engine": 1, "nodes": {"a": {"task": "shell"}}, "outputs": {"x": text}})
    hidden = text.startswith("${secrets") and value != "none"
    assert simulate(plan).outputs["x"] == ("***" if hidden else value)
