"""`llm.chat` against a server that speaks the protocol."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine.sdk.context import Exit, Failure, Permanent, RetryAfter
from engine.toml.source import Source
from tests.support.model_server import serving, text, tools
from tests.tasks.test_basic import context, do

Doc = dict[str, Any]
SCHEMA = {
    "type": "object",
    "required": ["city"],
    "properties": {"city": {"type": "string"}},
    "additionalProperties": False,
}


def chat(model: Any, notes: list[str] | None = None, **inputs: Any) -> Exit:
    given = {"base_url": model.url, "model": "m", "prompt": "Hello"} | inputs
    if given["prompt"] is None:
        del given["prompt"]
    found: Exit = do("llm.chat", given, context(notes=notes))
    return found


@pytest.mark.parametrize("streams", [True, False])
def test_an_answer_comes_with_what_it_took(streams: bool) -> None:
    notes: list[str] = []
    with serving(text("One line,\nand another one")) as model:
        model.streams = streams
        found = chat(
            model, notes, system="Be short", api_key="k3y", prices={"input": 1.0, "output": 2.0}
        )
    assert found.code == "success"
    assert found.output["text"] == "One line,\nand another one"
    assert notes == ["One line,", "and another one"]
    assert found.output["usage"] == {"input_tokens": 3, "output_tokens": 5}
    assert found.output["cost"] == pytest.approx((3 * 1.0 + 5 * 2.0) / 1e6)
    assert model.keys == ["Bearer k3y"]
    assert model.asked[0]["messages"] == [
        {"role": "system", "content": "Be short"},
        {"role": "user", "content": "Hello"},
    ]


def test_a_prompt_has_variables() -> None:
    with serving(text("ok")) as model:
        chat(model, prompt="{{n}} words on {{ it }}", variables={"n": 5, "it": "bees {{n}}"})
        assert model.asked[0]["messages"][0]["content"] == "5 words on bees {{n}}"
        with pytest.raises(Permanent, match="names `who`, which is not one of its variables"):
            chat(model, prompt="{{who}}")


def test_what_goes_along_is_sent() -> None:
    with serving(text("ok")) as model:
        chat(model, temperature=0.5, max_tokens=7, stop=["x"], seed=1, extra={"user": "me"})
    sent = model.asked[0]
    assert {key: sent[key] for key in ("temperature", "max_tokens", "stop", "seed", "user")} == {
        "temperature": 0.5, "max_tokens": 7, "stop": ["x"], "seed": 1, "user": "me",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "code", "value"),
    [
        (text('{"city": "Oslo"}'), "success", {"city": "Oslo"}),
        (text('{"town": "Oslo"}'), "invalid", None),
        (text("Oslo"), "invalid", None),
        (text('{"city": "Os', finish="length"), "length", None),
        (text("", finish="content_filter"), "refused", None),
        (text("", refusal="I would rather not"), "refused", None),
    ],
)
def test_an_answer_of_a_schema_is_looked_at(answer: Doc, code: str, value: Any) -> None:
    with serving(answer) as model:
        found = chat(model, schema=SCHEMA)
    assert (found.code, found.output["value"]) == (code, value)
    assert bool(found.output["problems"]) == (code == "invalid")
    assert model.asked[0]["response_format"]["json_schema"]["schema"] == SCHEMA


def test_it_asks_for_tools_and_goes_on_with_what_they_gave() -> None:
    tool = {"name": "weather", "parameters": SCHEMA}
    with serving(
        tools(("weather", {"city": "Oslo"}), ("weather", {"city": "Rome"})), text("fine")
    ) as model:
        asked = chat(model, tools=[tool])
        assert (asked.code, asked.output["calls"][1]) == (
            "tool_calls",
            {"id": "call_1", "name": "weather", "arguments": {"city": "Rome"}},
        )
        told = [{"role": "tool", "tool_call_id": f"call_{at}", "content": "sun"} for at in range(2)]
        found = chat(model, prompt=None, messages=[*asked.output["messages"], *told])
    assert (found.code, found.output["text"]) == ("success", "fine")
    assert [each["role"] for each in model.asked[1]["messages"]] == [
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert len(found.output["messages"]) == 5


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, RetryAfter), (500, Failure), (503, Failure), (401, Permanent), (400, Permanent)],
)
def test_what_is_worth_another_try(status: int, kind: type[Exception]) -> None:
    with serving(status) as model, pytest.raises(kind, match=f"answered {status}: not now"):
        chat(model)


def test_what_is_no_answer_is_an_error() -> None:
    with serving(text("ok")) as model:
        model.breaks_off = True
        with pytest.raises(Failure, match="ended early"):
            chat(model)
        with pytest.raises(Permanent, match="answered 404"):
            chat(model, base_url=model.url + "/other")
    with pytest.raises(Failure, match="m: "):
        chat(type("Nobody", (), {"url": "http://127.0.0.1:9"}))
    with pytest.raises(Permanent, match="does not begin with http"):
        chat(type("Odd", (), {"url": "ftp://x"}))


def findings(with_: str) -> list[str]:
    spec = f'engine = 1\n[nodes.a]\ntask = "llm.chat"\nwith = {{ model = "m", {with_} }}\n'
    return [f"{d.rule.code} {d.message}" for d in engine.check(Source("x.toml", spec))]


def test_variables_are_checked_where_they_are_written_out() -> None:
    assert findings('prompt = "{{a}}", variables = { a = 1 }') == []
    assert findings('prompt = "{{a}}"') == ["E103 `a` is not one of the prompt's variables"]
    assert findings('prompt = "x", variables = { a = 1 }') == [
        "E103 the prompt does not name `{{a}}`"
    ]


def test_a_run_tries_again_and_keeps_the_key_to_itself() -> None:
    spec = (
        'engine = 1\n[inputs]\nbase = { type = "string" }\n[nodes.a]\ntask = "llm.chat"\n'
        'retry = { attempts = 3 }\nwith = { model = "m", prompt = "x", base_url = "${inputs.base}", api_key = "${secrets.KEY}" }\n'
    )
    with serving(429, 503, text("the key is k3y-of-mine")) as model:
        plan = engine.load_plan(Source("x.toml", spec))
        result = engine.run(plan, {"base": model.url}, secrets={"KEY": "k3y-of-mine"})
    assert [attempt.outcome for attempt in result.nodes["a"].attempts] == ["error", "error", 0]
    assert result.nodes["a"].output["text"] == "the key is ***"
    assert model.keys == ["Bearer k3y-of-mine"] * 3
