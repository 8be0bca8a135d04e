"""A server on loopback that speaks the chat completions of OpenAI, streamed or not, and says what it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Model", "serving", "text", "tools"]

Doc = dict[str, Any]


def text(content: str, finish: str = "stop", **more: Any) -> Doc:
    """An answer of text."""
    return {"message": {"role": "assistant", "content": content, **more}, "finish": finish}


def tools(*calls: tuple[str, Doc]) -> Doc:
    """An answer that asks for tools."""
    asked = [
        {"index": at, "id": f"call_{at}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
        for at, (name, given) in enumerate(calls)
    ]  # fmt: skip
    return {
        "message": {"role": "assistant", "content": None, "tool_calls": asked},
        "finish": "tool_calls",
    }


class Model(BaseHTTPRequestHandler):
    """Gives one of `answers` after the other, the last again and again; an integer is a status. `asked` are the requests."""

    answers: list[Any]
    asked: list[Doc]
    keys: list[str | None]
    streams = True
    counts = True
    breaks_off = False

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body)
        self.keys.append(self.headers["Authorization"])
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.path != "/v1/chat/completions":
            answer = 404
        if isinstance(answer, int):
            self._fail(answer)
        elif body.get("stream") and self.streams:
            self._stream(body, answer)
        else:
            self._whole(body, answer)

    def _fail(self, status: int) -> None:
        data = json.dumps({"error": {"message": "not now", "type": "server_error"}}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if status == 429:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _usage(self, body: Doc, answer: Doc) -> Doc:
        asked = sum(len(str(each.get("content", "")).split()) for each in body["messages"])
        told = len((answer["message"].get("content") or "").split())
        return {"prompt_tokens": asked, "completion_tokens": told, "total_tokens": asked + told}

    def _whole(self, body: Doc, answer: Doc) -> None:
        choice = {"index": 0, "message": answer["message"], "finish_reason": answer["finish"]}
        found = {"object": "chat.completion", "model": body["model"], "choices": [choice]}
        data = json.dumps(found | {"usage": self._usage(body, answer)}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, body: Doc, answer: Doc) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.end_headers()
        for delta in _deltas(answer["message"]):
            self._event(body, [{"index": 0, "delta": delta, "finish_reason": None}])
        if self.breaks_off:
            return
        self._event(body, [{"index": 0, "delta": {}, "finish_reason": answer["finish"]}])
        if self.counts and body.get("stream_options", {}).get("include_usage"):
            self._event(body, [], usage=self._usage(body, answer))
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, body: Doc, choices: list[Doc], **more: Any) -> None:
        chunk = {"object": "chat.completion.chunk", "model": body["model"], "choices": choices}
        self.wfile.write(f"data: {json.dumps(chunk | more)}\n\n".encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _deltas(message: Doc) -> Iterator[Doc]:
    """A message in small parts, as endpoints stream it."""
    yield {"role": "assistant", "content": ""}
    content = message.get("content") or ""
    for at in range(0, len(content), 7):
        yield {"content": content[at : at + 7]}
    if message.get("refusal"):
        yield {"refusal": message["refusal"]}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        yield {"tool_calls": [{**call, "function": {"name": function["name"], "arguments": ""}}]}
        for at in range(0, len(function["arguments"]), 5):
            part = {"arguments": function["arguments"][at : at + 5]}
            yield {"tool_calls": [{"index": call["index"], "function": part}]}


@contextmanager
def serving(*answers: Any) -> Iterator[Any]:
    """The handler of a server with these answers; `handler.url` is its base."""
    handler = type("Handler", (Model,), {"answers": list(answers), "asked": [], "keys": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        handler.url = f"http://127.0.0.1:{server.server_port}/v1"  # type: ignore[attr-defined]
        try:
            yield handler
        finally:
            server.shutdown()
            thread.join()
