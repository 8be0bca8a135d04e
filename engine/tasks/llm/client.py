"""Client of a language model: one request of OpenAI's chat completions API, and its streamed answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from engine.sdk.context import Context, Exit, Failure, Permanent, RetryAfter
from engine.tasks.http.errors import describe_http_error

if TYPE_CHECKING:
    import httpx

__all__ = ["OPENAI_URL", "complete_chat", "compute_cost"]

OPENAI_URL = "https://api.openai.com/v1"
_EXIT_BY_FINISH_REASON = {
    "length": "length",
    "content_filter": "refused",
    "tool_calls": "tool_calls",
}
_MAX_ANSWER_SIZE = 16 * 1024 * 1024


async def complete_chat(
    inputs: Mapping[str, Any], messages: list[dict[str, Any]], context: Context
) -> Exit:
    """Send the messages, and return an exit of `llm.chat` with its output."""
    import httpx

    url = f"{inputs.get('base_url', OPENAI_URL).rstrip('/')}/chat/completions"
    headers = {"Accept-Encoding": "identity"}
    if inputs.get("api_key"):
        headers["Authorization"] = f"Bearer {inputs['api_key']}"
    answer = _StreamedAnswer(context)
    try:
        async with (
            httpx.AsyncClient(timeout=None, headers=headers) as client,
            client.stream("POST", url, json=_build_request(inputs, messages)) as response,
        ):
            await _read_response(response, answer)
    except httpx.InvalidURL:
        raise Permanent("`base_url` is not a valid URL") from None
    except httpx.UnsupportedProtocol:
        raise Permanent("`base_url` does not begin with http:// or https://") from None
    except httpx.RequestError as error:
        raise Failure(f"{inputs['model']}: {describe_http_error(error)}") from None
    return answer.build_exit(inputs, messages)


def _build_request(inputs: Mapping[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "model": inputs["model"],
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    found |= {
        key: inputs[key]
        for key in ("temperature", "top_p", "max_tokens", "stop", "seed")
        if key in inputs
    }
    if "schema" in inputs:
        form = {"name": "answer", "schema": inputs["schema"], "strict": True}
        found["response_format"] = {"type": "json_schema", "json_schema": form}
    if inputs.get("tools"):
        found["tools"] = [{"type": "function", "function": tool} for tool in inputs["tools"]]
    found |= inputs.get("extra", {})
    return found


# -- the answer ------------------------------------------------------------------------------------


async def _read_response(response: httpx.Response, answer: _StreamedAnswer) -> None:
    """Read the response to its end; stopping in the middle would leave async generators unclosed."""
    import trio

    streams = response.headers.get("Content-Type", "").startswith("text/event-stream")
    lines = _ResponseReader(answer if streams and response.status_code == 200 else None)
    with trio.CancelScope() as scope:
        async for chunk in response.aiter_raw():
            lines.feed(chunk)
            if lines.error is not None:
                scope.cancel()
    if lines.error is not None:
        raise lines.error
    if response.status_code != 200:
        raise _build_status_error(response, bytes(lines.data))
    if not streams:
        answer.add_complete(_parse_object(lines.data.decode(errors="replace")))


@attrs.define
class _ResponseReader:
    """A reader of a response: events of an answer, or without one a single block of data."""

    answer: _StreamedAnswer | None
    data: bytearray = attrs.Factory(bytearray)
    size: int = 0
    error: Exception | None = None

    def feed(self, chunk: bytes) -> None:
        """Add the next bytes; a Failure is stored in `error`."""
        self.data += chunk
        self.size += len(chunk)
        try:
            if self.size > _MAX_ANSWER_SIZE:
                raise Failure("the answer is longer than 16 MiB")
            if self.answer is not None:
                *lines, self.data = self.data.split(b"\n")
                for line in lines:
                    self._parse_event(self.answer, line.decode(errors="replace").strip())
        except Failure as error:
            self.error = error

    def _parse_event(self, answer: _StreamedAnswer, line: str) -> None:
        data = line.removeprefix("data:").strip()
        if data != line and data != "[DONE]":
            answer.add(_parse_object(data))


def _parse_object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Failure("the server does not support the chat completions API of OpenAI")
    return found


def _build_status_error(response: httpx.Response, data: bytes) -> Exception:
    """Return the exception for a status other than 200: 429 and 5xx can be retried."""
    try:
        error = json.loads(data)["error"]
        detail = str(error.get("message", "")) if isinstance(error, dict) else str(error)
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = ""
    status = response.status_code
    message = f"the model's server answered {status}{f': {detail[:500]}' if detail else ''}"
    if status != 429 and status < 500:
        return Permanent(message)
    asked = response.headers.get("Retry-After", "")
    return RetryAfter(float(asked), message) if asked.isdigit() else Failure(message)


@attrs.define
class _StreamedAnswer:
    """An answer under construction from its stream."""

    context: Context
    text: str = ""
    reported_length: int = 0
    """The length of the text that was reported as progress."""
    refusal: str = ""
    finish: str = ""
    model: str = ""
    calls: dict[int, dict[str, str]] = attrs.Factory(dict)
    usage: Mapping[str, Any] = attrs.Factory(dict)

    def add(self, part: Mapping[str, Any]) -> None:
        """Add the next part of a stream; raises Failure if it is an error."""
        if isinstance(part.get("error"), dict):
            raise Failure(f"the model's server stopped: {part['error'].get('message', '')}")
        self.model = part.get("model") or self.model
        self.usage = part.get("usage") or self.usage
        for choice in part.get("choices") or ():
            self._add_delta(choice.get("delta") or {})
            self.finish = choice.get("finish_reason") or self.finish

    def add_complete(self, part: Mapping[str, Any]) -> None:
        """Add a complete answer, from a server that does not stream."""
        self.add(
            {
                **part,
                "choices": [
                    {**each, "delta": each.get("message")} for each in part.get("choices") or ()
                ],
            }
        )

    def _add_delta(self, delta: Mapping[str, Any]) -> None:
        self.text += delta.get("content") or ""
        self.refusal += delta.get("refusal") or ""
        for at, call in enumerate(delta.get("tool_calls") or ()):
            known = self.calls.setdefault(
                call.get("index", at), {"id": "", "name": "", "arguments": ""}
            )
            known["id"] += call.get("id") or ""
            for key in ("name", "arguments"):
                known[key] += (call.get("function") or {}).get(key) or ""
        *lines, _ = self.text[self.reported_length :].split("\n")
        for line in lines:
            self.reported_length += len(line) + 1
            self.context.note(line)

    def build_exit(self, inputs: Mapping[str, Any], messages: list[dict[str, Any]]) -> Exit:
        """Return the exit of a finished answer; raises Failure if it broke off."""
        if self.text[self.reported_length :]:
            self.context.note(self.text[self.reported_length :])
        if not self.finish:
            raise Failure("the answer ended early")
        calls = [self._parse_call(call) for _, call in sorted(self.calls.items())]
        end = (
            "refused"
            if self.refusal
            else "tool_calls"
            if calls
            else _EXIT_BY_FINISH_REASON.get(self.finish, "success")
        )
        value: Any = None
        problems: list[str] = []
        if "schema" in inputs and end == "success":
            value, problems = _parse_value(self.text, inputs["schema"])
            end = "invalid" if problems else end
        used = {name: int(self.usage.get(key) or 0) for name, key in _USAGE_KEYS.items()}
        output = {
            "text": self.refusal or self.text,
            "value": value,
            "problems": problems,
            "calls": calls,
            "messages": [*messages, self._build_message()],
            "model": self.model or inputs["model"],
            "usage": used,
            "cost": compute_cost(used, inputs.get("prices")),
        }
        return Exit(end, output)

    def _parse_call(self, call: Mapping[str, str]) -> dict[str, Any]:
        try:
            arguments = json.loads(call["arguments"] or "{}")
        except (ValueError, RecursionError):
            arguments = None
        return {"id": call["id"], "name": call["name"], "arguments": arguments}

    def _build_message(self) -> dict[str, Any]:
        found: dict[str, Any] = {"role": "assistant", "content": self.text or None}
        if self.calls:
            found["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {"name": call["name"], "arguments": call["arguments"]},
                }
                for _, call in sorted(self.calls.items())
            ]
        return found


_USAGE_KEYS = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}


def _parse_value(text: str, schema: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Return the value of an answer, and its schema errors; the value is None if there are any."""
    from engine.schemas.validation import find_schema_error, validate_value

    wrong = find_schema_error(schema)
    if wrong is not None:
        raise Permanent(f"`schema` is not a valid JSON Schema: {wrong[1]}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return None, [f"it is not valid JSON: {error}"]
    problems = [str(problem) for problem in validate_value(schema, value)]
    return (None if problems else value), problems


def compute_cost(used: Mapping[str, int], prices: Mapping[str, float] | None) -> float | None:
    """Return the cost of the used tokens, at prices of a million tokens; None without prices."""
    if prices is None:
        return None
    return (used["input_tokens"] * prices["input"] + used["output_tokens"] * prices["output"]) / 1e6
