"""Secrets stay out of what a run tells, in whatever form they come: against forms made by other means."""

from __future__ import annotations

import base64
import json
import re
from typing import Any
from urllib.parse import quote, quote_plus

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import engine
from engine.errors import InputError
from engine.record.events import Event
from engine.runtime.redaction import REDACTED, Redactor
from engine.schemas.validation import validate_value
from engine.toml.source import Source
from tests.runtime.test_api import one, reading

PEM = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEF+/x\nAASCBKcwggSjAgEAAoIBAQDZ\n-----END KEY-----\n"
TRICKY = "pä ss/w+rd\"'\\&=\t%"

secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=40).filter(
    lambda text: len(text.strip()) >= 4 and "…" not in text
)


@pytest.mark.parametrize(
    "form",
    [
        str,
        quote,
        lambda s: quote(s, safe=""),
        lambda s: re.sub("%..", lambda found: found[0].lower(), quote(s)),
        quote_plus,
        lambda s: json.dumps(s)[1:-1],
        lambda s: json.dumps(s, ensure_ascii=False)[1:-1],
        lambda s: repr(s)[1:-1],
        lambda s: str(httpx.URL("https://x/", params={"q": s})).partition("q=")[2],
    ],
)
@given(secret=secrets)
@example(secret=TRICKY)
@example(secret=PEM)
def test_a_secret_is_hidden_in_every_form(form: Any, secret: str) -> None:
    assert Redactor([secret]).redact_text(f"<{form(secret)}>") == f"<{REDACTED}>"


@given(
    before=st.binary(max_size=7),
    secret=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=6, max_size=30),
    after=st.binary(max_size=7),
)
@example(b"user:", "s3cr3t", b"")
def test_a_secret_is_hidden_in_base64(before: bytes, secret: str, after: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(before + secret.encode() + after).decode()
        assert REDACTED in Redactor([secret]).redact_text(text)


def test_a_secret_of_several_lines_is_hidden_line_by_line() -> None:
    hide = Redactor([PEM]).redact_text
    assert [hide(line) for line in PEM.splitlines()] == [REDACTED] * 4
    assert hide("a\n") == "a\n"


def test_a_short_line_of_a_secret_is_not_hidden() -> None:
    assert Redactor(['{\n"key": "0123456789"\n}']).redact_text("{ }") == "{ }"


@given(secret=secrets, cut=st.integers(4, 39))
@example(secret=TRICKY, cut=8)
def test_the_first_part_of_a_secret_is_hidden_before_a_cut(secret: str, cut: int) -> None:
    head = secret[: min(cut, len(secret) - 1)]
    if len(head) >= 4:
        assert Redactor([secret]).redact_text(f"<{head}…") == f"<{REDACTED}…"


def test_the_message_of_a_schema_has_no_part_of_a_secret() -> None:
    secret = "sk-" + "0123456789" * 12
    (problem,) = validate_value({"type": "integer"}, secret)
    assert Redactor([secret]).redact_text(str(problem)) == f'expected integer, found "{REDACTED}…'


@given(secret=secrets, text=st.text(st.characters(categories=["Lu"]), max_size=20))
def test_a_text_without_secrets_stays_as_it_is(secret: str, text: str) -> None:
    if secret[:4] not in text + "…":
        assert Redactor([secret + "0"]).redact_text(text + "…") == text + "…"


def test_a_long_line_of_progress_has_no_part_of_a_secret() -> None:
    secret = "hunter2-" * 4
    code = f"import sys; sys.stderr.write('x' * {4096 - 20} + sys.argv[1] + '\\n')"
    argv = ["python3", "-c", code, "${secrets.TOKEN}"]
    events: list[Event] = []
    plan = engine.load_plan(_shell(argv))
    engine.run(plan, secrets={"TOKEN": secret}, on_event=events.append)
    (note,) = [event.data["message"] for event in events if event.kind == "attempt_noted"]
    assert note == "x" * (4096 - 20) + REDACTED + "…"


def _shell(argv: list[str]) -> engine.Source:
    text = f'engine = 1\n[nodes.a]\ntask = "shell"\nwith = {{ argv = {json.dumps(argv)} }}\n'
    return engine.Source("a.toml", text)


# -- what is not hidden -----------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["message", "outcome", "visit", "succeeded", "attempt_started"])
def test_the_engines_own_words_stay(secret: str) -> None:
    events: list[Event] = []
    plan = reading("${secrets.TOKEN}")
    result = engine.run(plan, secrets={"TOKEN": secret}, on_event=events.append)
    assert (result.status, list(result.nodes)) == ("succeeded", ["n"])
    (ended,) = [event for event in events if event.kind == "attempt_ended"]
    assert {"key", "visit", "attempt", "outcome", "error", "output"} == set(ended.data)
    (settled,) = [event for event in events if event.kind == "node_settled"]
    assert (settled.data["result"], settled.data["label"]) == ("succeeded", "success")


def test_the_names_of_outputs_stay() -> None:
    plan = engine.load_plan(
        engine.Source(
            "a.toml",
            'engine = 1\n[nodes.a]\ntask = "collect"\nwith = { t = "${secrets.TOKEN}" }\n'
            '[outputs]\ntoken = "${a.t}"\n',
        )
    )
    result = engine.run(plan, secrets={"TOKEN": "token"})
    assert result.outputs == {"token": REDACTED}


@pytest.mark.parametrize("secret", ["x", "12", "abc"])
def test_a_secret_that_is_too_short_refuses_the_run(secret: str) -> None:
    with pytest.raises(InputError, match="secret `TOKEN` is too short to be hidden"):
        engine.run(reading("${secrets.TOKEN}"), secrets={"TOKEN": secret})


def test_an_empty_secret_hides_nothing() -> None:
    result = engine.run(reading("a${secrets.TOKEN}b"), secrets={"TOKEN": ""})
    assert result.nodes["n"].output["text"] == "ab"


def test_where_a_secret_is_read_that_is_not_set() -> None:
    source = _shell(["x", "y ${secrets.ENGINE_TEST_UNSET}"])
    with pytest.raises(InputError) as caught:
        engine.run(engine.load_plan(source))
    assert caught.value.problems == ("secret `ENGINE_TEST_UNSET` is not set, which a.toml:4 reads",)


def test_where_a_list_is_made_of_a_secret_that_is_not_set() -> None:
    node = '[nodes.a]\ntask = "shell"\nwith = { argv = ["true"] }\n'
    text = f'engine = 1\n{node}for_each = ["x", "${{secrets.ENGINE_TEST_UNSET}}"]\n'
    with pytest.raises(InputError) as caught:
        engine.run(engine.load_plan(Source("a.toml", text)))
    assert caught.value.problems == ("secret `ENGINE_TEST_UNSET` is not set, which a.toml:5 reads",)


def test_an_exception_with_a_secret_in_its_repr() -> None:
    async def fail(text: str) -> None:
        raise KeyError(text)

    plan = one(fail, **{"with": {"text": "${secrets.TOKEN}"}})
    result = engine.run(plan, secrets={"TOKEN": "a\\b'c\nd"})
    assert "KeyError: " in (result.nodes["n"].attempts[0].error or "")
    assert "b'c" not in str(result.to_json())
